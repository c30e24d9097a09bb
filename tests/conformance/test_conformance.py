"""The runner and the notation. Servers that misbehave, or lack a rule of 1982, are caught."""
from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import trustme

from smtp_from_scratch import Reply, Server
from smtp_from_scratch.__main__ import main
from smtp_from_scratch.conformance.notation import MOST_DEEP, Block, Dialogue, NotationError, Say, Step, parse
from smtp_from_scratch.conformance.report import as_json, as_junit, failure, table
from smtp_from_scratch.conformance.scram import BadChallenge, Scram
from smtp_from_scratch.conformance.server import runner
from smtp_from_scratch.conformance.server.player import ClientPart, Difference, misformed
from smtp_from_scratch.conformance.server.runner import (
    FAILED,
    PASSED,
    SKIPPED,
    Outcome,
    Target,
    all_dialogues,
    check,
    obstacle,
    play,
    probe,
)
from smtp_from_scratch.conformance.values import UnknownValue, Values, check_challenge
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import BothListening, Conversation, Interruption, Line, rehearse
from smtp_from_scratch.lab import aiosmtpd_server
from smtp_from_scratch.session import Limits, Session, serve
from smtp_from_scratch.starttls import TLSLayer, Upgrade
from smtp_from_scratch.wire import WireError
from tests.ours import REFUSED, ROLES

DIALOGUES = [dialogue for dialogue in all_dialogues() if dialogue.end == "server"]


def accept_recipient(address: str, envelope: object) -> Reply | None:
    return Reply(550, "not served here", "5.7.1") if address == REFUSED else None


def session(**settings: Any) -> Session:
    return Session("mx.example.org", accept_recipient=accept_recipient, **settings)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """Our server with everything."""
    with ROLES["smtp"].listening() as target:
        yield target


@pytest.fixture(scope="module")
def of_1982() -> Iterator[Target]:
    """Our server without any extension, not even EHLO."""
    with Server(accept_recipient=accept_recipient, extensions=None) as server:
        target = Target(*server.address, refused=REFUSED)
        probe(target)
        yield target


def rehearsed(dialogue: Dialogue, target: Target, make: Callable[[], Conversation[Any]]) -> None:
    """Play a dialogue in memory; raises Difference."""
    rehearse(ClientPart(dialogue, target.values()).conversation(), make(), patient=True)


# --- the runner itself: it must catch what is wrong ------------------------------------------------------------------

CALM = """
== a rule
rfc: 5321 §4.1.4
level: MUST
asks: something
--
S: 220
C: NOOP
S: 250
"""


