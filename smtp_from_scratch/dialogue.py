"""What was said in a session, line by line as it is said, in bounded memory; and the latest sessions of a server."""

from __future__ import annotations

import threading
from collections import deque

from .transcript import BODY_SHOWN, Line, Reader, Record, Said

__all__ = ["Dialogue", "Dialogues"]

MAX_ROWS = 2_000                               # lines of one session that are kept
MAX_SESSIONS = 50                              # sessions of one server that are kept


class Dialogue(Reader):
    """The lines of one session, as they are said; of a long body only the beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, str]] = []
        self.taken = 0                         # messages, as far as somebody counts them
        self._shown = self._left_out = 0       # octets of the body in hand

    def feed(self, record: Record) -> None:
        """Read one record; what will not be shown is counted, and not read line by line."""
        if self._left_out and record.role == "C" and (self.next.chunk or self.next.expected == "body"):
            return self._count(record)
        super().feed(record)

    def _count(self, record: Record) -> None:
        """More of a long body: all that is surely text."""
        data = self.rest.pop("C", b"") + record.data
        size = min(self.next.chunk or data.rfind(b"\n") + 1, len(data))
        if self.next.chunk:
            self.next.chunk -= size
        elif b"\n.\r\n" in data or data.startswith(b".\r\n"):      # its end
            size = 0
        if size:
            self._leave_out(size)
        if data[size:] or not size:
            super().feed(Said(record.when, "C", data[size:]))

    def note(self, when: float, who: str, data: bytes) -> None:
        """One line is complete; it is shown, and not kept."""
        super().note(when, who, data)
        self._show(self.lines.pop())

    def _show(self, line: Line) -> None:
        if line.kind != "body":
            self._shown = self._left_out = 0
        elif self._left_out or self._shown + len(line.data) > BODY_SHOWN:
            return self._leave_out(len(line.data))
        else:
            self._shown += len(line.data)
        self._add(line.role, line.kind, line.text[:BODY_SHOWN])

    def _leave_out(self, size: int) -> None:
        if self._left_out and self.rows and self.rows[-1]["kind"] == "note":
            self.rows.pop()
        self._left_out += size
        self._add("", "note", f"… {self._left_out:,} octets more")

    def _add(self, role: str, kind: str, text: str) -> None:
        if len(self.rows) < MAX_ROWS:
            self.rows.append({"role": role, "kind": kind, "text": text})


class Dialogues:
    """The latest sessions of a server that has a thread for each. It is a tap."""

    def __init__(self) -> None:
        self._latest: deque[Dialogue] = deque(maxlen=MAX_SESSIONS)
        self._here, self._lock = threading.local(), threading.Lock()
        self._era = object()                   # since the latest `clear`

    def __call__(self, said: Record) -> None:
        """Note what was said in this thread's session."""
        self.here().feed(said)

    def here(self) -> Dialogue:
        """The dialogue of this thread's session."""
        dialogue: Dialogue = self._here.__dict__.setdefault("dialogue", Dialogue())
        with self._lock:
            if self._here.__dict__.get("era") is not self._era:
                self._here.era = self._era
                dialogue.taken = 0
                dialogue.rows.clear()
                self._latest.append(dialogue)
        return dialogue

    def all(self) -> list[Dialogue]:
        """The sessions, the oldest first."""
        with self._lock:
            return [*self._latest]

    def clear(self) -> None:
        """Forget what was said so far."""
        with self._lock:
            self._latest.clear()
            self._era = object()
