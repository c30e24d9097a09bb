"""Who may log in: a file of SCRAM keys, read again whenever it changes."""
from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
import time
from pathlib import Path
from urllib.parse import quote, unquote

from .auth import decode64
from .sasl import encode64
from .saslprep import saslprep
from .scram import ITERATIONS, Keys, ScramKeys, scram_keys
from .together import sync_folder

__all__ = ["BadUserFile", "UserFile"]


class BadUserFile(Exception):
    """A user file that cannot be understood; says which line, and not what is in it."""


def user_line(user: str, keys: ScramKeys) -> str:
    """`name:keys`; what would be mistaken in a name is written as in a URL."""
    return re.sub(r"[:%#\s]", lambda found: quote(found[0], safe=""), user) + f":{keys.to_text()}"


def parse_users(text: str, name: str) -> tuple[dict[str, ScramKeys], bytes]:
    """The users of a file, and the secret of its decoys: the line without a name. Raises BadUserFile."""
    users: dict[str, ScramKeys] = {}
    secret = b""
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.startswith(":"):
                secret = decode64(line[1:].strip())
            elif user := user_of(line):
                if user in users:
                    raise ValueError("this user has a line already")
                users[user] = ScramKeys.from_text(line.partition(":")[2].strip())
        except ValueError as error:
            raise BadUserFile(f"{name}, line {number}: {error}") from None
    return users, secret


def user_of(line: str) -> str:
    """Whose line it is; empty for nobody's. Raises ValueError."""
    nobodys = not line.strip() or line.startswith((":", "#"))
    return "" if nobodys else saslprep(unquote(line.partition(":")[0], errors="strict"))


def read(path: Path) -> str:
    """A user file; octets that are not UTF-8 become what SASLprep refuses."""
    return path.read_text("utf-8", "surrogateescape")


HEAD = "# name:SCRAM-SHA-256$iterations:salt$stored key:server key; a line without a name is for decoys\n"


def rewrite(path: Path, user: str, line: str = "") -> None:
    """Give a user this line, or none; who reads meanwhile sees the old file or the new one. KeyError, OSError."""
    path = Path(os.path.realpath(path))        # a link stays a link
    new = path.with_name(f"{path.name}.new")
    descriptor = take(new)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            old = read(path) if path.exists() else f"{HEAD}:{encode64(secrets.token_bytes(32))}\n"
            users, _ = parse_users(old, path.name)
            if not line and user not in users:
                raise KeyError(user)
            lines = [one for one in old.rstrip("\n").split("\n") if user_of(one) != user]
            file.write("\n".join([*lines, line] if line else lines) + "\n")
            file.flush()
            keep_owner(path, new)
            os.fsync(file.fileno())
    except BaseException:
        new.unlink()                           # after it was closed: Windows removes no open file
        raise
    os.replace(new, path)
    sync_folder(path.parent)


PATIENCE = 5.0                                 # seconds


def take(new: Path) -> int:
    """Create the new file, which nobody else may do before it is in place; FileExistsError after some patience."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            if time.monotonic() > end:
                raise FileExistsError(f"{new} is there: another update is under way; or one died: remove it") from None
            time.sleep(0.05)


def keep_owner(old: Path, new: Path) -> None:
    """Give the new file the old one's owner and mode, as far as we may: the server may run as somebody else."""
    if hasattr(os, "chown") and old.exists():
        status = old.stat()
        with contextlib.suppress(PermissionError):
            os.chown(new, -1, status.st_gid)
            os.chmod(new, status.st_mode & 0o777)
            os.chown(new, status.st_uid, -1)


class UserFile(Keys):
    """Users in a file, read again whenever it changes; a line for each, `name:keys` (see `ScramKeys.to_text`).

    Raises OSError and BadUserFile; with `create`, a file that is not there yet has no users.
    """

    def __init__(self, path: str | os.PathLike[str], create: bool = False) -> None:
        super().__init__({})
        self.path = Path(os.path.abspath(path))     # not where a link leads now: it may lead elsewhere later
        self._create, self._lock = create, threading.Lock()
        self._seen: tuple[int, ...] = ()
        self.names()

    def names(self) -> list[str]:
        """Who is in the file now."""
        with self._lock:
            try:
                status = self.path.stat()
                seen: tuple[int, ...] = (status.st_mtime_ns, status.st_size, status.st_dev, status.st_ino)
                text = read(self.path) if seen != self._seen else ""
            except FileNotFoundError:
                if not self._create:
                    raise
                seen, text = (), ""
            if seen != self._seen:
                keys, secret = parse_users(text, self.path.name)
                self._hold(keys)
                self._secret, self._seen = secret or self._secret, seen
            return sorted(self._keys)

    def scram_keys(self, user: str) -> ScramKeys:
        """A user's keys, or a decoy."""
        self.names()
        return super().scram_keys(user)

    def add(self, user: str, password: str, iterations: int = ITERATIONS) -> None:
        """Add a user, or give one another password; raises ValueError for what SASLprep refuses."""
        user = saslprep(user)
        rewrite(self.path, user, user_line(user, scram_keys(password, iterations=iterations)))

    def remove(self, user: str) -> None:
        """Take a user out; KeyError for one who is not there."""
        rewrite(self.path, saslprep(user))
