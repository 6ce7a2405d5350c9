"""The settings of a job, and where their values come from."""

# Read by the command line for every command; not keys of the configuration.
LOG_LEVEL_VARIABLE = "SAFEGUARD_LOG_LEVEL"
LOG_FORMAT_VARIABLE = "SAFEGUARD_LOG_FORMAT"
