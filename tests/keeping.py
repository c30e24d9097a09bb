"""A process that puts letters into a queue, or hands them on, until somebody kills it: `python keeping.py keep FILE`.

`keep` prints the number of each letter after its 250. `send FILE DELIVERED` takes turns: what a recipient got is a line
in another file, synced before the 250.
"""
from __future__ import annotations

import io
import os
import sys
from typing import IO

from smtp_from_scratch import Envelope, Queue, Reply

SENDER, TEXT = "ana@rio.example", b"Subject: %d\r\n\r\n" + b"x" * 20_000


def letter(number: int) -> tuple[Envelope, IO[bytes]]:
    """A letter to two people of its own; the second of every third one is never known to anybody."""
    names = ("kenji", "nobody" if number % 3 == 0 else "yui")
    return Envelope(SENDER, [f"{name}{number}@tokyo.example" for name in names]), io.BytesIO(TEXT % number)


def keep(queue: Queue) -> None:
    """Say 250 as often as possible."""
    for number in range(1_000_000):
        assert queue(*letter(number)).code == 250
        print(number, flush=True)


def send(queue: Queue, delivered: str) -> None:
    """Take turns; the next server says 550 about nobody."""
    with open(delivered, "a", encoding="utf-8") as file:
        def deliver(envelope: Envelope, body: IO[bytes]) -> dict[str, Reply]:
            assert body.read().count(b"\r\n\r\n")
            taken = [address for address in envelope.recipients if not address.startswith("nobody")]
            file.write("".join(f"{address} {envelope.sender or '<>'}\n" for address in taken))
            file.flush()
            os.fsync(file.fileno())
            return {address: Reply(250) if address in taken else Reply(550, "nobody", "5.1.1")
                    for address in envelope.recipients}

        print("begun", flush=True)
        while queue.entries():
            queue.attempt(deliver)
            print("a turn", flush=True)


if __name__ == "__main__":
    what, path, *more = sys.argv[1:]
    with_queue = Queue(path, "relay.rio.example")
    keep(with_queue) if what == "keep" else send(with_queue, *more)
