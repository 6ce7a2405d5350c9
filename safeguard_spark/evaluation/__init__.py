"""Is a label right, and do two versions differ by more than chance? Intervals, comparisons, gates. Pure."""
