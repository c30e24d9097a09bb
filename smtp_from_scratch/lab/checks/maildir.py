"""The checks of `maildir`: durable files, who has the letter, the order of steps, the route of a letter."""
from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from unittest.mock import patch

from smtp_from_scratch.lab.check import NotYet, Problem, check

# --- your turn: write ------------------------------------------------------------------------------------------------


@check(
    hints=(
        "Whose buffers does flush empty, and whose does fsync?",
        'open(path, "xb"), then file.flush() and os.fsync(file.fileno()) before the with ends',
        "Python keeps octets in a buffer, and the system keeps them in another one. `flush` empties the first into "
        "the second, and `os.fsync` the second onto the disk, so both are needed, in this order. The file is "
        "opened so that a name which exists already is an error and not overwritten.",
    ),
    passed="The octets are in the file, the disk was asked, and an older letter is safe.",
)
def check_write(my_write: Callable[[Path, bytes, BinaryIO], Any]) -> Problem | None:
    """The file is new, whole and synced."""
    for text in (b"x" * 200_000 + b"\nthe end\n", b"Monday, at nine.\n"):
        if problem := written(my_write, b"Return-Path: <>\n", text):
            return problem
    return None


def written(my_write: Callable[[Path, bytes, BinaryIO], Any], head: bytes, text: bytes) -> Problem | None:
    """One letter; a short one stays in Python's buffer until somebody flushes it."""
    synced: list[int] = []
    real = os.fsync

    def fsync(file: Any) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        synced.append(os.fstat(descriptor).st_size)
        real(descriptor)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "letter"
        with patch("os.fsync", fsync):
            if my_write(path, head, BytesIO(text)) is ...:
                raise NotYet("open the file, write head and body, and ask the disk.")
        if not path.exists():
            return Problem("no file", "Kenji's mailbox stays empty.", "open(path, …) with a mode that creates")
        if path.read_bytes() != head + text:
            return Problem(f"a file of {path.stat().st_size} octets, not {len(head + text)}",
                           "Kenji gets another letter than Ana wrote.", "first all of head, then all of body")
        if not synced:
            return Problem("no fsync", "Tokyo says 250, the cable goes, the letter is gone.", "RFC 5321 §6.1; os.fsync")
        if synced[-1] != len(head + text):
            return Problem(f"fsync when the file had {synced[-1]} octets",
                           "The rest was still in Python's buffer: half a letter survives.", "file.flush() comes first")
        path.write_bytes(b"an older letter\n")
        try:
            my_write(path, head, BytesIO(text))
        except FileExistsError:
            return None
        return Problem("no error for a name that is taken", "Yesterday's letter is overwritten.", 'the mode "xb"')


# --- exercise 1 ------------------------------------------------------------------------------------------------------

HOLDERS = {
    "354 has arrived": ("Ana", "Nothing was sent yet."),
    "the dot has left Rio": ("Ana", "A dot on the way obliges nobody."),
    "Tokyo has written tmp, without fsync": ("Ana", "What is not on the disk goes with the cable; no 250 yet."),
    "the folder is synced, 250 is not said": ("both", "Ana has heard nothing and keeps it; Tokyo can produce it."),
    "250 is somewhere under the Pacific": ("both", "Tokyo has promised; Ana does not know it yet."),
    "250 has arrived": ("Tokyo", "Ana may delete her copy."),
}


@check(
    hints=(
        "When may Ana delete her copy? From when on must Tokyo find its own?",
        "Ana until she has heard 250; Tokyo from the moment the name is durable",
        "Ana keeps the letter until she has heard 250. Tokyo has it as soon as the letter and its name are on the "
        "disk, whether it has said so or not. Between those two moments both have it, and that is intended: twice "
        "is better than never.",
    ),
    passed="At every moment somebody has it, and for a while two have.",
)
def check_owners(my_holders: Mapping[str, str]) -> Problem | None:
    """Responsibility passes with the 250, and overlaps (RFC 5321 §6.1)."""
    for moment, (holder, why) in HOLDERS.items():
        given = my_holders.get(moment)
        if given != holder:
            return Problem(f"{moment}: {given!r}", why, "the table of loop 1; RFC 5321 §6.1")
    return None


# --- exercise 2 ------------------------------------------------------------------------------------------------------

