"""The command line: `smtp-from-scratch serve`, `send`, `talk`, `check`, `check-client`, `user`."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Container, Sequence
from importlib import import_module

from smtp_from_scratch import __version__

COMMANDS = {                                    # each is a file in `cli`
    "serve": "take in mail", "send": "send messages", "inbox": "look at the mail that a program sends",
    "class": "one mail server for a room", "check": "does a server conform?",
    "check-client": "does a client conform?", "talk": "type SMTP by hand", "user": "who may log in",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    options = parser(words).parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")      # what this terminal has no sign for is no reason to fail
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141


def parser(words: Container[str] = COMMANDS) -> argparse.ArgumentParser:
    """The grammar of the command line: all commands, and options for those among these words; no other is loaded."""
    top = argparse.ArgumentParser("smtp-from-scratch", description="A mail system whose source code is a course.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, what in COMMANDS.items():
        command = commands.add_parser(name, help=what)
        if name in words:
            file = name.replace("-", "_") if name != "class" else "class_"
            import_module(f"smtp_from_scratch.cli.{file}").add_options(command)
    return top


if __name__ == "__main__":
    sys.exit(main())
