"""250 is a promise: durable delivery into Maildirs, one for each recipient (RFC 5321 §4.4, §6.1)."""
# Exported from notebooks/08_maildir.ipynb; edit the notebook.

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from functools import lru_cache
from pathlib import Path
from typing import IO
from urllib.parse import quote

from .envelope import Envelope, few_quotes
from .stream import BLOCK
from .together import Steps, in_steps, sync_folder
from .wire import Reply

__all__ = [
    "unique_name", "folder_name", "FOLDERS", "make_maildir", "with_lf", "write_durably", "put", "date_of", "trace",
    "field_end", "own_return_path", "publish", "Maildir",
]


# %% unique-name
_counter = itertools.count(1)


def unique_name(hostname: str) -> str:
    """A file name that no other delivery on any host has: time, process, counter, host."""
    host = hostname.replace("/", "_").replace(":", "_")
    return f"{time.time():.6f}.P{os.getpid()}Q{next(_counter)}.{host}"


# %% folder-name
@lru_cache(1000)
def folder_name(address: str) -> str:
    """A recipient's folder: the address in lower case, in hex what confuses a file system; `"ana"` is `ana`."""
    name = quote(few_quotes(address).lower(), safe="@+=!#$&'*~", errors="surrogateescape")
    return name if len(name) <= 200 else name[:130] + "-" + hashlib.sha256(name.encode()).hexdigest()


# %% sync
def make_folder(folder: Path) -> None:
    """Create a folder for its owner alone, and those above it; its name is durable, also if it was there."""
    if folder.is_dir():
        with contextlib.suppress(PermissionError): sync_folder(folder.parent)    # not ours, if we may not
        return
    make_folder(folder.parent)
    folder.mkdir(0o700, exist_ok=True)                 # another delivery may have been faster
    folder.chmod(0o700)
    sync_folder(folder.parent)


# %% make-maildir
FOLDERS = ("tmp", "cur", "new")


def make_maildir(folder: Path) -> None:
    """Create a Maildir, or what is missing of it; return when the disk has it, whoever created it."""
    make_folder(folder)
    for name in FOLDERS:
        if not (folder / name).is_dir():
            (folder / name).mkdir(0o700, exist_ok=True)
            (folder / name).chmod(0o700)
    sync_folder(folder)


# %% sweep
HOUR, STALE = 3600.0, 36 * 3600.0              # seconds
REMEMBERED = 10_000                            # mailboxes


def sweep(tmp: Path) -> None:
    """Remove what deliveries left unfinished more than 36 hours ago; a file that cannot be removed stays."""
    with contextlib.suppress(OSError), os.scandir(tmp) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < time.time() - STALE:
                    os.unlink(entry.path)


# %% with-lf
def with_lf(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """A message in blocks, every CR LF an LF, as is the custom on disk; any other octet as it is."""
    held = b""                                 # a CR at the end of a block: half a line end?
    for block in blocks:
        block = held + block
        held = b"\r" if block.endswith(b"\r") else b""
        yield block[: len(block) - len(held)].replace(b"\r\n", b"\n")
    yield held


# %% write-durably
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)      # which only Windows has


def write_durably(path: str, blocks: Iterable[bytes]) -> Steps[None]:
    """Write a new file that only its owner may read, and go on when the disk has it."""
    file = os.open(path, _NEW, 0o600)
    try:
        os.chmod(path, 0o600)                  # whatever the umask
        for block in blocks:
            while block: block = block[os.write(file, block) :]
        yield [file]
    finally:
        os.close(file)


def put(message: Iterable[bytes], name: str, folders: list[str]) -> Steps[None]:
    """Keep a message as a file with this name in each folder's `new`, and nothing in `tmp`."""
    temporary = f"{folders[0]}/tmp/{name}"
    try:
        yield from write_durably(temporary, message)
        yield from publish(temporary, [f"{folder}/new/{name}" for folder in folders])
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


# %% trace
@lru_cache(1)
def date_of(second: int) -> str:
    """A moment, in seconds since 1970, as a header has it; letters of one second share it."""
    return formatdate(second, localtime=True)


