"""What a whole session costs on the line: round trips, dial included, over sockets and in rehearsal alike."""
from __future__ import annotations

from email.message import EmailMessage
from typing import Any

import pytest

from smtp_from_scratch import Server, deliver, lab
from smtp_from_scratch.auth import Plain
from smtp_from_scratch.conversation import rehearse
from smtp_from_scratch.ehlo import ExtensionSet
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.message import outgoing
from smtp_from_scratch.session import serve
from smtp_from_scratch.smtp import client_extensions, server_extensions
from smtp_from_scratch.status import CodedClientSession, CodedSession
from tests.ours import PASSWORD, TLS, USER, USERS
from tests.whole_session import whole_session

RTT = 0.08                                      # seconds; exact as long as an end says its flights faster
SECURE = {"tls": TLS.client, "user": USER, "password": PASSWORD, "mechanisms": (Plain(),)}
SESSIONS: dict[str, tuple[int, dict[str, Any], int, int]] = {      # round trips, options, letters, recipients of each
    "by DATA": (5, {"without": ["CHUNKING"]}, 1, 1),
    "by CHUNKING": (5, {}, 1, 1),
    "eager": (4, {"eager": True}, 1, 1),
    "by DATA to 50": (5, {"without": ["CHUNKING"]}, 1, 50),
    "by CHUNKING to 50": (5, {}, 1, 50),
    "eager to 50": (4, {"eager": True}, 1, 50),
    "STARTTLS and AUTH": (8, SECURE, 1, 1),
    "STARTTLS and AUTH by DATA": (8, SECURE | {"without": ["CHUNKING"]}, 1, 1),
    "STARTTLS and AUTH, eager": (7, SECURE | {"eager": True}, 1, 1),
    "ten letters": (14, {}, 10, 1),
    "ten letters by DATA": (14, {"without": ["CHUNKING"]}, 10, 1),
    "ten letters, eager": (4, {"eager": True}, 10, 1),
}


def letters(count: int, recipients: int) -> list[EmailMessage]:
    messages = []
    for number in range(count):
        message = EmailMessage()
        message["From"], message["Subject"] = "ana@rio.example", f"Letter {number}"
        message["To"] = ", ".join(f"reader{n}@tokyo.example" for n in range(recipients))
        message.set_content("One line.\n" * 20)
        messages.append(message)
    return messages


@pytest.mark.parametrize("name", SESSIONS)
def test_round_trips_over_a_socket(name: str) -> None:
    trips, options, count, recipients = SESSIONS[name]
    extensions = server_extensions(tls=TLS.server, users=USERS)
    with Server(extensions=extensions) as server, lab.count_turns(server.address, rtt=RTT) as line:
        receipts = deliver(line.address, letters(count, recipients), extensions=client_extensions(**options))
        received = server.wait_for(count)
    assert [len(receipt.accepted) for receipt in receipts] == [recipients] * count
    assert [letter.message["Subject"] for letter in received] == [f"Letter {n}" for n in range(count)]
    assert line.round_trips == trips


@pytest.mark.parametrize("name", SESSIONS)
def test_round_trips_in_rehearsal(name: str) -> None:
    """A rehearsal begins where the dial ends, with a greeting on its way: that is one round trip and a half."""
    trips, options, count, recipients = SESSIONS[name]
    client = CodedClientSession("rio.example", tuple(client_extensions(**options)), "mx.example.org")
    envelope = Envelope("ana@rio.example", [f"reader{n}@tokyo.example" for n in range(recipients)])
    body = b"Subject: hi\r\n\r\nOne line.\r\n"
    server = CodedSession("mx.example.org", extensions=ExtensionSet(server_extensions(tls=TLS.server, users=USERS)))
    sent = (outgoing(envelope, body, eight_bit=client.uses("8BITMIME")) for _ in range(count))
    show = rehearse(whole_session(client, sent), serve(server), latency=0.5)
    assert [len(receipt.accepted) for receipt in show.client] == [recipients] * count
    assert show.seconds + 1.5 == trips


def test_the_line_counts_what_smtplib_needs() -> None:
    """The measure itself: a client of which the number is known (8, and 49 more for 50 recipients)."""
    import smtplib

    with Server() as server, lab.count_turns(server.address, rtt=0.04) as line:
        with smtplib.SMTP(*line.address) as smtp:
            smtp.sendmail("ana@rio.example", ["kenji@tokyo.example"], b"Subject: hi\r\n\r\nhi\r\n")
    assert line.round_trips == 8
