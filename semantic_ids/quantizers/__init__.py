"""Quantizers: a matrix becomes content codes."""
