"""Servers that die: `python dying.py Maildir ROOT` reads numbers, and for each forks a server that kills itself there.

`Loop` in place of `Maildir` is a Maildir behind a loop, which takes several letters at once; `Together` one that waits
until there are three, and delivers them together.

It prints the server's port. The number says at which moment of its deliveries the server dies, as `kill -9` would
have it: before a system call, or before it reads on in a letter; at 0 it lives. The next line of input ends one that
is still alive.
"""
from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

from smtp_from_scratch import Envelope, Maildir, Reply, Server
from smtp_from_scratch.maildir import folder_name, make_maildir, unique_name
from smtp_from_scratch.together import Steps, calling, in_steps
from smtp_from_scratch.tray import Tray

CALLS = ("chmod", "close", "fsync", "link", "mkdir", "open", "posix_fadvise", "rename", "replace", "unlink", "write")


class InPlace(Maildir):
    """Writes each letter where it is read: what a Maildir must not do."""

    def __call__(self, envelope: Envelope, body: IO[bytes]) -> Reply:
        name = unique_name(self.hostname)
        for address in envelope.recipients:
            make_maildir(self.root / folder_name(address))
            body.seek(0)
            with open(self.root / folder_name(address) / "new" / name, "xb") as file:
                file.write(b"Return-Path: <>\n")
                shutil.copyfileobj(body, file, 262_144)
                file.flush()
                os.fsync(file.fileno())
        return Reply(250, "kept")


class Watched:
    """A letter; before each piece of it there is a moment to die."""

    def __init__(self, body: IO[bytes], moment: Callable[[], None]) -> None:
        self._body, self._moment = body, moment

    def __getattr__(self, name: str) -> Any:
        if name.startswith("read"):
            self._moment()
        return getattr(self._body, name)


class Dying:
    """A delivery that reads each letter watched."""

    def __init__(self, deliver: Maildir, moment: Callable[[], None]) -> None:
        self.deliver, self.moment, self.at_once = deliver, moment, deliver.at_once

    @in_steps
    def __call__(self, envelope: Envelope, body: IO[bytes]) -> Steps[Reply]:
        return (yield from calling(self.deliver, envelope, Watched(body, self.moment)))


def in_threes() -> Callable[[Tray[Any]], list[Any]]:
    """A `take` for trays: where one thread takes all, it waits until there are three."""
    take = Tray.take

    def all_three(tray: Tray[Any]) -> list[Any]:
        found = take(tray)
        while tray.threads == 1 and 0 < len(found) < 3 and (more := take(tray)):
            found += more
        return found

    return all_three


def serve_until(moment: int, deliver: Maildir, stage: str) -> None:
    """Serve, and die at a moment, counted from 1."""
    moments = itertools.count(1)               # one for all threads

    def one_less() -> None:
        if next(moments) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **options: Any) -> Any:
            one_less()
            return call(*arguments, **options)

        return instead

    server = Server(deliver=Dying(deliver, one_less), stage=stage)
    server.start()
    for name in filter(partial(hasattr, os), CALLS):
        setattr(os, name, dying(getattr(os, name)))
    print(server.address[1], flush=True)
    while True:
        time.sleep(60)


def main(kind: str, root: str) -> None:
    child = 0
    for line in sys.stdin:
        end(child)
        child = os.fork()
        if not child:
            if kind == "Together":
                setattr(Tray, "take", in_threes())      # noqa: B010
            deliver = InPlace if kind == "InPlace" else Maildir
            serve_until(int(line), deliver(Path(root)), "loop" if kind in ("Loop", "Together") else "threads")
    end(child)


def end(child: int) -> None:
    if child:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
