"""The command line: `smtp-from-scratch serve`, `send`, `pop3`, `talk`, `check`, `check-client`, `user`, `queue`."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Container, Sequence
from importlib import import_module

from smtp_from_scratch import __version__

COMMANDS = {                                    # each is a file in `cli`
    "serve": "take in mail", "send": "send messages", "pop3": "let users fetch their mail",
    "inbox": "look at the mail that a program sends",
    "class": "one mail server for a room", "check": "does a server conform?",
    "check-client": "does a client conform?", "talk": "type SMTP by hand", "user": "who may log in",
    "queue": "what waits to be sent on",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    if not words:
        parser(words).print_help(sys.stderr)
        return 2
    options = parser(words).parse_args(words)
    if sys.stdin is None:                       # it was closed when we began
        sys.stdin = open(os.devnull)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")      # what this terminal has no sign for is no reason to fail
    try:
        code = int(options.run(options))
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except OSError as error:                    # of standard output: a pipe without a reader, a full disk
        from smtp_from_scratch.cli.common import NO_OUTPUT, close_output, complain

        close_output()
        return 141 if isinstance(error, BrokenPipeError) else complain(f"cannot go on: {error}", NO_OUTPUT)


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