@contextmanager
def misbehaving(conduct: Callable[[socket.socket], None]) -> Iterator[Target]:
    """A server that does whatever `conduct` does to each caller."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def answer() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(sock,), daemon=True).start()

        def one(sock: socket.socket) -> None:
            with sock:
                try:
                    conduct(sock)
                except OSError:
                    pass

        threading.Thread(target=answer, daemon=True).start()
        try:
            yield Target(*listener.getsockname(), patience=0.5, dialogue_limit=2.0, moment=0.1)
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def flood(line: bytes) -> Callable[[socket.socket], None]:
    def conduct(sock: socket.socket) -> None:
        deadline = time.monotonic() + 5                  # bounded, whatever the other end does
        while time.monotonic() < deadline:
            sock.sendall(line * 1000)

    return conduct


def hang(sock: socket.socket) -> None:
    sock.sendall(b"220 ready\r\n")
    sock.settimeout(5)
    while sock.recv(1000):
        pass


CONDUCTS: dict[str, tuple[Callable[[socket.socket], None], str]] = {
    "says nothing": (lambda sock: time.sleep(1), "does not take this call (nothing within"),
    "hangs": (hang, "nothing within"),
    "closes at once": (lambda sock: None, "does not take this call (the end of the connection)"),
    "is no SMTP server": (lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "no reply"),
    "never ends its line": (flood(b"x" * 1000), "no reply"),
    "never ends its reply": (flood(b"220-more\r\n"), "no reply"),
    "mixes codes": (lambda sock: sock.sendall(b"220-a\r\n250 b\r\n"), "no reply"),
    "greets with 554": (lambda sock: sock.sendall(b"554 go away\r\n"), "does not take this call (554)"),
    "greets with 250": (lambda sock: sock.sendall(b"250 hello\r\n"), "expected 220"),
}


@pytest.mark.parametrize("name", CONDUCTS)
def test_misconduct_costs_bounded_time_and_is_reported(name: str) -> None:
    conduct, expected = CONDUCTS[name]
    [dialogue] = parse(CALM)
    start = time.monotonic()
    with misbehaving(conduct) as target:
        outcome = play(dialogue, target)
    assert expected in outcome.reason, outcome.reason
    assert outcome.status == (SKIPPED if "does not take" in expected else FAILED)
    assert time.monotonic() - start < 4
    assert "a rule" in failure(outcome)


def test_who_is_cut_off_by_us_did_not_hang_up() -> None:
    [dialogue] = parse(CALM)
    [either] = parse(CALM.replace("S: 250", "S: 250|closed"))
    with misbehaving(hang) as target:
        target.patience, target.dialogue_limit = 30.0, 0.2
        outcomes = [play(dialogue, target), play(either, target)]
    assert [(one.status, one.reason) for one in outcomes] == [(SKIPPED, "is slow: this takes more than 0.2 s")] * 2


def test_a_late_reply_names_the_option_for_it() -> None:
    [dialogue] = parse(CALM)
    with misbehaving(hang) as target:
        outcome = play(dialogue, target)
    assert (outcome.status, outcome.reason) == (
        FAILED, "expected 250, got nothing within 0.5 s: --patience gives it more time")


def says(*replies: bytes) -> Callable[[socket.socket], None]:
    """A greeting, and then these replies."""
    def conduct(sock: socket.socket) -> None:
        sock.sendall(b"220 ready\r\n")
        for reply in replies:
            sock.recv(1000)
            sock.sendall(reply)

    return conduct


@pytest.mark.parametrize("expected, replies, reason", [
    ("250", [b"421 too many sessions\r\n"], "says 421, and ends the session"),
    ("503", [b"421 too many errors\r\n"], "says 421, and ends the session"),
    ("nothing", [b"421 idle\r\n"], "says 421, and ends the session"),
    ("250|5yz", [b"451 greylisted\r\n"], "says 451: not now"),
    ("354", [b"450 later\r\n"], "says 450: not now"),
    ("503", [b"451 later\r\n"], ""), ("closed", [b"421 bye\r\n"], ""), ("4yz form enhanced", [b"451 x\r\n"], ""),
    ("421 form enhanced", [b"421 x\r\n"], ""), ("250", [b"550 no\r\n"], ""),
])
def test_what_a_server_may_say_at_any_time_proves_nothing(expected: str, replies: list[bytes], reason: str) -> None:
    [dialogue] = parse(CALM.replace("S: 250", f"S: {expected}"))
    with misbehaving(says(*replies)) as target:
        outcome = play(dialogue, target)
    assert (outcome.status, outcome.reason if reason else "") == (SKIPPED if reason else FAILED, reason)


def test_a_limit_of_recipients_is_no_matter_of_time() -> None:
    [dialogue] = parse(CALM.replace("C: NOOP\nS: 250", "repeat 2\n  C: RCPT TO:<{recipient}>\n  S: 250\nend"))
    with misbehaving(says(b"250 yes\r\n", b"452 one is enough\r\n")) as target:
        assert play(dialogue, target).status == FAILED
    with misbehaving(says(b"452 full\r\n")) as target:
        assert play(dialogue, target).reason == "says 452: not now"


@pytest.mark.parametrize("last", [b"451 see smtplf\r\n", b"521 bare LF\r\n", b""])
def test_a_bare_line_feed_may_end_the_session(last: bytes) -> None:
    dialogues = {dialogue.title: dialogue for dialogue in DIALOGUES}
    begin = [b"250 hello\r\n", b"250 yes\r\n", b"250 yes\r\n"]
    with misbehaving(says(*begin, b"354 go on\r\n", last)) as target:
        assert play(dialogues["A bare LF in a body"], target).status == PASSED
    with misbehaving(says(*begin, last)) as target:
        target.keywords = {"EHLO": "", "CHUNKING": ""}
        assert play(dialogues["A bare LF in a chunk"], target).status == PASSED


HUNG_UP = "it hangs up without a word (does it take calls from this address?)"


def test_an_error_without_words_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    with misbehaving(lambda sock: None) as target:
        assert main(["check", "--patience", "1", f"{target.host}:{target.port}"]) == 69
        assert main(["talk", "--starttls", f"{target.host}:{target.port}"]) == 69
    none, cannot = capsys.readouterr().err.splitlines()
    assert none.endswith(f"no SMTP server at {target.host}:{target.port}: {HUNG_UP}")
    assert cannot.endswith(f"cannot connect to {target.host}:{target.port}: {HUNG_UP}")


def test_a_server_that_is_gone_at_the_end_is_not_approved_of(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def untaken(target: Target, dialogues: list[Dialogue], at_once: int, told: object) -> Iterator[Outcome]:
        yield from (Outcome(dialogue, SKIPPED, "does not take this call (closed)") for dialogue in dialogues)

    monkeypatch.setattr(runner, "check", untaken)
    with Server() as server:
        where = "{}:{}".format(*server.address)
        command = ["check", where, "--only", "EHLO twice"]
        assert main(command) == 75             # it is there, and was not examined
        assert f"{where}: it did not take 1 calls, and these dialogues prove nothing" in capsys.readouterr().err
        assert Target(*server.address).gone() == ""
        monkeypatch.setattr(Target, "gone", lambda target: "Connection refused")
        assert main(command) == 69
        assert f"{where} is gone (Connection refused)" in capsys.readouterr().err
    monkeypatch.undo()
    assert Target(*server.address).gone()


def test_a_reply_when_nothing_should_come_is_caught() -> None:
    [dialogue] = parse(CALM.replace("C: NOOP", "C= DATA\\r\\nx\\n.\\n").replace("S: 250", "S: nothing"))
    def conduct(sock: socket.socket) -> None:
        sock.sendall(b"220 ready\r\n")
        sock.recv(1000)
        sock.sendall(b"354 go on\r\n250 smuggled\r\n")
        sock.recv(1000)

    with misbehaving(conduct) as target:
        outcome = play(dialogue, target)
    assert outcome.status == FAILED and "354 go on" in outcome.reason and outcome.line == 9


# --- a rule removed from our server must be noticed ------------------------------------------------------------------


def without(name: str, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Remove one rule; returns settings for the session."""
    import smtp_from_scratch.conversation as conversation
    import smtp_from_scratch.envelope as envelope
    import smtp_from_scratch.session as rules
    from smtp_from_scratch.wire import Command, Inbox

    everywhere = dict.fromkeys(rules.STATES[:-1])
    verbs = dict(rules.VERBS)
    quiet = Reply(250, "fine")

    def lax(verb: str, leads: str) -> None:
        verbs[verb] = replace(verbs[verb], moves=dict.fromkeys(everywhere, leads))

    def parsed(session: Session, argument: str) -> Reply:
        session.envelope.recipients.append("somebody")
        return quiet

    def cutter(**changes: Any) -> type:
        return type("Cutter", (envelope.BodyCutter,), changes)

    def lf_ends(self: Any, data: bytes) -> tuple[bytes, bytes]:
        return envelope.BodyCutter.cut(self, re.sub(rb"\r?\n", b"\r\n", data))

    def any_dot_ends(self: Any, data: bytes) -> tuple[bytes, bytes]:
        return envelope.BodyCutter.cut(self, re.sub(rb"[\r\n\0]+\.[\r\n\0]+", b"\r\n.\r\n", data))

    def stuffed_ends(self: Any, data: bytes) -> tuple[bytes, bytes]:
        return envelope.BodyCutter.cut(self, data.replace(b"\r\n..\r\n", b"\r\n.\r\n").replace(b"..\r\n", b".\r\n"))

    def lf_line(self: Inbox, limit: int = 512) -> bytes | None:
        end = self._data.find(b"\n", self._start)
        if end < 0:
            return None
        line, self._start = self._data[self._start : end], end + 1
        return line.rstrip(b"\r")

    def cr_line(self: Inbox, limit: int = 512) -> bytes | None:
        self._data = self._data[: self._start] + re.sub(rb"\r(?!\n)", b"\r\n", self._data[self._start :])
        return lf_line(self, limit)

    rules_by_name: dict[str, Callable[[], Any]] = {
        "order: RCPT": lambda: lax("RCPT", "rcpt"),
        "order: DATA": lambda: lax("DATA", "ready"),
        "order: MAIL": lambda: lax("MAIL", "mail"),
        "order: RSET": lambda: verbs.update(RSET=replace(verbs["RSET"], moves={"mail": "ready", "rcpt": "ready"})),
        "order: QUIT": lambda: verbs.update(QUIT=replace(verbs["QUIT"], moves={"ready": "closed"})),
        "QUIT closes": lambda: verbs.update(QUIT=replace(verbs["QUIT"], moves=rules.STAY)),
        "reset after a message": lambda: (patch.setattr(rules, "finish", finish_without_reset), verbs.update(
            DATA=replace(verbs["DATA"], moves={"rcpt": "rcpt"}))),
        "RSET forgets": lambda: verbs.update(RSET=replace(verbs["NOOP"])),
        "HELO forgets": lambda: verbs.update(HELO=replace(verbs["HELO"], handler=lambda s, a: quiet, moves=rules.STAY
                                                          | {"start": "ready"})),
        "case of verbs": lambda: patch.setattr(rules, "parse_command", lambda line: Command(
            *(line.decode("latin-1").partition(" ")[::2]))),
        "syntax of RCPT": lambda: verbs.update(RCPT=replace(verbs["RCPT"], handler=parsed)),
        "syntax of MAIL": lambda: verbs.update(MAIL=replace(verbs["MAIL"], handler=lambda s, a: quiet)),
        "the null path": lambda: patch.setattr(rules, "NULL_PATH", envelope.Path("x", "y")),
        "unknown verbs": lambda: patch.setattr(Session, "refuse", refuse_nothing_unknown(Session.refuse)),
        "7 bits": lambda: patch.setattr(Session, "dispatch", dispatch_ascii(Session.dispatch)),
        "CR LF only, LF in commands": lambda: patch.setattr(Inbox, "line", lf_line),
        "CR LF only, CR in commands": lambda: patch.setattr(Inbox, "line", cr_line),
        "CR LF only, LF in bodies": lambda: patch.setattr(rules, "BodyCutter", cutter(cut=lf_ends)),
        "the end mark": lambda: patch.setattr(rules, "BodyCutter", cutter(cut=any_dot_ends)),
        "dot-unstuffing": lambda: patch.setattr(rules, "BodyCutter", cutter(cut=stuffed_ends)),
        "100 recipients": lambda: {"limits": rules.Limits(max_recipients=99)},
        "64 KB": lambda: {"limits": rules.Limits(max_size=65_000)},
        "512 octets": lambda: patch.setattr(Session, "line", lambda self: conversation.Line(100)),
        "recipients that are refused": lambda: {"accept_recipient": lambda address, envelope: None},
    }
    if name == "":
        return {"names": list(rules_by_name)}
    settings = rules_by_name[name]()
    return {"verbs": verbs, **(settings if isinstance(settings, dict) else {})}


