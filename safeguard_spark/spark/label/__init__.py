"""The label job on Spark: plan, label, commit, recover."""
