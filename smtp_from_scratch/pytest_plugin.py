"""The pytest plugin: fixtures for testing software that sends mail."""
