"""What commands share: exit codes, kinds of arguments, files, complaints."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import ssl
import sys
import threading
from collections.abc import Iterator

from smtp_from_scratch.envelope import BadPath, parse_path
from smtp_from_scratch.printable import printable
from smtp_from_scratch.unix import path_of

OK, REFUSED, USAGE, UNREACHABLE, NO_OUTPUT, DEFERRED = 0, 1, 2, 69, 74, 75      # exit codes; the last are sysexits.h's
LONGEST = 1_000_000                             # seconds that one wait may take: sockets bear no number of them


def host_port(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[::1]:PORT`."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise argparse.ArgumentTypeError(f"write an IPv6 address in brackets: [{host}]:{port}")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65_536):
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, got {text!r}")
    return host, int(port)


def host_port_or_path(text: str) -> tuple[str, int]:
    """`HOST:PORT`, or `unix:PATH`, which has no port."""
    return (text, 0) if path_of(text) else host_port(text)


def where(address: tuple[str, int]) -> str:
    """An address as it is written."""
    host, port = address
    return host if path_of(host) else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextlib.contextmanager
def until_told(over: threading.Event | None = None) -> Iterator[None]:
    """At the end of the block wait for SIGTERM, Ctrl-C, or `over`; both signals are heard from its beginning on."""
    told = over or threading.Event()
    for name in ("SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, name), lambda *_: told.set())
    yield
    while not told.wait(1.0):                  # a signal that meets another thread does not end the waiting of this one
        pass


def host_or_port(text: str) -> tuple[str, int]:
    """`HOST:PORT`, or HOST alone, at port 25."""
    alone = ":" not in text or (text.startswith("[") and text.endswith("]"))
    return host_port(f"{text}:25" if text and alone else text)


def octets(text: str) -> int:
    """A number of octets, above 0."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a number of octets, got {text!r}")
    return int(text)


def count(text: str) -> int:
    """How many, at least one."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """A time in seconds, above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"expected a number of seconds, got {text!r}")
    return number


def patience(text: str) -> float:
    """How many seconds a wait may take: above 0, and at most LONGEST."""
    number = seconds(text)
    if number > LONGEST:
        raise argparse.ArgumentTypeError(f"expected at most {LONGEST} seconds, got {text!r}")
    return number


def mailbox(text: str) -> str:
    """An address, with or without angle brackets."""
    bare = text[1:-1] if text.startswith("<") and text.endswith(">") else text
    try:
        path, rest = parse_path(f"<{bare}>")
    except BadPath as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if rest or not path.mailbox:
        raise argparse.ArgumentTypeError(f"expected an address, got {text!r}")
    return bare


def mailbox_or_null(text: str) -> str:
    """An address, or `<>` or nothing for the null path."""
    return "" if text in ("", "<>") else mailbox(text)


def first_line(name: str | None) -> str:
    """The first line of a file: a password; raises OSError."""
    if not name:
        return ""
    with open(name, encoding="utf-8") as file:
        return file.readline().rstrip("\r\n")


def trusting(name: str | None) -> ssl.SSLContext | None:
    """A TLS context that trusts the certificates in a file; None without one. Raises OSError."""
    return ssl.create_default_context(cafile=name) if name else None


def close_output() -> None:
    """Write nothing more to a standard output that cannot take it: Python would try again at the end, and fail."""
    if sys.stdout is not None:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def sentence(error: Exception) -> str:
    """What went wrong on the way to a server, also where the error itself has no words."""
    from smtp_from_scratch.conversation import Disconnected, Timeout

    if isinstance(error, Timeout):
        return "it takes the call and says nothing (is this a port for SMTP, or for TLS at once?)"
    if isinstance(error, Disconnected):
        return "it hangs up without a word (does it take calls from this address?)"
    return str(error) or type(error).__name__


def complain(text: str, code: int, several: bool = False) -> int:
    """Say on standard error what is wrong, in a line or in `several`, and return the exit code."""
    shown = "\n  ".join(map(printable, text.splitlines())) if several else printable(text)
    print(f"smtp-from-scratch: {shown}", file=sys.stderr)
    return code
