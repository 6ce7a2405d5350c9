"""Maintenance of the label tables: erase, optimize, vacuum."""
