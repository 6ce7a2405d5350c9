"""The run configuration: `model` says what a job can be told, `load` where the values come from. Pure."""
