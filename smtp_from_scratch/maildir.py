"""250 is a promise: durable delivery into Maildirs, one for each recipient (RFC 5321 §4.4, §6.1)."""
# Exported from notebooks/07_maildir.ipynb; edit the notebook.

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import shutil
import socket
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import IO
from urllib.parse import quote

from .envelope import Envelope, few_quotes
from .wire import Reply

__all__ = ["unique_name", "folder_name", "sync_folder", "with_lf", "trace", "Maildir"]


# %% unique-name
_counter = itertools.count(1)


def unique_name(hostname: str) -> str:
    """A file name that no other delivery on any host has: time, process, counter, host."""
    host = hostname.replace("/", "_").replace(":", "_")
    return f"{time.time():.6f}.P{os.getpid()}Q{next(_counter)}.{host}"


# %% folder-name
def folder_name(address: str) -> str:
    """A recipient's folder: the address in lower case, what could confuse a file system in hex; `"ana"` is `ana`."""
    name = quote(few_quotes(address).lower(), safe="@+=!#$&'*~", errors="surrogateescape")
    return name if len(name) <= 200 else name[:130] + "-" + hashlib.sha256(name.encode()).hexdigest()


# %% sync
def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; Windows cannot, and does without."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# %% make-maildir
def make_maildir(folder: Path) -> None:
    """Create a Maildir, and make its creation durable."""
    if (folder / "new").is_dir():
        return
    for name in ("tmp", "cur", "new"):         # `new` last: who sees it may rely on the others
        (folder / name).mkdir(parents=True, exist_ok=True)
    sync_folder(folder)
    sync_folder(folder.parent)


# %% as-lf
def with_lf(body: IO[bytes]) -> Iterator[bytes]:
    """A letter in blocks, every CR LF an LF, as is the custom on disk; any other octet as it is."""
    held = b""                                 # a CR at the end of a block: half a line end?
    while block := held + body.read(262_144):
        if block == held:
            yield held
            return
        held = b"\r" if block.endswith(b"\r") else b""
        yield block[: len(block) - len(held)].replace(b"\r\n", b"\n")


# %% write-durably
def write_durably(path: Path, head: bytes, body: IO[bytes], binary: bool = False) -> None:
    """Write a new file and wait until the disk has it; what is `binary` has no lines, and stays as it is."""
    with open(path, "xb") as file:
        file.write(head if binary else head.replace(b"\r\n", b"\n"))
        if binary:
            shutil.copyfileobj(body, file, 262_144)
        else:
            file.writelines(with_lf(body))
        file.flush()
        os.fsync(file.fileno())


# %% trace
def trace(envelope: Envelope, hostname: str, identity: str) -> bytes:
    """Return-Path and Received: where a bounce goes, and which way the letter came (RFC 5321 §4.4)."""
    whom = f"\r\n\tfor <{envelope.recipients[0]}>" if len(envelope.recipients) == 1 else ""
    peer = f" ([{'IPv6:' if ':' in envelope.peer else ''}{envelope.peer}])" if envelope.peer else ""
    return (
        f"Return-Path: <{envelope.sender}>\r\n"
        f"Received: from {envelope.hello or 'unknown'}{peer}\r\n"
        f"\tby {hostname} with {envelope.protocol} id {identity}{whom};\r\n"
        f"\t{formatdate(localtime=True)}\r\n"
    ).encode(errors="surrogateescape")


# %% publish
def publish(temporary: Path, names: list[Path]) -> None:
    """Give a finished file its names, all or none; a name appears whole or not at all."""
    done: list[Path] = []
    try:
        for name in names:
            os.link(temporary, name)
            done.append(name)
        for name in names:
            sync_folder(name.parent)
    except OSError:
        for name in done:
            name.unlink(missing_ok=True)
        raise


# %% maildir
class Maildir:
    """Delivers to `root/ADDRESS/new`, a Maildir for each recipient; on disk before it returns 250.

    Give it to a server as `deliver`. `hostname` appears in Received and in file names.
    """

    def __init__(self, root: str | os.PathLike[str], hostname: str = "") -> None:
        self.root, self.hostname = Path(root), hostname or socket.gethostname() or "localhost"
        self.root.mkdir(parents=True, exist_ok=True)

    def __call__(self, envelope: Envelope, body: IO[bytes]) -> Reply:
        """Deliver to all recipients or to none: 452 when the disk is full; raises OSError otherwise."""
        name = unique_name(self.hostname)
        folders = [self.root / folder for folder in dict.fromkeys(map(folder_name, envelope.recipients))]
        for folder in folders:
            make_maildir(folder)
        temporary = folders[0] / "tmp" / name
        binary = (envelope.parameters.get("BODY") or "").upper() == "BINARYMIME"     # chapter 10 (RFC 3030 §3)
        try:
            write_durably(temporary, trace(envelope, self.hostname, name), body, binary)
            publish(temporary, [folder / "new" / name for folder in folders])
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return Reply(452, "the disk is full; please try again later")
        finally:
            temporary.unlink(missing_ok=True)
        return Reply(250, f"kept as {name}")
