"""Servers that do what the RFCs let them do are accused of nothing: each was accused once."""
from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, BinaryIO

import pytest

from smtp_from_scratch import Envelope, Reply, Server
from smtp_from_scratch.conformance.notation import Dialogue
from smtp_from_scratch.conformance.report import failure
from smtp_from_scratch.conformance.server.player import ClientPart, Difference, NotReached
from smtp_from_scratch.conformance.server.runner import (
    FAILED,
    PASSED,
    SKIPPED,
    Target,
    all_dialogues,
    check,
    obstacle,
    play,
)
from smtp_from_scratch.conformance.server.scout import explore
from smtp_from_scratch.conversation import Conversation, Disconnected, Line, rehearse

BY_TITLE = {dialogue.title: dialogue for dialogue in all_dialogues() if dialogue.end == "server"}


def answering(replies: dict[str, str]) -> Conversation[None]:
    """A server with these answers, by how a command begins; 250 to others."""
    yield b"220 mx.example\r\n"
    while True:
        try:
            line = (yield Line(4096)).decode("latin-1")
        except Disconnected:
            return
        reply = next((reply for start, reply in replies.items() if line.upper().startswith(start)), "250 fine")
        yield reply.encode("latin-1") + b"\r\n"


def verdict(dialogue: Dialogue, replies: dict[str, str]) -> str:
    """What a server with these answers is told."""
    part = ClientPart(dialogue, Target("127.0.0.1", 0, user="ana", password="secret").values())
    try:
        rehearse(part.conversation(), answering(replies), patient=True)
    except NotReached:
        return SKIPPED
    except Difference as difference:
        return str(difference)
    return PASSED


@pytest.mark.parametrize("title, replies, wanted", [
    ("VRFY is answered", {"VRFY": "500 no such verb"}, PASSED),
    ("VRFY takes a mailbox", {"VRFY": "500 no such verb"}, PASSED),
    ("VRFY before HELO", {"HELP": "250 see the RFC"}, PASSED),
    ("A refused HELO changes nothing", {"HELO": "503 twice"}, SKIPPED),
    ("EHLO with an address literal", {"EHLO [IPV6": "503 twice"}, PASSED),
    ("A refused command leaves the transaction alone", {}, SKIPPED),
    ("MAIL with AUTH= and half a hexchar", {"MAIL FROM:<SENDER@EXAMPLE.ORG> AUTH": "555 unknown"}, SKIPPED),
    ("MAIL with AUTH= and 500 octets more", {"MAIL FROM:<SENDER@EXAMPLE.ORG> AUTH": "555 unknown"}, SKIPPED),
    ("An initial response that is no base64", {"AUTH": "535 no"}, PASSED),
    ("HELO without a name is 501", {}, PASSED),
])
def test_what_may_be_is_no_fault(title: str, replies: dict[str, str], wanted: str) -> None:
    assert verdict(BY_TITLE[title], replies) == wanted


@pytest.mark.parametrize("title, replies, wanted", [
    ("VRFY is answered", {"VRFY": "421 leaving"}, "expected 25z"),
    ("MAIL with AUTH=<>", {"MAIL FROM:<SENDER@EXAMPLE.ORG> AUTH": "555 unknown"}, "expected 250"),
    ("An initial response that is no base64", {"AUTH": "235 welcome"}, "expected 501 or 535"),
])
def test_what_is_wrong_still_is(title: str, replies: dict[str, str], wanted: str) -> None:
    assert verdict(BY_TITLE[title], replies).startswith(wanted)


@pytest.mark.parametrize("dies", [True, False])
def test_what_is_cut_when_a_server_dies_proves_nothing(dies: bool) -> None:
    """One that hangs up, and is still there, has broken the rule."""
    def answer() -> None:
        sock, _ = listener.accept()
        with sock, sock.makefile("rb") as lines:
            sock.sendall(b"220 mx.example\r\n")
            lines.readline()
            sock.sendall(b"250 mx.example\r\n")
            lines.readline()
            if dies:
                listener.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        outcome = play(BY_TITLE["VRFY is answered"], Target(*listener.getsockname()))
        thread.join()
    assert outcome.status == (SKIPPED if dies else FAILED) and ("is gone" in outcome.reason) == dies


def refusal(reply: Reply) -> Callable[..., Reply]:
    """A policy that always says the same."""
    return lambda *_: reply


def needs(pattern: bytes) -> Callable[..., Reply | None]:
    """A policy for letters: their headers have a line like this, or are refused."""
    def deliver(envelope: Envelope, body: BinaryIO) -> Reply | None:
        head = body.read().partition(b"\r\n\r\n")[0]
        return None if re.search(rb"(?im)^" + pattern, head) else Reply(550, "not in this form", "5.6.0")

    return deliver


def known_sender(reply: Reply) -> Callable[..., Reply | None]:
    """A policy for senders: they are of a domain that exists."""
    return lambda address, envelope: None if address.rpartition("@")[2] in ("", "example.org") else reply


POLICIES: dict[str, dict[str, Any]] = {
    "greylists letters": {"deliver": refusal(Reply(451, "greylisted", "4.7.1"))},
    "wants From": {"deliver": needs(rb"from:")}, "wants Date": {"deliver": needs(rb"date:")},
    "looks a sender up, later": {"accept_sender": known_sender(Reply(450, "no such domain", "4.1.8"))},
    "looks a sender up": {"accept_sender": known_sender(Reply(553, "no such domain", "5.1.8"))},
}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_breaks_no_must(policy: str) -> None:
    files = ("rfc5321-data", "rfc5321-order", "rfc5321-limits", "rfc5321-more", "rfc5321-syntax", "rfc3030", "rfc6531")
    asked = [dialogue for dialogue in BY_TITLE.values() if dialogue.source.startswith(files)]
    with Server(**POLICIES[policy], max_connections_per_address=100) as server:
        target = Target(*server.address, moment=0.1)
        explore(target)
        outcomes = list(check(target, asked))
    assert not [failure(one) for one in outcomes if one.status == FAILED and one.dialogue.level == "MUST"]
    assert sum(one.status == PASSED for one in outcomes) > 140


@pytest.mark.parametrize("title, level", [
    ("8-bit octets in a command", "SHOULD"), ("STARTTLS twice", "MAY"), ("The case of a mechanism's name", "MAY"),
    ("HELP is answered 211 or 214", "SHOULD")])
def test_a_level_is_the_rfc_s_for_this_end(title: str, level: str) -> None:
    assert BY_TITLE[title].level == level


@pytest.mark.parametrize("title", ["A chunk of 200,000 octets", "A long run of octets without a line end"])
def test_a_letter_above_the_announced_size_is_not_asked_for(title: str) -> None:
    with Server(max_size=70_000) as server:
        target = Target(*server.address, keywords={"EHLO": "", "CHUNKING": "", "BINARYMIME": "", "SIZE": "70000"})
        assert "smaller size limit" in obstacle(BY_TITLE[title], target)
        assert play(BY_TITLE["A message of 64 KB"], target).status == PASSED
        assert not obstacle(BY_TITLE[title], replace(target, keywords=target.keywords | {"SIZE": "1000000"}))