def trace(envelope: Envelope, hostname: str, identity: str) -> bytes:
    """Return-Path and Received: where a bounce goes, and which way the message came (RFC 5321 §4.4)."""
    whom = f"\r\n\tfor <{envelope.recipients[0]}>" if len(envelope.recipients) == 1 else ""
    peer = f" ([{'IPv6:' if ':' in envelope.peer else ''}{envelope.peer}])" if envelope.peer else ""
    return (
        f"Return-Path: <{envelope.sender}>\r\n"
        f"Received: from {envelope.hello or 'unknown'}{peer}\r\n"
        f"\tby {hostname} with {envelope.protocol} id {identity}{whom};\r\n"
        f"\t{date_of(int(time.time()))}\r\n"
    ).encode(errors="surrogateescape")


# %% own-return-path
_EMPTY_OR_PATH = re.compile(rb"\n(?:\r?\n|return-path[ \t]*:)", re.IGNORECASE)
_FIELD_END = re.compile(rb"\n(?![ \t])")


def field_end(data: bytes, start: int) -> int:
    """Where the field ends that `start` is in: at the end of `data`, if it may go on after that."""
    end = _FIELD_END.search(data, start)
    return end.end() if end else len(data)


def own_return_path(head: bytes, body: IO[bytes]) -> Iterator[bytes]:
    """The message in blocks: our trace, then what came, without its own Return-Path (RFC 5321 §4.4)."""
    yield head
    data, removing, found = b"\n", False, None
    while not found and (block := body.read(BLOCK)):
        data = data[-1:] + block + body.readline(BLOCK)
        at = field_end(data, 0) if removing else 1
        while (found := _EMPTY_OR_PATH.search(data, at - 1)) and not found[0].endswith(b"\n"):
            yield data[at : found.start() + 1]
            at = field_end(data, found.end())
        removing = at == len(data)
        yield data[at:]
    yield from iter(lambda: body.read(BLOCK), b"")


# %% publish
def publish(temporary: str, names: list[str]) -> Steps[None]:
    """Give a finished file its names, all or none; a name appears whole or not at all."""
    done: list[str] = []
    try:
        for name in names:
            os.link(temporary, name)
            done.append(name)
        yield [os.path.dirname(name) for name in names]
    except OSError:
        for name in done:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        raise


# %% maildir
class Maildir:
    """A `deliver` into `root/ADDRESS/new`, on disk before 250; `hostname` is for Received and file names."""

    at_once = 16                               # large letters that a loop hands over

    def __init__(self, root: str | os.PathLike[str], hostname: str = "") -> None:
        self.root, self.hostname = Path(root), hostname or socket.gethostname() or "localhost"
        make_folder(self.root)
        self._seen: dict[str, float] = {}      # mailboxes that the disk has, and when we looked after them

    def look_after(self, folder: str, again: bool) -> None:
        """Once an hour, or `again`: the disk has a mailbox whole, and nothing stale is in its tmp."""
        if again or time.monotonic() - self._seen.get(folder, -HOUR) >= HOUR:
            make_maildir(Path(folder))
            sweep(Path(folder, "tmp"))
            if len(self._seen) >= REMEMBERED:
                self._seen.clear()
            self._seen[folder] = time.monotonic()

    @in_steps
    def __call__(self, envelope: Envelope, body: IO[bytes]) -> Steps[Reply]:
        """Deliver to all recipients or to none: 452 when the disk is full; raises OSError otherwise."""
        name, again = unique_name(self.hostname), False
        folders = [f"{self.root}/{folder}" for folder in dict.fromkeys(map(folder_name, envelope.recipients))]
        binary = (envelope.parameters.get("BODY") or "").upper() == "BINARYMIME"     # chunking (RFC 3030 §3)
        while True:
            message = own_return_path(trace(envelope, self.hostname, name), body)
            try:
                for folder in folders:
                    self.look_after(folder, again)
                yield from put(message if binary else with_lf(message), name, folders)
                return Reply(250, f"kept as {name}")
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    return Reply(452, "the disk is full; please try again later")
                if again or error.errno != errno.ENOENT:
                    raise
            again = True                       # a folder was removed since we looked: begin once more
            body.seek(0)
