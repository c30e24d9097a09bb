"""Both ends of the package, through its front door, as functions of octets: nothing waits, nothing listens."""
from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from unittest import mock

from smtp_from_scratch import Client, Receipt, Server, SMTPException
from smtp_from_scratch.conversation import Conversation, rehearse
from smtp_from_scratch.maildir import trace
from smtp_from_scratch.smtp import client_extensions, server_extensions
from tests.fuzz.model import Taken
from tests.ours import HIDDEN, TLS, USERS

LIMIT = 3000                                    # octets of a letter
HOST = "mx.example.org"


def offer(*without: str) -> list[object]:
    return [*server_extensions(tls=TLS.server, users=USERS, insecure_auth=True, without=without)]


OFFERS = (lambda: offer(), lambda: None, lambda: offer("BINARYMIME", "STARTTLS", "AUTH"),
          lambda: offer("CHUNKING", "STARTTLS", "DSN"), lambda: offer("SMTPUTF8", "SIZE"))
WITHOUT_BDAT = (1, 3)                           # of these
_SERVERS: dict[int, Server] = {}


def server(role: int) -> Server:
    """A server of this role, never started: its sessions are played in memory."""
    role %= len(OFFERS)
    if role not in _SERVERS:
        extensions = OFFERS[role]()
        _SERVERS[role] = Server(hostname=HOST, max_size=LIMIT, extensions=extensions)     # type: ignore[arg-type]
    return _SERVERS[role]


def cut_into(octets: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Pieces whose sizes go round: 0 ends the cutting."""
    pieces, at = [], 0
    while at < len(octets) and sizes and (size := sizes[len(pieces) % len(sizes)]):
        pieces.append(octets[at : at + size])
        at += size
    return [*pieces, octets[at:]] if at < len(octets) else pieces


def serve(role: int, octets: bytes, sizes: Sequence[int] = ()) -> tuple[bytes, list[Taken], list[bytes]]:
    """What a server says to these octets, which arrive in these pieces; what it has taken; the trace it would write."""
    ours = server(role)
    ours.messages.clear()

    def client() -> Conversation[None]:
        yield octets

    show = rehearse(client(), ours._conversation(HIDDEN), patient=True,
                    cut=(lambda flight: cut_into(flight, sizes)) if sizes else None)
    said = b"".join(record.data for record in show.said if record.role == "S")
    taken = [Taken(wire(message.envelope.sender), tuple(map(wire, message.envelope.recipients)), message.data,
                   bool(message.envelope.user)) for message in ours.messages]
    return said, taken, [trace(message.envelope, HOST, "1") for message in ours.messages]


def wire(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


@dataclass(frozen=True)
class Errand:
    """Letters to send, and the octets that a server says, whatever it hears."""

    letters: tuple[tuple[tuple[str, ...], bytes], ...]     # recipients, and a body
    script: bytes
    without: tuple[str, ...] = ()
    eager: bool = False


def sender_of(number: int) -> str:
    return f"s{number}@rio.example"


def messages(errand: Errand) -> Iterator[EmailMessage]:
    """The letters, each from a sender of its own."""
    for number, (recipients, body) in enumerate(errand.letters):
        message = EmailMessage()
        message["From"], message["To"] = sender_of(number), ", ".join(recipients)
        message.set_content(body.decode("latin-1"), cte="8bit" if not body.isascii() else "7bit")
        yield message


def call(errand: Errand) -> tuple[bytes, list[Receipt], bool]:
    """What our client says to such a server, the receipts that its caller gets, and whether the session ended well."""
    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
    receipts, well = list[Receipt](), False
    with near, far, mock.patch("socket.create_connection", return_value=near):
        far.sendall(errand.script)
        far.shutdown(socket.SHUT_WR)
        smtp = Client(local_hostname="rio.example", timeout=5,
                      extensions=client_extensions(without=errand.without, eager=errand.eager))
        with contextlib.suppress(SMTPException):
            smtp.connect("mx.example", 25)
            receipts.extend(smtp.send_messages(messages(errand)))
            smtp.quit()
            well = True
        smtp.close()
        near.close()
        said = b"".join(iter(lambda: far.recv(65_536), b""))
    return said, receipts, well
