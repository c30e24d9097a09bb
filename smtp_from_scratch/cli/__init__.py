"""The command line: a file for each command, each with `add_parser` and `run`."""
