"""The run configuration: `model` has its keys, `load` reads their values from file, environment and command line."""
