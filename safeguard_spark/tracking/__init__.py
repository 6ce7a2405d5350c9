"""MLflow: runs, and the registry of published policies. The only room that imports it."""
