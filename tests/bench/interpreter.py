"""Which Python runs the servers and the clients, and how it was built: both decide what the figures are."""
from __future__ import annotations

import platform
import sys
import sysconfig
import time

DEBIAN = "with-wheel-pkg-dir=/usr/share/python-wheels"       # in the arguments of the distribution's own interpreter


def build(arguments: str) -> str:
    """How an interpreter was built, from the arguments of its `configure`."""
    done = [name for name, option in (("PGO", "--enable-optimizations"), ("LTO", "--with-lto")) if option in arguments]
    if not done and DEBIAN in arguments:
        return "built by Debian, with PGO and LTO where Debian does that"
    if not done:
        return "built without PGO and LTO, which would make it faster"
    return f"built with {' and '.join(done)}"


def yardstick(turns: int = 1_000_000) -> float:
    """Seconds for a plain loop of additions, the best of five: how fast this Python is at nothing but Python."""
    best = float("inf")
    for _ in range(5):
        start, total = time.perf_counter(), 0
        for number in range(turns):
            total += number
        best = min(best, time.perf_counter() - start)
    return best


def described() -> str:
    """`CPython 3.11.2, built with PGO and LTO; a million additions in a loop take it 31.0 ms`."""
    if sys.implementation.name == "cpython":
        how = build(sysconfig.get_config_var("CONFIG_ARGS") or "") if sys.platform != "win32" else "built for Windows"
    else:
        how = "which compiles as it runs"
    return (f"{platform.python_implementation()} {platform.python_version()}, {how}; "
            f"a million additions in a loop take it {yardstick() * 1000:.1f} ms")