def finish_without_reset(session: Session, spool: Any) -> Any:
    yield from ()
    return spool.finish() or Reply(250, "fine")


def refuse_nothing_unknown(refuse: Any) -> Any:
    def changed(session: Session, line: bytes, command: Any) -> Any:
        refusal = refuse(session, line, command)
        return Reply(250, "fine") if refusal and refusal.code == 500 else refusal

    return changed


def dispatch_ascii(dispatch: Any) -> Any:
    def changed(session: Session, line: bytes) -> Any:
        return (yield from dispatch(session, bytes(octet for octet in line if 0 < octet < 128)))

    return changed


@pytest.mark.parametrize("name", without("", pytest.MonkeyPatch())["names"])
def test_a_server_without_this_rule_is_caught(name: str, monkeypatch: pytest.MonkeyPatch, of_1982: Target) -> None:
    settings = {"accept_recipient": accept_recipient, **without(name, monkeypatch)}
    caught = []
    for dialogue in DIALOGUES:
        if obstacle(dialogue, of_1982) or "1100" in str(dialogue.steps) or "4000000" in str(dialogue.steps):
            continue
        try:
            rehearsed(dialogue, of_1982, lambda: serve(Session("mx.example.org", **settings)))
        except (Difference, BothListening):
            caught.append(dialogue.title)
    assert caught