LURE = "sync the folder cur"
BEFORE = (
    ("read up to the lone dot", "write the octets into tmp", "The letter is not there yet."),
    ("make the Maildir if it is missing", "write the octets into tmp", "There is no folder to write into."),
    ("write the octets into tmp", "sync the file", "The disk is asked for a file that is still empty."),
    ("sync the file", "link into new", "Cut between the two: a name without octets. Kenji sees an empty letter."),
    ("link into new", "sync the folder new", "The folder is synced before it holds the name."),
    ("link into new", "remove the name in tmp", "The only name is gone, and with it the letter."),
    ("sync the folder new", "say 250", "Cut behind the 250: the octets are on the disk, and no name leads to them."),
    ("read up to the lone dot", "say 250", "250 to half a letter."),
)
STEPS = {step for rule in BEFORE for step in rule[:2]}


@check(
    hints=(
        "What must be on the disk before a reader may see the name? And before Ana may hear of it?",
        "octets, sync, name, sync, word",
        "Each step makes true what the next one relies on. The octets must be on the disk before the name appears, "
        "and the name must be on the disk before the 250 is said. Nothing was changed in one of the folders, so "
        "syncing that one is the lure.",
    ),
    passed="Cut it anywhere: no letter is lost, none is half.",
)
def check_steps(my_order: Sequence[str]) -> Problem | None:
    """Every order that keeps the promise is right."""
    order = list(my_order)
    for step in order:
        if step == LURE:
            return Problem(LURE, "Nothing was put into cur; mail programs do that.", "which folders changed?")
        if step not in STEPS:
            return Problem(repr(step), "That is none of the steps.", "copy the strings from the list above")
    for step in sorted(STEPS):
        if order.count(step) != 1:
            return Problem(f"{step}: {order.count(step)} times", "A delivery does it once.", "eight steps, each once")
    for first, then, story in BEFORE:
        if order.index(first) > order.index(then):
            return Problem(f"{then}, before {first}", story, "loops 1 and 2")
    return None


# --- exercise 3 ------------------------------------------------------------------------------------------------------

HEADERS: tuple[tuple[bytes, list[str], str], ...] = (
    (b"Received: from rio.example by mx.tokyo.example with SMTP; Mon, 2 Mar 2026 09:00:00 +0900\r\n"
     b"Subject: one\r\n\r\n",
     ["mx.tokyo.example"], "one handover"),
    (b"Received: from relay.example ([192.0.2.7])\r\n\tby mx.tokyo.example with SMTP id 2;\r\n"
     b"\tMon, 2 Mar 2026 09:00:00 +0900\r\n"
     b"Received: from laptop.rio.example\r\n by relay.example with SMTP id 1; Sun, 1 Mar 2026 20:59:00 -0300\r\n\r\n",
     ["relay.example", "mx.tokyo.example"], "folded lines: the lowest Received is the first"),
    (b"Subject: sung by a choir\r\nReceived: from rio.example (kept by hand)\r\n"
     b"\tby mx.tokyo.example; Mon, 2 Mar 2026 09:00:00 +0900\r\n\r\n",
     ["mx.tokyo.example"], "a `by` in a comment or in another field is no handover"),
    (b"Subject: nobody touched it\r\n\r\nReceived: by nobody\r\n", [], "the body is not the header"),
)


@check(
    hints=(
        "Which lines belong to one field? Which end of the header is the older one?",
        "message_from_bytes(header).get_all('Received'), comments removed, reversed",
        "Each server that takes a letter over puts a Received field on top, so the oldest is at the bottom. A "
        "field may go on in further lines, which begin with a space or a tab. Comments in parentheses are for "
        "people, so take them out before you look for `by`.",
    ),
    passed="Every handover, the first one first.",
)
def check_route(my_route: Callable[[bytes], Any]) -> Problem | None:
    """The hosts behind `by`, oldest first (RFC 5321 §4.4)."""
    for header, route, what in HEADERS:
        given = my_route(header)
        if given is ...:
            raise NotYet("return the hosts that took the letter over, first one first.")
        hosts = [host.decode("ascii", "replace") if isinstance(host, bytes) else host for host in given or []]
        if hosts != route:
            return Problem(f"{given!r}, for\n{header.decode().replace(chr(13), '').strip()}",
                           f"The letter went {' → '.join(route) or 'nowhere'}.", what)
    return None
