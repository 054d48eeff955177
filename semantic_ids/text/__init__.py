"""Vectorizers: raw text becomes vectors."""
