"""The command line: one file per group of commands. Commands read options and print results; they decide nothing."""
