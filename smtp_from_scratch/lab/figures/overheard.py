"""What somebody on the line understands: readable, decodable, guessable, or opaque, line by line."""
from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from smtp_from_scratch.lab.figures.style import plural, shown
from smtp_from_scratch.lab.figures.tlsrecords import Records
from smtp_from_scratch.transcript import HANDSHAKE, Line, Reader, Record, said_of

READABLE, DECODABLE, GUESSABLE, OPAQUE, ATTACKER = "R", "D", "G", "O", "⚠"
BODY_ROWS = 6                                  # lines of a letter that are shown
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_AUTH = re.compile(rb"(?i)AUTH +(\S+)(?: +(\S+))?\s*$")
_DIGEST = re.compile(r"\S+ [0-9a-f]{32}|.*\bp=.*")


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that crossed the wire: who said it, how well it is understood, the octets as text, what they mean.

    `gives` names what an eavesdropper learns from it; `secret` says that nobody else should have.
    """

    role: str
    mark: str
    text: str
    means: str = ""
    gives: tuple[str, ...] = ()
    secret: bool = False
    octets: int = 0
    kind: str = ""


def gives_password(mechanism: str, responses: int, text: str) -> bool:
    """Whether this response, the how-manieth of a mechanism, is the password itself, or has it inside."""
    if mechanism == "PLAIN":
        return text.count("\\0") == 2
    if mechanism == "LOGIN":
        return responses == 2
    return not mechanism.startswith(("CRAM-", "SCRAM-"))


def given(mechanism: str, text: str, secret: bool) -> tuple[str, ...]:
    """What an eavesdropper has of a response."""
    gives = ["the password"] if secret else []
    if not secret and _DIGEST.fullmatch(text):
        gives.append("a proof to try passwords on")
    if mechanism == "PLAIN" or not secret and not text.startswith("c="):
        gives.append("the user name")
    return tuple(gives)


class Ear(Reader):
    """Reads the wire as an eavesdropper does: lines, base64 that decodes, and what TLS leaves in the open."""

    def __init__(self, hears_server: bool = True) -> None:
        super().__init__(hears_server)
        self.rows: list[Row] = []
        self.tls = {"C": Records(), "S": Records()}
        self.mechanism = ""
        self.responses = 0                     # how many the client has given in this AUTH

    def feed(self, record: Record) -> None:
        who, note = record.role, getattr(record, "note", "")
        if self.rest.get(who) == HANDSHAKE[:1]:          # a cut inside the first record's header
            record = Line(record.when, who, self.rest.pop(who) + record.data, "")
        super().feed(record)
        if note:
            self.rows.append(Row(who, ATTACKER, note, kind="deed"))

    def seal(self, record: Record) -> None:
        self.sealed.add(record.role)
        for sealed in self.tls[record.role].feed(record.data):
            gives = ("when, and how many octets",) if sealed.opaque else ()
            name = sealed.server_name
            self.rows.append(Row(record.role, OPAQUE if sealed.opaque else GUESSABLE, f"TLS {sealed.text}",
                                 f"server name: {name}" if name else "",
                                 (*gives, "the server's name") if name else gives, octets=sealed.size, kind="tls"))

    def note(self, when: float, who: str, data: bytes) -> None:
        super().note(when, who, data)
        self.rows.append(self.row(self.lines[-1]))

    def row(self, line: Line) -> Row:
        """How one line is understood."""
        row = Row(line.role, READABLE, shown(line.data), octets=len(line.data), kind=line.kind)
        if line.kind == "command":
            if match := _AUTH.match(line.data):
                self.mechanism, self.responses = match[1].decode("ascii", "replace").upper(), 0
                return self.response(row, match[2]) if match[2] else row
            addressed = line.data[:5].upper() in (b"MAIL ", b"RCPT ")
            return replace(row, gives=("addresses",)) if addressed else row
        if line.kind == "secret":
            return self.response(row, line.data.strip())
        if line.kind == "reply" and line.data[:4] == b"334 " and (text := decoded(line.data[4:])):
            return replace(row, mark=DECODABLE, means=text)
        if line.kind == "body":
            text = decoded(line.data) if len(line.data) > 18 else ""
            return replace(row, mark=DECODABLE if text else READABLE, means=text, gives=("the letter",))
        return row

    def response(self, row: Row, data: bytes) -> Row:
        """What a client answers in AUTH: base64 hides nothing (RFC 4954 §4)."""
        self.responses += 1
        text = decoded(data)
        if not text:
            return row
        secret = gives_password(self.mechanism, self.responses, text)
        return replace(row, mark=DECODABLE, means=text, secret=secret, gives=given(self.mechanism, text, secret))


def decoded(data: bytes) -> str:
    """The text that base64 stands for; nothing if it is no base64, or what is behind it is no text."""
    data = data.strip()
    if not data or len(data) % 4 or not _BASE64.fullmatch(data):
        return ""
    try:
        text = base64.b64decode(data, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    text = text.translate({0: "\\0", 9: "\\t", 10: "\\n", 13: "\\r"})
    return text if text.isprintable() else ""


def overheard(source: Any) -> list[Row]:
    """Everything that crossed the wire, row by row, as an eavesdropper understands it."""
    said = said_of(source)
    ear = Ear(hears_server=any(record.role == "S" for record in said))
    for record in said:
        ear.feed(record)
    ear.finish()
    return condensed(ear.rows)


def condensed(rows: Iterable[Row]) -> list[Row]:
    """Of a letter the first lines; sealed records that follow one another as one row."""
    result: list[Row] = []
    body = 0
    for row in rows:
        last = result[-1] if result else None
        body = body + 1 if row.kind == "body" else 0
        if body > BODY_ROWS and last:
            lines = body - BODY_ROWS
            more = replace(last, text=f"… {plural(lines, 'line')} more of the letter …", means="",
                           octets=row.octets + (last.octets if lines > 1 else 0))
            result[-1 if lines > 1 else len(result) :] = [more]
        elif last and row.mark == OPAQUE and (last.mark, last.role) == (OPAQUE, row.role):
            result[-1] = replace(last, text=f"TLS {records(last.text) + 1} records", octets=last.octets + row.octets)
        else:
            result.append(row)
    return result


def records(text: str) -> int:
    """How many records a row stands for."""
    return int(text.split()[1]) if text.endswith(" records") else 1


def given_away(rows: Iterable[Row]) -> list[str]:
    """What an eavesdropper has learned."""
    order = ("the password", "a proof to try passwords on", "the user name", "addresses", "the letter",
             "the server's name", "when, and how many octets")
    learned = {what for row in rows for what in row.gives}
    return [what for what in order if what in learned]
