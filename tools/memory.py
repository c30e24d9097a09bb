#!/usr/bin/env python3
"""How much memory a chapter takes while it runs, which is what Binder or a hub must have for each learner.

    python tools/memory.py            a table of all chapters and optional pages (minutes)
    python tools/memory.py 09 11      of these
    python tools/memory.py --check    the same; exit with status 1 if one takes more than 300 MB

"kernel" is the most that the kernel's own process ever had in memory (its peak resident set, as the system counts it).
"in all" adds the processes that the chapter starts, such as another server, sampled ten times a second; what they
share counts once.
"""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from export import Problem
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal
from refresh import CELL_TIMEOUT, kernel_environment, label, notebooks, read

MOST = 300  # MB, the kernel and all that it starts
EVERY = 0.1  # seconds


@dataclass(slots=True)
class Memory:
    """What one chapter took, in MB (a million octets)."""

    name: str
    kernel: float = 0
    in_all: float = 0
    cell: str = "-"                            # the one in which the kernel grew most
    grew: float = 0
    seconds: float = 0


def taken(process: psutil.Process) -> float:
    """What a process and its descendants take together now; what several of them share counts once (on Linux)."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):         # it has just ended
            memory = one.memory_full_info()
            total += getattr(memory, "pss", memory.uss) / 1e6
    return total


def peak(process: psutil.Process) -> float:
    """The most that this process had in memory so far: exact on Linux, elsewhere what it has now."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return float(process.memory_info().rss / 1e6)
    [line] = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / 1e6


def watch(memory: Memory, process: psutil.Process, over: threading.Event) -> None:
    """Sample until it is over."""
    while not over.wait(EVERY) and process.is_running():
        memory.in_all = max(memory.in_all, taken(process))


def measured(path: Path, environment: dict[str, str]) -> Memory:
    """Run a chapter in a kernel of its own."""
    memory, over, start = Memory(path.stem), threading.Event(), time.monotonic()
    notebook = read(path)
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT, kernel_name="python3",
                            extra_arguments=["--log-level=ERROR"], resources={"metadata": {"path": str(path.parent)}})

    def after(cell: Any, cell_index: int, execute_reply: Any) -> None:
        now = peak(kernel)
        if now - memory.kernel > memory.grew and memory.kernel:
            memory.cell, memory.grew = cell.id, now - memory.kernel
        memory.kernel = now

    async def run() -> None:
        nonlocal kernel
        async with client.async_setup_kernel(env=environment):
            kernel = psutil.Process(client.km.provisioner.pid)
            watcher = threading.Thread(target=watch, args=(memory, kernel, over))
            watcher.start()
            try:
                for index, cell in enumerate(notebook.cells):
                    await client.async_execute_cell(cell, index)
            finally:
                over.set()
                watcher.join()

    kernel = psutil.Process()
    client.on_cell_executed = after
    try:
        asyncio.run(run())
    except CellControlSignal as failed:
        raise Problem(f"{label(path)}: {failed}") from None
    memory.seconds, memory.in_all = time.monotonic() - start, max(memory.in_all, memory.kernel)
    return memory


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("chapter", nargs="*", help="number or name of a chapter, or name of a page; none means all")
    parser.add_argument("--check", action="store_true", help=f"fail if a chapter takes more than {MOST} MB")
    options = parser.parse_args(arguments)
    above = []
    print(f"{'chapter':24}{'kernel':>8}{'in all':>8}{'seconds':>9}  grew most in", flush=True)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            environment = kernel_environment(scratch)
            for path in [path for path in notebooks(options.chapter) if path.parent.name != "solutions"]:
                memory = measured(path, environment)
                print(f"{memory.name:24}{memory.kernel:5.0f} MB{memory.in_all:5.0f} MB{memory.seconds:9.1f}"
                      f"  {memory.cell} (+{memory.grew:.0f} MB)", flush=True)
                above += [memory.name] if memory.in_all > MOST else []
    except Problem as problem:
        print(f"memory: {problem}", file=sys.stderr)
        return 1
    if above:
        print(f"\nmore than {MOST} MB: {', '.join(above)}")
    return int(options.check and bool(above))


if __name__ == "__main__":
    sys.exit(main())
