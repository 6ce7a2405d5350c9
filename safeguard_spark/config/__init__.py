"""The settings of a job, and where their values come from."""

LOG_LEVEL_VARIABLE = "SAFEGUARD_LOG_LEVEL"  # read by the command line for every command; not a key of the configuration
