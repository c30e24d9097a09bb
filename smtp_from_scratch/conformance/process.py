"""A command at work: what it says is read and its end kept, and it ends when we say so, with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

OUTPUT_LIMIT = 4000                             # octets of what a command says that are kept


class Process:
    """A process, and those that it starts. Raises OSError where the command cannot be started."""

    def __init__(self, words: Sequence[str], stdin: Path | None = None) -> None:
        with open(stdin or os.devnull, "rb") as file:
            self.process = subprocess.Popen(words, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                            start_new_session=True)
        self.output = b""
        self.total = 0                          # octets that it said; `output` has the last of them
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as pipe:
            while data := pipe.read1(65_536):  # type: ignore[attr-defined]
                self.total += len(data)
                self.output = (self.output + data)[-OUTPUT_LIMIT:]

    def status(self, seconds: float) -> int | None:
        """Its exit status, as soon as it has one within so many seconds, or None."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)
        return None

    def stop(self, grace: float = 0.0) -> None:
        """End it, if it has not ended, and what it started. It is asked first if there is `grace` (s) for that."""
        try:
            if grace and self.process.poll() is None:
                self._signal(signal.SIGTERM)
                self.status(grace)
        finally:
            if grace or self.process.poll() is None:
                self._signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
            self.process.wait()
            self.reader.join(1)

    def _signal(self, number: int) -> None:
        """To the whole group, where there are groups: a shell's children outlive it."""
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, number) if os.name == "posix" else self.process.terminate()

    def said(self, lines: int = 1, since: int = 0, shown: Callable[[str], str] = str) -> str:
        """The last lines of what it said; `since`: after so many octets. `shown` makes of it what may be seen."""
        self.reader.join(1 if self.process.poll() is not None else 0.1)
        new = max(0, self.total - since)
        text = self.output[-new:].decode("utf-8", "backslashreplace").strip() if new else ""
        return "\n".join(line[:300] for line in shown(text).splitlines()[-lines:])
