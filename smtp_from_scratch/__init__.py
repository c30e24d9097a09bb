"""SMTP from Scratch: a mail system whose source code is a course of notebooks.

The public names below are looked up where they are first used, so that importing one chapter's module
loads no other.
"""
from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Client": "smtp",
    "Maildir": "maildir",
    "Reply": "wire",
    "Server": "smtp",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("smtp-from-scratch")
    if name in _HOME:
        value = globals()[name] = getattr(import_module(f".{_HOME[name]}", __name__), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
