"""Engines: what answers prompts. `base` is the seam; the others are the ways across it."""
