"""The command line: a file for each command, each with `add_options` and `run`."""
