"""Resolvers: content codes become unique codes."""
