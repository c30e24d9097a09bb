"""What has come, the latest messages in bounded memory, each with the dialogue that brought it."""

from __future__ import annotations

import codecs
import secrets
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import IO, Any

from smtp_from_scratch.dialogue import Dialogue
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.parts import MAX_PARTS, Part, fields_of, parts_of, read_part, value_of
from smtp_from_scratch.smtp import ReceivedMessage
from smtp_from_scratch.transcript import Said

SLOW = {"punycode", "idna"}                    # what Python has among the charsets: quadratic, and no charset of mail


@dataclass(frozen=True, slots=True)
class Entry:
    """One message that came."""

    number: int
    received: str                              # UTC, ISO 8601
    mail: ReceivedMessage
    dialogue: Dialogue

    @property
    def parts(self) -> list[Part]:
        """The leaves of the message's tree of parts, in order (RFC 2046 §5.1)."""
        return list(islice(leaves(read_part(self.mail.data)), MAX_PARTS))

    def text_of(self, kind: str) -> str:
        """The first part of a type, as text; empty if there is none."""
        return next((text_of(part) for part in self.parts if part.kind == kind and not part.file_name), "")

    def summary(self) -> dict[str, Any]:
        """What a list shows of it."""
        fields, envelope = fields_of(header_of(self.mail.data)), self.mail.envelope
        return {"id": self.number, "received": self.received, "from": envelope.sender, "to": envelope.recipients,
                "subject": value_of(fields, "subject"), "size": len(self.mail.data)}

    def details(self) -> dict[str, Any]:
        """All that the page shows of it, but for the octets of its parts."""
        envelope = self.mail.envelope
        return self.summary() | {
            "envelope": {"from": envelope.sender, "to": envelope.recipients, "hello": envelope.hello,
                         "peer": envelope.peer, "protocol": envelope.protocol, "user": envelope.user,
                         "parameters": envelope.parameters, "options": envelope.options},
            "header": header_of(self.mail.data).decode("utf-8", "replace").replace("\r\n", "\n"),
            "text": self.text_of("text/plain"), "has_html": bool(self.text_of("text/html")),
            "parts": [{"number": number, "type": part.kind, "name": part.file_name, "size": len(part.decoded)}
                      for number, part in enumerate(self.parts)],
            "dialogue": list(self.dialogue.rows)}


def leaves(part: Part, depth: int = 0) -> Iterator[Part]:
    """The parts that have no parts; ten levels down, a part is what it is."""
    inner = parts_of(part) if part.kind.startswith("multipart/") and depth < 10 else []
    if not inner:
        yield part
    for one in inner:
        yield from leaves(one, depth + 1)


def header_of(octets: bytes) -> bytes:
    """The header of a message, without the empty line."""
    return octets.partition(b"\r\n\r\n")[0]


def text_of(part: Part) -> str:
    """A part's text, in the character set that it names, where there is one of that name that can read it."""
    charset = part.parameters.get("charset", "utf-8")
    try:
        if codecs.lookup(charset).name in SLOW:
            return part.text
        return part.decoded.decode(charset, "replace").replace("\r\n", "\n")
    except (LookupError, ValueError):          # ValueError: a name with NUL; `undefined`, whatever is read
        return part.text


class Letters:
    """The latest messages: at most so many, and so many octets together. It is a `deliver`, and a tap."""

    def __init__(self, max_messages: int = 500, max_octets: int = 200_000_000) -> None:
        self.max_messages, self.max_octets = max_messages, max_octets
        self.run = secrets.token_hex(8)        # another one has other messages with these numbers
        self._entries: deque[Entry] = deque()
        self._octets, self._count = 0, 0
        self._lock, self._session = threading.Lock(), threading.local()        # a thread is a session

    def tap(self, said: Said) -> None:
        """Note what was said in this thread's session."""
        self._dialogue().feed(said)

    def _dialogue(self) -> Dialogue:
        if not hasattr(self._session, "dialogue"):
            self._session.dialogue = Dialogue()
        dialogue: Dialogue = self._session.dialogue
        return dialogue

    def __call__(self, envelope: Envelope, body: IO[bytes]) -> None:
        """Keep a message; the oldest ones leave when there is no room."""
        mail, now = ReceivedMessage(envelope, body.read()), datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            self._count += 1
            self._entries.append(Entry(self._count, now, mail, self._dialogue()))
            self._octets += len(mail.data)
            while len(self._entries) > self.max_messages or (self._octets > self.max_octets and len(self._entries) > 1):
                self._octets -= len(self._entries.popleft().mail.data)

    def all(self, after: int = 0) -> list[Entry]:
        """The messages with a higher number, the oldest first."""
        with self._lock:
            return [entry for entry in self._entries if entry.number > after]

    def get(self, number: int) -> Entry | None:
        """The message with this number."""
        with self._lock:
            return next((entry for entry in self._entries if entry.number == number), None)

    def remove(self, number: int | None = None) -> None:
        """Forget a message, or all."""
        with self._lock:
            kept = [entry for entry in self._entries if number is not None and entry.number != number]
            self._entries = deque(kept)
            self._octets = sum(len(entry.mail.data) for entry in kept)
