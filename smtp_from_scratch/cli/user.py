"""`user`: who may log in."""

from __future__ import annotations

import argparse
import getpass
import sys

from smtp_from_scratch.cli.common import OK, REFUSED, USAGE, complain
from smtp_from_scratch.printable import printable
from smtp_from_scratch.saslprep import saslprep
from smtp_from_scratch.users import BadUserFile, UserFile


def add_options(user: argparse.ArgumentParser) -> None:
    """`user add`, `user remove`, `user list`."""
    user.description = ("Keeps a file of users for `serve --users`: their names, and keys for SCRAM-SHA-256 in place "
                        "of their passwords.")
    actions = user.add_subparsers(title="what to do", required=True, metavar="ACTION")
    for action, what in (("add", "add a user, or give one another password, which is asked for, or read from the "
                          "first line of standard input"), ("remove", "take a user out"), ("list", "say who is in it")):
        one = actions.add_parser(action, help=what, description=what.capitalize() + ".")
        one.add_argument("file", metavar="FILE", help="the file of users; `add` creates it")
        if action != "list":
            one.add_argument("name", metavar="NAME", help="the user's name, such as ana@rio.example")
        one.set_defaults(run=run, action=action)


def run(options: argparse.Namespace) -> int:
    """Change or show a file of users."""
    try:
        users = UserFile(options.file, create=options.action == "add")
        if options.action == "add":
            users.add(saslprep(options.name), ask_password(options.name))
        elif options.action == "remove":
            users.remove(options.name)
        else:
            print(*map(printable, users.names()), sep="\n", end="\n" * bool(users.names()))
    except KeyError:
        return complain(f"{options.file} has no user {options.name!r}", REFUSED)
    except (OSError, ValueError, BadUserFile) as error:
        return complain(f"cannot {options.action} anybody: {error}", USAGE)
    return OK


def ask_password(name: str) -> str:
    """A password, asked for twice, or from a line of standard input; raises ValueError."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(f"Password for {name}: ")
    if getpass.getpass("Once more: ") != password:
        raise ValueError("these were two different passwords")
    return password
