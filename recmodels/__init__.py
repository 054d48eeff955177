"""Recommenders that consume semantic IDs, and the baselines they are measured against."""
