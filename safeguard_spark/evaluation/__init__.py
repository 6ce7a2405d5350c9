"""Is a label right, and do two versions differ by more than chance? Intervals, golden sets, comparisons, gates.

Pure, except `comparison/run.py`, which logs to MLflow.
"""
