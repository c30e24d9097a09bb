"""The checks of the exercises, a file a chapter, named as its module: `pipelining.py` holds `check_groups`."""
