"""Vectorizers: pictures become vectors."""
