"""A look before the examination: which role has this server, what must be said first, whom does it take messages for?

What cannot be judged without another option is skipped then, and not called broken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from smtp_from_scratch.conformance.server.runner import Target, ask, probe
from smtp_from_scratch.conversation import Interruption, read_reply
from smtp_from_scratch.wire import WireError

SOON = 3.0                                      # seconds after which a silent server may be one that waits for TLS
_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


def explore(target: Target, recipient_given: bool = True) -> list[str]:
    """Note in the target what this server is, and return what a person should know, in sentences.

    Raises what `probe` raises. Without `recipient_given`, postmaster of the server's own domain is tried as well.
    """
    told = find_role(target)
    with suppress(OSError, Interruption, WireError):
        told += find_door(target)
    with suppress(OSError, Interruption, WireError):
        told += find_recipient(target, recipient_given)
    return told


# --- the role --------------------------------------------------------------------------------------------------------


def find_role(target: Target) -> list[str]:
    """What it offers, and whether it waits for TLS (RFC 8314) or speaks LMTP (RFC 2033)."""
    told = []
    if not target.implicit_tls and waits_for_tls(target):
        target.implicit_tls = True
        told.append("it speaks TLS before the greeting, as on port 465 (--implicit-tls)")
    probe(target)
    if not target.keywords and not target.lmtp:
        other = replace(target, lmtp=True)
        with suppress(OSError, Interruption, WireError):
            probe(other)
        if other.keywords:
            target.lmtp, target.keywords, target.secured = True, other.keywords, other.secured
            told.append("it speaks LMTP (--lmtp)")
    return told


def waits_for_tls(target: Target) -> bool:
    """Whether it says nothing, and then greets under TLS."""
    soon = replace(target, patience=min(SOON, target.patience))
    try:
        with soon.line() as connection:
            connection.play(read_reply(soon.patience))
        return False
    except (Interruption, WireError, OSError):
        pass
    try:
        with replace(soon, implicit_tls=True).line() as connection:
            return connection.play(read_reply(soon.patience)).positive
    except (Interruption, WireError, OSError):
        return False


# --- the door --------------------------------------------------------------------------------------------------------


def find_door(target: Target) -> list[str]:
    """Whether MAIL, or all that matters, wants TLS or a login first (RFC 3207 §4, RFC 6409 §4.3)."""
    if target.lmtp:
        return []
    if "STARTTLS" in target.keywords:
        [reply] = ask(replace(target, submission=False), ["RSET"], sealed=False)
        target.all_under_tls = reply.code == 530
    if target.submission:
        return []
    [reply] = ask(target, [f"MAIL FROM:<{target.sender}>"], sealed=False)
    if reply.code == 530 and "STARTTLS" in target.keywords:
        target.wants_tls = True
        [reply] = ask(target, [f"MAIL FROM:<{target.sender}>"], sealed=True)
    if reply.code in (530, 535) or (reply.code in (550, 554) and "AUTH" in reply.text.upper()):
        if "AUTH" not in target.keywords | target.secured:
            return [f"it answers MAIL with {reply}, and offers neither STARTTLS nor AUTH that would change that"]
        target.submission = True
        return ["it takes messages from its users only, as on port 587 (--submission)"]
    return ["it wants TLS before a message: dialogues begin with STARTTLS"] if target.wants_tls else []


# --- addresses -------------------------------------------------------------------------------------------------------


def find_recipient(target: Target, given: bool) -> list[str]:
    """Whether it takes the sender and the recipient, and refuses whom it should."""
    if target.submission and not target.user:
        return []
    told = []
    mail = f"MAIL FROM:<{target.sender}>"
    for number, address in enumerate([target.recipient, *([] if given else postmasters(target))]):
        sender, *others = ask(target, [mail, f"RCPT TO:<{address}>"])
        if not sender.positive:
            target.no_sender = str(sender.code)
            return []
        if others[0].positive:
            target.recipient, target.no_recipient = address, ""
            told += [f"messages go to {address} (--recipient)"] if number else []
            break
        if not target.no_recipient and others[0].temporary:
            told.append(f"it puts {address} off ({others[0]}): if it is graylisting, run this again in some minutes")
        target.no_recipient = target.no_recipient or str(others[0].code)
    if target.refused:
        target.takes_refused = ask(target, [mail, f"RCPT TO:<{target.refused}>"])[-1].positive
    return told


def postmasters(target: Target) -> Iterator[str]:
    """Who has a mailbox at every server (RFC 5321 §4.5.1), at the domains that this one may be of."""
    labels = target.name.split(".") if _NAME.fullmatch(target.name) else []
    for start in range(len(labels) - 1):
        yield f"postmaster@{'.'.join(labels[start:])}"