# --- notation and reports --------------------------------------------------------------------------------------------


def test_blocks_lie_in_each_other_up_to_a_depth() -> None:
    head = "== A\nrfc: 5321 §2\nlevel: MUST\nasks: x\n--\n"
    for deep in (MOST_DEEP, MOST_DEEP + 1, 2000):
        text = head + "repeat 2\n" * deep + "C: NOOP\nS: 250\n" + "end\n" * deep
        if deep == MOST_DEEP:
            assert len(list(parse(text))) == 1
        else:
            with pytest.raises(NotationError, match="lie in each other"):
                list(parse(text))



@pytest.mark.parametrize("old, new, complaint", [
    ("== a rule", "a rule", "expected `== title`|no dialogue begins"),
    ("rfc: 5321 §4.1.4", "rfc: 5321", "5: .*must read like|must read like"),
    ("level: MUST", "level: MAYBE", "MUST, SHOULD, MAY"),
    ("asks: something", "asked: something", ":5: expected a fact"),
    ("--", "-", "expected a fact"),
    ("S: 220", "S: 22", ":7: expected 250, 5yz"),
    ("S: 220", "C= \\xzz", "escape"),
    ("S: 220", "S= octets", "sends octets"),
    ("S: 220", "S: 220 form letter", ":7: no such form of a reply: 'letter'"),
    ("S: 220", "wait", "takes an argument"),
    ("S: 220", "repeat many\nend", "takes a number"),
    ("S: 220", "repeat 3", "`end` is missing"),
    ("S: 220", "end", "without"),
    ("S: 220", "220 hello", "expected `C:`"),
    ("S: 220", "tls maybe", "or closed"),
    ("S: 220", "check luck", "`check` takes one of"),
])
def test_the_notation_is_strict_and_names_the_line(old: str, new: str, complaint: str) -> None:
    with pytest.raises(NotationError, match=complaint) as error:
        list(parse(CALM.replace(old, new, 1), "here.txt"))
    assert re.match(r"here\.txt:\d+: ", str(error.value))


