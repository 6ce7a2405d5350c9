"""People in the loop on Spark: the items that they judge, and the figures of the report."""
