"""The command line: `smtp-from-scratch serve`, `send`, `talk`, `check`, `check-client`, `user`."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from smtp_from_scratch import __version__
from smtp_from_scratch.cli import check, check_client, class_, inbox, send, serve, talk, user

COMMANDS = (serve, send, inbox, class_, check, check_client, talk, user)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code."""
    options = parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")      # what this terminal has no sign for is no reason to fail
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141


def parser() -> argparse.ArgumentParser:
    """The grammar of the command line."""
    top = argparse.ArgumentParser("smtp-from-scratch", description="A mail system whose source code is a course.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
