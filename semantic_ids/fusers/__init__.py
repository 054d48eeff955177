"""Fusers: several modalities become one matrix."""
