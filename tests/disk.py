"""A disk that forgets: what programs asked of it, and everything that may be left when the power goes in between.

`Disk(top)` records, while it is entered, what becomes of the files below `top`: names given and taken away, octets
written, fsync. `cuts()` then switches the power off after each of these, and for each yields every state in which
the files may be found: names and octets that were synced are there, each of the others is there or is not.
"""
from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

CALLS = ("chmod", "fdatasync", "fsync", "link", "mkdir", "open", "remove", "rename", "replace", "rmdir", "unlink")


@dataclass(frozen=True)
class Change:
    """Names that appear or vanish at one stroke: (folder, name, what) with what None for a name that is gone."""

    names: tuple[tuple[int, str, int | None], ...]

    def touches(self, folder: int) -> bool:
        return any(where == folder for where, _, _ in self.names)


@dataclass(frozen=True)
class Write:
    file: int
    octets: bytes


@dataclass(frozen=True)
class Sync:
    node: int


@dataclass(frozen=True)
class Said:
    """What was promised to somebody outside."""

    word: Any


@dataclass
class Tree:
    """Folders with what they lead to, and files with their octets, by number; folder 0 is the top."""

    folders: dict[int, dict[str, int]] = field(default_factory=lambda: {0: {}})
    files: dict[int, bytes] = field(default_factory=dict)

    def paths(self, folder: int = 0, above: str = "") -> Iterator[tuple[str, bytes]]:
        """Every file that can be found from the top."""
        for name, node in self.folders.get(folder, {}).items():
            if node in self.files:
                yield above + name, self.files[node]
            else:
                yield from self.paths(node, f"{above}{name}/")


class Disk:
    """Records what happens below a folder, of which everything that was there before is safe."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.events: list[Change | Write | Sync | Said] = []
        self.before: Callable[[], None] = lambda: None       # called before each system call
        self._numbers: dict[int, int] = {top.stat().st_ino: 0}
        self._next = itertools.count(1)
        self._lock = threading.RLock()
        self._patches = [patch.object(os, name, self._noted(name, getattr(os, name)))
                         for name in CALLS if hasattr(os, name)]
        self._tree = self._look()
        self._start = self._tree

    def __enter__(self) -> Disk:
        for each in self._patches:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._patches:
            each.stop()

    def say(self, word: Any) -> None:
        """Somebody is promised something."""
        with self._lock:
            self._compare()
            self.events.append(Said(word))

    def _noted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **options: Any) -> Any:
            self.before()
            with self._lock:
                self._compare()
                result = call(*arguments, **options)
                if name in ("fsync", "fdatasync"):
                    node = self._numbers.get(os.fstat(arguments[0]).st_ino)
                    self.events += [] if node is None else [Sync(node)]
                else:
                    self._compare()
                return result

        return noted

    def _look(self) -> Tree:
        """The files as they are now; a number stays with a file as long as it has a name."""
        tree, seen = Tree(), {self.top.stat().st_ino: 0}
        for path, folders, files in os.walk(self.top):
            names = {}
            for name in (*folders, *files):
                inode = os.lstat(os.path.join(path, name)).st_ino
                number = seen.get(inode, self._numbers.get(inode))
                seen[inode] = names[name] = next(self._next) if number is None else number
                if name in files:
                    tree.files[seen[inode]] = Path(path, name).read_bytes()
            tree.folders[seen[os.stat(path).st_ino]] = names
        self._numbers = seen
        return tree

    def _compare(self) -> None:
        """Note what has changed since we looked last."""
        old = self._tree
        self._tree = new = self._look()
        changes: dict[int, list[tuple[int, str, int | None]]] = {}
        for folder in old.folders | new.folders:
            was, now = old.folders.get(folder, {}), new.folders.get(folder, {})
            for name in sorted(was | now):
                if name in was and was[name] != now.get(name) and name not in now:
                    changes.setdefault(was[name], []).append((folder, name, None))
                elif name in now and was.get(name) != now[name]:
                    changes.setdefault(now[name], []).append((folder, name, now[name]))
        for names in changes.values():
            moved = len(names) == 2 and sum(what is None for _, _, what in names) == 1
            self.events += [Change(tuple(names))] if moved else [Change((name,)) for name in names]
        self.events += [Write(file, octets) for file, octets in new.files.items() if octets != old.files.get(file)]

    def cuts(self, ignored: str = "tmp/") -> Iterator[tuple[list[Any], Tree]]:
        """For each moment: what had been said, and a tree that may be left. Names below `ignored` are not varied."""
        said: list[Any] = []
        durable = Tree({folder: dict(names) for folder, names in self._start.folders.items()}, dict(self._start.files))
        cached, pending = dict(durable.files), list[Change]()
        hidden = self._folders_called(ignored.rstrip("/"))
        for event in (None, *self.events):
            match event:
                case Change():
                    pending.append(event)
                case Write(file, octets):
                    cached[file] = octets
                case Sync(node):
                    if node in cached:
                        durable.files[node] = cached[node]
                    for change in [change for change in pending if change.touches(node)]:
                        apply(durable, change)
                        pending.remove(change)
                case Said(word):
                    said.append(word)
            varied = [change for change in pending if not all(where in hidden for where, _, _ in change.names)]
            yield from ((list(said), tree) for tree in survivors(durable, varied, cached))

    def _folders_called(self, name: str) -> set[int]:
        changes = [place for event in self.events if isinstance(event, Change) for place in event.names]
        old = [(folder, known, node) for folder, names in self._start.folders.items() for known, node in names.items()]
        return {node for _, known, node in (*changes, *old) if known == name and node is not None}


def apply(tree: Tree, change: Change) -> None:
    for folder, name, what in change.names:
        names = tree.folders.setdefault(folder, {})
        if what is None:
            names.pop(name, None)
        else:
            names[name] = what


def survivors(durable: Tree, pending: list[Change], cached: dict[int, bytes]) -> Iterator[Tree]:
    """Every subset of the names that were not synced, with nothing, half or all of the octets that were not."""
    assert len(pending) < 12, "too much that is not synced to try all of it"
    named = {what for change in pending for _, _, what in change.names} | {
        node for names in durable.folders.values() for node in names.values()}
    unsure = [file for file, octets in cached.items() if file in named and durable.files.get(file) != octets]
    for kept in itertools.product((False, True), repeat=len(pending)):
        for parts in itertools.product((0, 1, 2), repeat=len(unsure)):
            tree = Tree({folder: dict(names) for folder, names in durable.folders.items()},
                        {file: durable.files.get(file, b"") for file in cached})
            for change in itertools.compress(pending, kept):
                apply(tree, change)
            for file, part in zip(unsure, parts, strict=True):
                if part:
                    tree.files[file] = cached[file][: len(cached[file]) * part // 2]
            yield tree