@pytest.mark.parametrize("form, good, bad", [
    ("ehlo", ["mx.example.org", "mx.example.org at your service\nSIZE 10\nX-1 a=b ,", "[192.0.2.1] hello\n8BITMIME"],
     ["", "a_b\nSIZE", " mx.example.org", "mx.example.org\n", "mx.example.org\n-SIZE", "mx.example.org\nAUTH=PLAIN",
      "mx.example.org\nA  B", "mx.example.org\nSIZE ", "mx.example.org\nSIZE é"]),
    ("enhanced", ["2.1.0 fine", "2.0.0 a\n2.0.0 b", "2.100.999"],
     ["fine", "5.1.0 fine", "2.0.0 a\n2.0.1 b", "2.0.0 a\nb", "2.1 fine", "2.1.0. fine", "2.1.0000 fine", " 2.1.0 a"]),
    ("plain", ["fine", "2.0 fine", "192.0.2.1 hello"], ["2.1.0 fine", "fine\n2.0.0 fine", "5.1.0 fine"]),
])
def test_the_form_of_a_reply(form: str, good: list[str], bad: list[str]) -> None:
    assert [text for text in good if misformed(Reply(250, text), form)] == []
    assert [text for text in bad if not misformed(Reply(250, text), form)] == []
    assert misformed(Reply(354, "go on"), "enhanced") == ""              # 3yz has none (RFC 2034 §4)
    assert "5.x.x" in misformed(Reply(550, "2.1.1 nobody"), "enhanced")


def test_a_reply_of_another_form_is_caught() -> None:
    [dialogue] = parse(CALM.replace("S: 220", "S: 220 form plain").replace("S: 250", "S: 250 has fine form enhanced"))
    with misbehaving(lambda sock: sock.sendall(b"220 ready\r\n250-2.0.0 first\r\n250 fine\r\n")) as target:
        outcome = play(dialogue, target)
    assert outcome.status == FAILED and "2.x.x in every line" in outcome.reason and outcome.line == 9


def test_values_are_computed() -> None:
    values = Values({"size": "100", "user": "ana"}, numbers={"n": 7})
    expected = {"size": b"100", "size+1": b"101", "size-1": b"99", "n": b"7", "n+1": b"8", "octets n": b"x" * 7,
                "octets size+20": b"x" * 120, "high-octets": bytes(range(128, 256)), "all-octets": bytes(range(256))}
    assert {name: values.value(name) for name in expected} == expected
    assert [len(b"".join(values.expand(f"{{body {size}}}"))) for size in ("2", "81", "size-1")] == [2, 81, 99]
    for name in ("size+", "size*2", "user+1", "nothing+1", "octets", "octets many", "body -1", "Size+1", ""):
        with pytest.raises(UnknownValue):
            values.value(name)
    with pytest.raises(UnknownValue):
        Values({"size": ""}).value("size+1")


def test_titles_are_unique_and_rules_complete() -> None:
    titles = [(dialogue.end, dialogue.rfc, dialogue.title) for dialogue in all_dialogues()]
    assert len(titles) == len(set(titles))


WRONG_ON_PURPOSE = {"A chunk is answered when it is complete", "BDAT with a size beyond all measure",
                    "BDAT with a size of 2 to the 32nd and 6", "Octets beyond the announced ones"}


def test_chunks_have_as_many_octets_as_they_announce() -> None:
    counted, wrong = 0, set()
    values = Values({"size": "200000", "sender": "a@b.example", "recipient": "c@d.example",
                     "header": "From: <a@b>\r\n"})

    def flat(steps: tuple[Step, ...]) -> Iterator[Step]:
        for step in steps:
            yield from flat(step.steps) if isinstance(step, Block) else (step,)

    for dialogue in DIALOGUES:
        steps = list(flat(dialogue.steps))
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            match = isinstance(step, Say) and re.match(r"(?i)BDAT (\d\S*|\{(?:size|header)\S*\})( LAST)?$", step.text)
            if match and (announced := b"".join(values.expand(match[1]))).isdigit():
                sent = values.expand(following.text, True) if isinstance(following, Say) and following.raw else []
                counted += 1
                if int(announced) != len(b"".join(sent)):
                    wrong.add(dialogue.title)
    assert wrong == WRONG_ON_PURPOSE and counted > 60


