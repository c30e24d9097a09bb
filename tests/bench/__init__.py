"""Benchmarks against other people's software: `make bench`."""
