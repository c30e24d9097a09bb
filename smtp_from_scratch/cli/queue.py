"""`queue`: what waits in the queue of `serve`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import time

from smtp_from_scratch.cli.common import OK, REFUSED, USAGE, complain, count
from smtp_from_scratch.ledger import ASIDE, Aside, Entry, Ledger
from smtp_from_scratch.printable import printable


def add_options(queue: argparse.ArgumentParser) -> None:
    """The options."""
    queue.description = "Shows what waits in the queue of `serve --queue FILE`."
    queue.add_argument("file", metavar="FILE", help="the queue's file")
    what = queue.add_mutually_exclusive_group()
    what.add_argument("--now", metavar="ID", nargs="?", type=count, const=0,
                      help="try one message at once, or all, also what was set aside; a `serve` that runs does so "
                      "within five seconds")
    what.add_argument("--drop", metavar="ID", type=count, help="forget a message: nobody gets it, and nobody is told")
    queue.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show or change what waits."""
    if not os.path.isfile(options.file):
        return complain(f"there is no queue {options.file}: `serve --queue` makes it", USAGE)
    try:
        with contextlib.closing(Ledger(options.file)) as ledger:
            if options.now is not None or options.drop:
                return change(ledger, options)
            rows, now = ledger.rows(), time.time()
    except (OSError, ValueError, sqlite3.Error) as error:
        return complain(f"cannot use {options.file} as a queue: {error}", USAGE)
    for row in rows:
        print(described(row, now))
    return OK


def change(ledger: Ledger, options: argparse.Namespace) -> int:
    """`--now` and `--drop`."""
    number = options.drop or options.now
    done = ledger.drop(number) if options.drop else ledger.hurry(number or None)
    if number and not done:
        return complain(f"{options.file} has no message {number}", REFUSED)
    print(f"{done} {'message' if done == 1 else 'messages'} {'dropped' if options.drop else 'due now'}")
    return OK


def described(entry: Entry | Aside, now: float) -> str:
    """A message in two lines, or three."""
    if isinstance(entry, Aside):
        return f"{entry.id:4} came {spell(now - entry.came)} ago, set aside: nobody tries it\n     {entry.why}"
    if entry.held == ASIDE:
        again = "set aside: nobody tries it"
    elif entry.held > now:
        again = "somebody is trying it now"
    else:
        again = f"next attempt in {spell(entry.due - now)}" if entry.due > now else "due now"
    people = " ".join(f"<{printable(address)}>" for address in entry.envelope.recipients)
    last = f"\n     {printable(entry.last)}" if entry.last else ""
    return (f"{entry.id:4} came {spell(now - entry.came)} ago from <{printable(entry.envelope.sender)}>, {again}\n"
            f"     for {people}{last}")


def spell(seconds: float) -> str:
    """A time, as people say it."""
    for unit, length in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{max(0, round(seconds))} s"