def test_reports_say_what_failed(of_1982: Target) -> None:
    target = of_1982
    broken = next(parse(CALM.replace("S: 250", "S: 251")))
    skipped = next(parse(CALM.replace("level:", "needs: XYZZY\nlevel:")))
    outcomes = list(check(target, [next(parse(CALM)), broken, skipped]))
    assert [outcome.status for outcome in outcomes] == [PASSED, FAILED, SKIPPED]
    assert " 5321        1        1        0        1" in table(outcomes) and "does not offer XYZZY" in table(outcomes)
    text = failure(outcomes[1])
    assert "C: NOOP" in text and "→ expected 251, got 250 still here (dialogues:9)" in text
    parsed = json.loads(as_json(outcomes, "here"))
    assert [entry["status"] for entry in parsed["dialogues"]] == ["passed", "failed", "skipped"]
    junit = ElementTree.fromstring(as_junit(outcomes, "here"))
    assert junit.attrib["failures"] == "1" and junit.find("testcase/failure") is not None


# --- values that are computed in the exchange -------------------------------------------------------------------------

NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = f"r={NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode()
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def values(**names: str) -> Values:
    return Values({"user": "user", "password": "pencil", "nonce": NONCE, **names})


def challenged(given: Values, challenge: bytes) -> Values:
    given.challenge = base64.b64encode(challenge).decode()
    return given


