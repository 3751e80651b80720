"""Rows that were computed before, kept ahead of the batcher: in memory, and in Redis if asked."""

from predictor.cache.memory import RowCache
from predictor.cache.redis_tier import RedisTier
from predictor.cache.token_memo import TokenMemo
from predictor.cache.version import VersionCache

__all__ = ["RedisTier", "RowCache", "TokenMemo", "VersionCache"]
