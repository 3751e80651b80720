"""Rows that were computed before, kept ahead of the batcher: in memory and, if set, in Redis."""

from predictor.cache.memory import RowCache
from predictor.cache.redis_tier import RedisTier
from predictor.cache.token_id_cache import TokenIdCache
from predictor.cache.version import VersionCache

__all__ = ["RedisTier", "RowCache", "TokenIdCache", "VersionCache"]
