"""Brings a new version in by itself; measuring, judging, deciding and acting are apart."""
