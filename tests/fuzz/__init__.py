"""Fuzzing: octets that nobody would think of, and a model that says what must come of them.

`python -m tests.fuzz --minutes 10` runs long, with atheris where it is installed (`pip install atheris`), else with
a small mutator of its own; `make fuzz MINUTES=10` does that. test_fuzz.py is the short form, for every `make test`.
"""
