"""The checks of the exercises, a file a chapter: `ch01.py` holds `check_01_…`."""