def test_scram_has_the_values_of_rfc_7677() -> None:
    given = values()
    assert base64.b64decode(b"".join(given.expand("{scram-first}"))) == f"n,,n=user,r={NONCE}".encode()
    [final] = challenged(given, SERVER_FIRST).expand("{scram-final}")
    assert base64.b64decode(final) == SERVER_FIRST.split(b",")[0].join([b"c=biws,", b""]) + (
        b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    check_challenge(challenged(given, SERVER_FINAL), "server-final")
    for wrong in (b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G0=", b"e=other-error", b"", b"v=\xff"):
        with pytest.raises(BadChallenge):
            check_challenge(challenged(given, wrong), "server-final")


def test_a_flawed_scram_differs_from_the_good_one_and_nowhere_else() -> None:
    def final(flaw: str) -> dict[bytes, bytes]:
        scram = Scram("user", "pencil", NONCE)
        scram.first()
        return dict(field.split(b"=", 1) for field in scram.final(SERVER_FIRST, flaw).split(b","))  # type: ignore[misc]

    good = final("")
    for flaw, keys in {"nonce": b"rp", "proof": b"p", "short": b"p", "binding": b"cp"}.items():
        bad = final(flaw)
        assert {key for key in good if bad[key] != good[key]} == {bytes([key]) for key in keys}
    with pytest.raises(ValueError, match="no such flaw"):
        final("luck")
    scram = Scram("a=b,c", "pencil", NONCE)
    assert scram.first("y,,") == f"y,,n=a=3Db=2Cc,r={NONCE}".encode()
    assert scram.first("n,,", "-", ",x=1") == f"n,,n=a=3Db=2Cc,r={NONCE},x=1".encode()
    assert scram.first("n,,", "x=") == f"n,,n=x=,r={NONCE}".encode()


@pytest.mark.parametrize("message", [
    b"", b"r=other,s=QQ==,i=4096", f"r={NONCE},s=QQ==,i=4096".encode(), f"r={NONCE}x,s=QQ==,i=0".encode(),
    f"r={NONCE}x,s=QQ==,i=99999999".encode(), f"r={NONCE}x,s=Q,i=4096".encode(), f"r={NONCE}x,i=4096".encode(),
    f"m=x,r={NONCE}x,s=QQ==,i=4096".encode(), b"\xff\xfe",
])
def test_a_bad_first_message_of_a_scram_server_is_reported(message: bytes) -> None:
    with pytest.raises(BadChallenge):
        check_challenge(challenged(values(), message), "server-first")


def test_other_checks_of_a_challenge() -> None:
    given = values(user="tim", password="tanstaaftanstaaf")
    check_challenge(challenged(given, b"<1896.697170952@postoffice.reston.mci.net>"), "cram-md5")      # RFC 2195 §2
    assert base64.b64decode(given.expand("{cram-md5}")[0]) == b"tim b913a602c7eda7a495b4e6e7334d3890"
    for wrong in (b"", b"1896", b"<no at sign>"):
        with pytest.raises(BadChallenge):
            check_challenge(challenged(given, wrong), "cram-md5")
    check_challenge(challenged(given, b""), "empty")
    with pytest.raises(BadChallenge):
        check_challenge(challenged(given, b"x"), "empty")
    given.challenge = "=AAA"
    with pytest.raises(BadChallenge):
        check_challenge(given, "base64")
    for wrong in (b"", b"v=QQ=="):
        with pytest.raises(BadChallenge):
            check_challenge(challenged(given, wrong), "server-error")
    check_challenge(challenged(given, b"e=invalid-proof"), "server-error")


def test_checks_that_compare_exchanges() -> None:
    given = values()
    first, other, weak = (f"r={NONCE}{text}".encode() for text in ("x,s=QQ==,i=4096", "y,s=QQ==,i=4096",
                                                                  "y,s=Qg==,i=4095"))
    for challenge in (first, other):
        check_challenge(challenged(given, challenge), "server-first")
    for what in ("same-salt", "iterations", "fresh"):
        check_challenge(given, what)
    check_challenge(challenged(given, weak), "server-first")
    given.before = given.challenge
    for what in ("same-salt", "iterations", "fresh"):
        with pytest.raises(BadChallenge):
            check_challenge(given, what)
    for salts, wrong in ("aabb", False), ("aabc", True), ("abcd", False), ("aab", True), ("", True):
        given.scram.seen = [("nonce", salt.encode(), 4096) for salt in salts]
        if wrong:
            with pytest.raises(BadChallenge):
                check_challenge(given, "same-salt")
        else:
            check_challenge(given, "same-salt")


def test_xtext() -> None:
    given = values(user="tim")
    assert given.expand("ORCPT=rfc822;{xtext a+b=(user)@x}") == [b"ORCPT=rfc822;a+2Bb+3Dtim@x"]


# --- other kinds of servers ------------------------------------------------------------------------------------------


def tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def toy(*, starttls: bool = False, implicit: bool = False, offer: str = "AUTH PLAIN") -> Callable[[Any], None]:
    """A server that knows LHLO, EHLO, STARTTLS and NOOP; it offers AUTH under TLS only."""
    context = tls_context()

    def talk() -> Conversation[None]:
        if implicit:
            yield Upgrade(TLSLayer(context, server_side=True))
        secure = implicit
        yield b"220 ready\r\n"
        while True:
            verb = (yield Line(512)).decode().upper()
            if verb.startswith(("EHLO", "LHLO")):
                lines = ["toy", *(["STARTTLS"] if starttls and not secure else []), *([offer] if secure else [])]
                yield Reply(250, "\n".join(lines))
            elif verb == "STARTTLS" and starttls:
                yield b"220 go\r\n"
                yield Upgrade(TLSLayer(context, server_side=True))
                secure = True
            else:
                yield b"250 fine\r\n"

    def conduct(sock: socket.socket) -> None:
        with suppress(Interruption, WireError):
            Connection(sock).play(talk())

    return conduct


UNDER_TLS = CALM.replace("level:", "needs: AUTH=PLAIN\nafter: EHLO TLS\nlevel:").replace("S: 220\n", "")


def test_what_is_offered_under_tls_counts_for_dialogues_that_go_there() -> None:
    [dialogue] = parse(UNDER_TLS)
    assert dialogue.setup == ("tls",)
    with misbehaving(toy(starttls=True)) as target:
        probe(target)
        assert "AUTH" not in target.keywords and target.secured["AUTH"] == "PLAIN"
        outcome = play(dialogue, target)
        assert outcome.status == PASSED, failure(outcome)
        [other] = parse(UNDER_TLS.replace("AUTH=PLAIN", "AUTH=LOGIN"))
        assert obstacle(other, target) == "does not offer AUTH LOGIN"
        [clear] = parse(UNDER_TLS.replace("EHLO TLS", "EHLO"))
        assert obstacle(clear, target) == "does not offer AUTH PLAIN"
        [spared] = parse(UNDER_TLS.replace("AUTH=PLAIN", "!AUTH=PLAIN"))
        assert obstacle(spared, target) == "offers AUTH PLAIN"


def test_implicit_tls_comes_before_the_greeting() -> None:
    [dialogue] = parse(UNDER_TLS.replace("level:", "setup: implicit\nlevel:"))
    with misbehaving(toy(implicit=True)) as target:
        assert obstacle(dialogue, target)
        target.implicit_tls = True
        probe(target)
        outcome = play(dialogue, target)
        assert outcome.status == PASSED, failure(outcome)
        done = run_check(f"{target.host}:{target.port}", "--implicit-tls", "--only", "survives ten refusals", "--json")
        assert json.loads(done.stdout)["dialogues"][0]["reason"].startswith("expected 503 or 530, got 250"), done.stderr
        done = run_check(f"{target.host}:{target.port}", "--patience", "0.5", "--only", "greeting is one")
        assert done.returncode == 0 and "it speaks TLS before the greeting" in done.stderr      # found out without it


def test_implicit_tls_where_there_is_none_is_an_error_in_a_sentence() -> None:
    [dialogue] = parse(CALM)
    with misbehaving(toy()) as target:
        target.implicit_tls = True
        outcome = play(dialogue, target)
        assert outcome.status == SKIPPED and "does not take this call" in outcome.reason
        done = run_check(f"{target.host}:{target.port}", "--implicit-tls")
        assert done.returncode == 69 and "Traceback" not in done.stderr


def test_a_submission_server_is_spared_letters_without_auth() -> None:
    [dialogue] = parse(CALM.replace("NOOP", "MAIL FROM:<{sender}>"))
    [strict] = parse(CALM.replace("level:", "setup: submission\nlevel:"))
    [quiet] = parse(CALM)
    [polite] = parse(CALM.replace("C: NOOP", "C: AUTH PLAIN {plain}\nS: 235\nC: MAIL FROM:<{sender}>"))
    at = Target("127.0.0.1", 0)
    assert [bool(obstacle(d, at)) for d in (dialogue, strict, quiet, polite)] == [False, True, False, False]
    at.submission = True
    assert [bool(obstacle(d, at)) for d in (dialogue, strict, quiet, polite)] == [True, False, False, False]


def test_an_lmtp_server_is_asked_with_lhlo_and_for_lmtp_only() -> None:
    [mine] = parse(CALM.replace("level:", "setup: lmtp\nneeds: LHLO\nlevel:"))
    [other] = parse(CALM)
    with misbehaving(toy(implicit=False)) as target:
        target.lmtp = True
        probe(target)
        assert "LHLO" in target.keywords and "EHLO" not in target.keywords
        assert [outcome.status for outcome in check(target, [mine, other])] == [PASSED, SKIPPED]
        target.lmtp = False
        assert "--lmtp" in obstacle(replace(mine, needs=()), target)
        done = run_check(f"{target.host}:{target.port}", "--lmtp", "--rfc", "5321")
        assert done.returncode == 0 and "this is LMTP" in done.stdout


# --- as a command ----------------------------------------------------------------------------------------------------


def run_check(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "smtp_from_scratch", "check", *arguments], capture_output=True,
                          text=True, timeout=60)


def test_check_our_own_server(target: Target, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    done = run_check(f"{target.host}:{target.port}", "--refused-recipient", REFUSED, "--junit", str(junit))
    assert done.returncode == 0, done.stdout
    assert ElementTree.parse(junit).getroot().attrib["failures"] == "0"


def test_check_finds_what_aiosmtpd_does_differently() -> None:
    with aiosmtpd_server() as theirs:
        done = run_check("{}:{}".format(*theirs.address), "--json", "--only", "RCPT with the null path")
    assert done.returncode == 1                          # aiosmtpd 1.4.6 takes RCPT TO:<>
    assert [entry["status"] for entry in json.loads(done.stdout)["dialogues"]] == ["failed"]


def test_check_says_what_it_cannot_do() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        done = run_check("{}:{}".format(*nobody.getsockname()))
    assert done.returncode == 69 and "Traceback" not in done.stderr
    assert run_check().returncode == 2
    assert run_check("127.0.0.1:1", "--only", "no such title").returncode == 2
    listed = run_check("--list")
    titles, coverage = listed.stdout.split("\n\n")
    assert listed.returncode == 0 and len(titles.splitlines()) == len(DIALOGUES)
    assert "MUST proved" in coverage and " 5321 " in coverage


# --- in the course ---------------------------------------------------------------------------------------------------


def test_a_table_for_the_learners_own_server() -> None:
    from smtp_from_scratch import lab

    table = lab.dialogues(lambda: serve(session()), "rfc5321-order", refused=REFUSED)
    assert not table.failed and len(table.outcomes) > 15 and "1 skipped" in table.summary
    lax = lab.dialogues(lambda: serve(session(limits=Limits(max_recipients=2))), only="A hundred recipients")
    assert lax.failed and "✗ A hundred recipients" in lax.text() and "expected 250" in lax.html()
    broken = lab.dialogues(lambda: (_ for _ in [3]), only="two letters")
    assert "TypeError" in broken.failed[0].reason
    with Server() as server:
        assert lab.dialogues(server.address, only="RSET ends").summary == "1 passed"
