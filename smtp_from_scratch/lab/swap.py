"""Yours or ours: once the learner's function has passed its check, the chapter runs with it.

    groups = lab.yours(my_groups, groups)                  # this name of the notebook
    groups = lab.yours(my_groups, groups, "pipelining")    # and the package's: smtp_from_scratch.pipelining.groups

`lab.use("pipelining", groups=groups)` does the second alone, `lab.restore()` takes all of it back.
"""
from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, TypeVar

from smtp_from_scratch.lab import record
from smtp_from_scratch.lab.check import is_unsolved
from smtp_from_scratch.lab.figures.faces import say
from smtp_from_scratch.lab.register import check_of

Thing = TypeVar("Thing")
PACKAGE = "smtp_from_scratch"
_replaced: list[tuple[Any, str, Any]] = []     # a module, a name in it, what stood there


def yours(mine: Any, ours: Thing, module: str = "", *, check: Any = None) -> Thing:
    """The learner's function or class when it passes its check, else ours; a line says which, and why.

    The check is the one that examines what is called as `mine` is, unless `check` names another. With a `module`
    of the package, the learner's is put there, too.
    """
    name = name_of(mine, ours)
    found = check or check_of(name, record.here())
    if found is None:
        raise LookupError(f"no check examines {name}: give it as check=lab.check_…")
    if is_unsolved(mine):
        return told(ours, f"ours: `{name}` is not written yet")
    verdict = found(mine)
    if not verdict.passed:
        waiting = "is not finished yet" if verdict.problem is None else "does not pass its check yet"
        return told(ours, f"ours: `{name}` {waiting}")
    if module:
        use(module, **{getattr(ours, "__name__", name): mine})
    return told(mine, f"yours: `{name}` runs from here on")


def told(thing: Thing, words: str) -> Thing:
    """Say which it is, and hand it back."""
    say(words)
    return thing


def name_of(mine: Any, ours: Any) -> str:
    """What the learner calls it: by its own name, or by that of ours."""
    name = str(getattr(mine, "__name__", ""))
    if name.lower().startswith("my"):
        return name
    known = str(getattr(ours, "__name__", ""))
    return f"My{known}" if known[:1].isupper() else f"my_{known}"


def use(module: str, **things: Any) -> None:
    """Put these in place of what the package's module has under these names, wherever that was imported to.

    It lasts until `restore`, or until the kernel ends.
    """
    home = import_module(f"{PACKAGE}.{module}")
    for name, thing in things.items():
        old = getattr(home, name)
        for place in rooms():
            for known, value in list(vars(place).items()):
                if value is old:
                    _replaced.append((place, known, old))
                    setattr(place, known, thing)


def rooms() -> list[Any]:
    """The package's modules that are loaded, without those that judge: the lab and the conformance suite."""
    judges = (f"{PACKAGE}.lab", f"{PACKAGE}.conformance")
    return [room for name, room in list(sys.modules.items())
            if room is not None and name.partition(".")[0] == PACKAGE and not name.startswith(judges)]


def restore() -> None:
    """Put back everything that `use` has replaced."""
    while _replaced:
        place, name, old = _replaced.pop()
        setattr(place, name, old)
