"""Turns rows of many requests into engine runs, and runs back into rows."""

from predictor.batcher.batcher import Batcher

__all__ = ["Batcher"]
