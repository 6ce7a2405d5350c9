"""Re-labelling on Spark: plan, apply, compare, promote."""
