"""A look before the examination: does the client call, what must it be told first, and what does it send of its own?

A command that always wants TLS, or a login, is not examined: its user can say so between `[` and `]`. What a command
cannot be told is not expected of it.
"""

from __future__ import annotations

import re

from smtp_from_scratch.conformance.client.runner import ClientTarget, play, probe
from smtp_from_scratch.conformance.client.tasks import placeholders
from smtp_from_scratch.conformance.notation import parse
from smtp_from_scratch.conformance.server.runner import PASSED
from smtp_from_scratch.transcript import HANDSHAKE

DOOR = """
== a door
rfc: 5321 §3.3
level: MUST
end: client
asks: Does the client go in where it is offered this?
needs: {}
after: EHLO
--
C? {}
S: 454 not now
"""
DOORS = (                                       # what is offered, what a client says who wants it, what to do then
    ("STARTTLS", "STARTTLS", "it wants TLS before a message: in COMMAND, put the options for TLS, and for a login "
     "under it, between [ and ], as in [ --ca-file {ca_file} ]"),
    ("AUTH=PLAIN,LOGIN,CRAM-MD5", "AUTH *", "it wants a login before a message: in COMMAND, put the options for it "
     "between [ and ], as in [ --user {user} --password-file {password_file} ]"),
)


def explore(target: ClientTarget) -> list[str]:
    """Note in the target what the client sends of its own, and return what a person should know, in sentences.

    Raises OSError where it cannot be examined; the message says why.
    """
    outcome = probe(target)
    said = b"".join(record.data for record in outcome.said if record.role == "C")
    if said.startswith(HANDSHAKE):
        raise OSError("it begins with TLS: in COMMAND, put the option for that between [ and ], as in "
                      "[ --implicit-tls --ca-file {implicit_ca_file} ]")
    if said[:4].upper() == b"LHLO":
        raise OSError("it speaks LMTP, and the dialogues are for clients of SMTP")
    if outcome.status == PASSED:
        return learn(target, said)
    for offered, wanted, advice in DOORS:
        [door] = parse(DOOR.format(offered, wanted))
        if play(door, target).status == PASSED:
            raise OSError(advice)
    return [f"a plain message does not get through: {outcome.reason}"]


def learn(target: ClientTarget, said: bytes) -> list[str]:
    """What the command cannot be told, and so is always as in the message that it has sent; raises OSError."""
    told = set(placeholders(target.words)) | ({"file"} if target.stdin else set())
    sentences = []
    if target.words and "file" not in told:
        target.fixed["letter"] = b""
        sentences.append("the message is its own, so its text is not compared ({file}, or --stdin, hands it another)")
    if target.words and "sender" not in told:
        [target.fixed["sender"], *_] = addresses(said, b"MAIL FROM")
        sentences.append(f"the sender is always <{target.fixed['sender']}> ({{sender}})")
    if target.words and not told.intersection(("recipient", "recipients", "recipients,")):
        target.fixed["recipients"] = tuple(addresses(said, b"RCPT TO"))
        sentences.append(f"it always sends to {' and '.join(target.fixed['recipients'])} ({{recipient}})")
        if len(target.fixed["recipients"]) > 1:
            raise OSError("it sends to several recipients, and the dialogues are about one: say {recipient} in COMMAND")
    return sentences


def addresses(said: bytes, command: bytes) -> list[str]:
    """Whom a client has named."""
    return [path.decode("utf-8", "backslashreplace") for path in re.findall(rb"(?mi)^%b:<([^<>]*)>" % command, said)]
