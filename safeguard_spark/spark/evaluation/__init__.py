"""Evaluation on Spark: golden sets as tables, their verdicts, and how many of which answers there are."""
