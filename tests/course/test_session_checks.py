"""The checks of `session` find what is wrong, say so, and take right answers in any style."""
from __future__ import annotations

import re
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.envelope import NULL_PATH, Envelope
from smtp_from_scratch.session import VERBS, helo, limit_errors, note_recipient, note_sender, one_reply, rset
from smtp_from_scratch.wire import Reply, parse_command
from tests.solutions import solution

OK = Reply(250, "ok")


def refused(verdict: Any, says: str) -> None:
    assert not verdict.passed and says in str(verdict), str(verdict)


# -- rset --


def fresh_envelope(session: Any, argument: str) -> Reply:
    session.envelope = Envelope(hello=session.envelope.hello, peer=session.peer)
    return OK


def fresh_and_ready(session: Any, argument: str) -> Reply:
    session.envelope, session.state = Envelope(hello=session.envelope.hello), "ready"
    return OK


def forgets_the_caller(session: Any, argument: str) -> Reply:
    session.reset()
    session.envelope, session.state = Envelope(), "start"
    return OK


def resets_and_says(session: Any, argument: str) -> Any:
    session.reset()
    yield OK


@pytest.mark.parametrize("wrong, says", [
    (lambda session, argument: session.reset(), "waits five minutes"),
    (lambda session, argument: OK, "still in the envelope"),
    (lambda session, argument: session.reset() or Reply(221, "ok"), "RSET cannot fail"),
    (lambda session, argument: session.reset() or 250, "has no code to say"),
    (fresh_envelope, "state rcpt"), (fresh_and_ready, "still open"), (forgets_the_caller, "does not undo HELO"),
    (resets_and_says, "yield"),
])
def test_rset(wrong: Any, says: str) -> None:
    refused(lab.check_rset(wrong), says)


def by_hand(session: Any, argument: str) -> Reply:
    session.release()
    session.envelope = Envelope(hello=session.envelope.hello, peer=session.peer)
    session.state = session.state if session.state == "start" else "ready"
    return Reply(250, "gone")


def test_rset_in_other_styles() -> None:
    assert lab.check_rset(by_hand).passed and lab.check_rset(rset).passed
    assert lab.check_rset(lambda session, argument: session.reset() or OK).passed


# -- helo --

HOST = re.compile(r"[A-Za-z0-9._-]{1,255}|\[[A-Za-z0-9.:-]{1,80}\]")


def at_home(session: Any, argument: str) -> Any:
    reply = helo(session, argument)
    return Reply(250, "mail.tokyo.example") if reply.positive else reply


def my_helo(*, pattern: str = "fullmatch", reset: str = "before", code: int = 501, name: str = "", early: bool = False,
            state: str = "") -> Any:
    """HELO with one thing done otherwise."""

    def handler(session: Any, argument: str) -> Any:
        if early:
            session.reset()
        if not getattr(HOST, pattern)(argument):
            return Reply(code, "no")
        if reset == "before":
            session.reset()
        session.envelope.hello = argument
        if reset == "after":
            session.reset()
            session.envelope.hello = "rio.example"
        return Reply(250, name or session.hostname)

    return handler


@pytest.mark.parametrize("wrong, says", [
    (lambda session, argument: session.reset(), "waits five minutes"),
    (lambda session, argument: Reply(250, session.hostname), "noted for"), (my_helo(pattern="match"), "Received"),
    (my_helo(pattern="search"), "Received"), (my_helo(reset="never"), "transaction still open"),
    (my_helo(reset="after"), "note the new one after it"), (my_helo(code=500), "HELO"),
    (my_helo(early=True), "501, and"),
    (my_helo(name="hello"), "session.hostname"), (at_home, "from the host mx.kyoto.example"),
    (lambda session, argument: "250 mail.tokyo.example", "has no code to say"),
])
def test_helo(wrong: Any, says: str) -> None:
    refused(lab.check_helo(wrong), says)


def test_helo_in_other_styles() -> None:
    assert lab.check_helo(my_helo()).passed and lab.check_helo(helo).passed

    def friendly(session: Any, argument: str) -> Any:
        reply = helo(session, argument)
        return Reply(250, f"{reply.text} hello there") if reply.positive else reply

    assert lab.check_helo(friendly).passed


# -- sender and recipient --


def sender(*, null: bool = True, domain: bool = True, what: str = "mailbox", early: bool = False) -> Any:
    def note(session: Any, path: Any) -> Any:
        if early:
            session.envelope.sender = path.mailbox
        if path == NULL_PATH and not null:
            return Reply(501, "no")
        if domain and path != NULL_PATH and not path.domain:
            return Reply(501, "no")
        session.envelope.sender = str(path) if what == "str" else path.local if what == "local" else path.mailbox
        return OK

    return note


def new_envelope(session: Any, path: Any) -> Any:
    if path != NULL_PATH and not path.domain:
        return Reply(501, "no")
    session.envelope = Envelope(path.mailbox)
    return OK


def by_identity(session: Any, path: Any) -> Any:
    if path is not NULL_PATH and not path.domain:
        return Reply(501, "no")
    session.envelope.sender = path.mailbox
    return OK


@pytest.mark.parametrize("wrong, says", [
    (new_envelope, "HELO has noted"), (by_identity, "501 to `MAIL FROM:<>`"),
    (lambda session, path: session.reset(), "waits five minutes"),
    (lambda session, path: OK, "noted as the sender"),
    (sender(null=False), "nobody ever learns"), (sender(domain=False), "no bounce can ever be sent"),
    (sender(what="str"), "mailbox"), (sender(what="local"), "mailbox"), (sender(early=True), "leaves no trace"),
    (lambda session, path: Reply(501, "no"), "501"),
])
def test_note_sender(wrong: Any, says: str) -> None:
    refused(lab.check_note_sender(wrong), says)


def recipient(*, null: bool = True, limit: str = "ge", code: int = 452, what: str = "append", first: str = "") -> Any:
    def note(session: Any, path: Any) -> Any:
        people, most = session.envelope.recipients, session.limits.max_recipients
        full = len(people) >= most if limit == "ge" else len(people) > most if limit == "gt" else False
        if first == "limit" and full:
            return Reply(code, "no")
        if null and path == NULL_PATH:
            return Reply(501, "no")
        if full:
            return Reply(code, "no")
        if what == "replace":
            session.envelope.recipients = [path.mailbox]
        elif what == "append":
            people.append(path.mailbox)
        return OK

    return note


@pytest.mark.parametrize("wrong, says", [
    (lambda session, path: session.envelope.recipients.append(path.mailbox), "waits five minutes"),
    (recipient(null=False), "for nobody"),
    (recipient(limit="gt"), "a million recipients"), (recipient(limit="none"), "a million recipients"),
    (recipient(code=552), "452 is due"), (recipient(what="replace"), "was a promise"),
    (recipient(what="nothing"), "was a promise"), (recipient(first="limit"), "501 is due"),
])
def test_note_recipient(wrong: Any, says: str) -> None:
    refused(lab.check_note_recipient(wrong), says)


def test_notes_in_other_styles() -> None:
    assert lab.check_note_sender(sender()).passed and lab.check_note_sender(note_sender).passed
    assert lab.check_note_recipient(recipient()).passed and lab.check_note_recipient(note_recipient).passed


# -- refuse --


def refuse(*order: str) -> Any:
    """The questions in an order, some of them left out."""

    def my_refuse(session: Any, line: bytes, command: Any) -> Any:
        verb = session.verbs.get(command.verb)
        for question in order:
            if question == "ascii" and (b"\0" in line or not line.isascii()):
                return Reply(501, "no")
            if question == "nul" and b"\0" in line:
                return Reply(501, "no")
            if question == "verb" and verb is None:
                return Reply(500, "no")
            if question == "turn" and session.state not in verb.moves:
                return Reply(503, "no")
            if question == "argument" and (reply := verb.misused(command)):
                return reply
        return None

    return my_refuse


def moves_as_well(session: Any, line: bytes, command: Any) -> Any:
    reply = refuse("ascii", "verb", "turn", "argument")(session, line, command)
    if reply is None:
        session.state = session.verbs[command.verb].moves[session.state]
    return reply


def by_the_common_table(session: Any, line: bytes, command: Any) -> Any:
    if b"\0" in line or not line.isascii():
        return Reply(501, "no")
    row = VERBS.get(command.verb)
    return (Reply(500, "no") if row is None else
            Reply(503, "no") if session.state not in row.moves else row.misused(command))


@pytest.mark.parametrize("wrong, says", [
    (by_the_common_table, "a table of its own"),
    (refuse("verb", "ascii", "turn", "argument"), "501"), (refuse("ascii", "verb", "argument", "turn"), "503"),
    (refuse("ascii", "verb", "turn"), "501"), (refuse("ascii", "verb", "argument"), "503"),
    (refuse("nul", "verb", "turn", "argument"), "501"), (refuse("ascii"), "503"), (moves_as_well, "only asks"),
    (lambda session, line, command: Reply(503, "no"), "is refused"), (lambda session, line, command: False, "or None"),
])
def test_refuse(wrong: Any, says: str) -> None:
    refused(lab.check_refuse(wrong), says)


def one_expression(session: Any, line: bytes, command: Any) -> Any:
    verb = session.verbs.get(command.verb)
    return (Reply(501, "a") if 0 in line or max(line, default=0) > 127 else Reply(500, "b") if not verb
            else Reply(503, "c") if session.state not in verb.moves else verb.misused(command))


def test_refuse_in_other_styles() -> None:
    assert lab.check_refuse(refuse("ascii", "verb", "turn", "argument")).passed
    assert lab.check_refuse(one_expression).passed
    assert refuse("ascii", "verb", "turn", "argument")(_session(), b"NOOP", parse_command(b"NOOP")) is None


def _session() -> Any:
    from smtp_from_scratch.session import Session

    return Session()


# -- limit errors --


def limits(*, bound: str = "gt", errors: range = range(500, 505), idle: str = "both", says: int = 421,
           early: bool = False, name: str = "idle commands", wrap: Any = lambda code: Reply(code, "enough")) -> Any:
    def my_limit_errors(session: Any, reply: Reply, verb: Any) -> Any:
        counts = session.counts
        if early and counts["errors"] > session.limits.max_errors:
            return Reply(421, "enough")
        counts["errors"] += reply.code in errors
        waiting = session.state in ("start", "ready")
        counts[name] += {"both": verb.idle or waiting, "verb": verb.idle, "state": waiting, "always": True,
                           "sum": verb.idle + waiting}[idle]
        for count, most in ((counts["errors"], session.limits.max_errors),
                            (counts[name], session.limits.max_idle_commands)):
            if not early and (count > most if bound == "gt" else count >= most):
                return wrap(says)
        return reply

    return my_limit_errors


@pytest.mark.parametrize("wrong, says", [
    (lambda session, reply, verb: reply, "keeps the line forever"), (limits(bound="ge"), "too early"),
    (limits(name="idle"), "by this name"), (limits(wrap=int), "Return a Reply each time"),
    (limits(errors=range(500, 600)), "refused recipients"), (limits(errors=range(500, 504)), "504"),
    (limits(errors=range(400, 505)), "451"), (limits(idle="verb"), "before a transaction"),
    (limits(idle="state"), "NOOPs within a transaction"), (limits(idle="always"), "five times 451"),
    (limits(idle="sum"), "before HELO"), (limits(says=500), "five errors"), (limits(early=True), "five errors"),
    (lambda session, reply, verb: Reply(421, "no"), "within the limits"),
])
def test_limit_errors(wrong: Any, says: str) -> None:
    refused(lab.check_limit_errors(wrong), says)


def test_limit_errors_in_other_styles() -> None:
    assert lab.check_limit_errors(limits()).passed and lab.check_limit_errors(limit_errors).passed
    stub = lab.check_limit_errors(lambda session, reply, verb: ...)
    assert not stub.passed and stub.problem is None


# -- one reply --


@pytest.mark.parametrize("wrong, says", [
    (lambda outcome: next(iter(outcome.values())), "never gets the message"),
    (lambda outcome: list(outcome.values())[-1], "for 550 250"),
    (lambda outcome: max(outcome.values(), key=lambda reply: reply.code), "gives up"),
    (lambda outcome: min(outcome.values(), key=lambda reply: reply.code), "never gets the message"),
    (lambda outcome: min(outcome.values(), key=lambda reply: reply.permanent), "never gets the message"),
    (lambda outcome: OK, "somebody else's"), (lambda outcome: outcome, "no code to say"),
    (lambda outcome: Reply(451, "later"), "tries for days"),
])
def test_one_reply(wrong: Any, says: str) -> None:
    refused(lab.check_one_reply(wrong), says)


def by_rank(outcome: Any) -> Any:
    return sorted(outcome.values(), key=lambda reply: {4: 0, 5: 1}.get(reply.code // 100, 2))[0]


def test_one_reply_in_other_styles() -> None:
    assert lab.check_one_reply(by_rank).passed and lab.check_one_reply(one_reply).passed


# -- exercises --

BUGS = {"A": (5, "ready"), "B": (7, "mail"), "C": (9, "mail"), "D": (9, "rcpt"), "E": (13, "ready")}


@pytest.mark.parametrize("wrong, says", [
    ({"A": (5, "start")}, "line is right"), ({"A": (4, "ready")}, "line 4"), ({"C": (9, "rcpt")}, "refused move"),
    ({"D": (8, "rcpt")}, "line 8"), ({"E": (11, "rcpt")}, "line 11"), ({"B": "7 mail"}, "a pair"),
    ({"A": ("ready", 5)}, "The line first"), ({"A": (4, "ready")}, "the client's"),
    ({"C": (7, "mail")}, "say the same"),
])
def test_bugs(wrong: dict[str, Any], says: str) -> None:
    refused(lab.check_session_bugs(BUGS | wrong), says)


def test_bugs_in_other_styles() -> None:
    assert lab.check_session_bugs(BUGS).passed
    assert lab.check_session_bugs({name: (str(line), state) for name, (line, state) in BUGS.items()}).passed
    assert lab.check_session_bugs({name: [line, f" {state.upper()}"] for name, (line, state) in BUGS.items()}).passed
    assert lab.check_session_bugs({"A": ...} | BUGS | {"A": ...}).problem is None


OPENING = [("HELO rio.example", 250), ("MAIL FROM:<ana@rio.example>", 250)]
NAMED = [*OPENING, ("RCPT TO:<kenji@tokyo.example>", 250)]


@pytest.mark.parametrize("wrong, says", [
    ([*OPENING], "does not occur"), ([*NAMED, ("RSET", 250)], "passes too"), ([("RSET now", 501)], "passes too"),
    ([*NAMED, ("RSET", 250), ("DATA", 354)], ""), ([*NAMED, "RSET"], "a line and a code"),
    ([*NAMED, ("RSET", 250, 1)], "step 4"),
])
def test_conviction(wrong: Any, says: str) -> None:
    refused(lab.check_conviction(wrong), says)


@pytest.mark.parametrize("right", [
    [*NAMED, ("RSET", 250), ("DATA", 503)], [*NAMED, ("rset", 250), ("MAIL FROM:<>", 250)],
    [*OPENING, ("RSET", 250), ("RCPT TO:<kenji@tokyo.example>", 503)],
    [[line, str(code)] for line, code in [*NAMED, ("RSET", 250), ("DATA", 503)]],
])
def test_convictions(right: Any) -> None:
    assert lab.check_conviction(right).passed


CODES = [250, 250, 503, 250, 250, 501, 354, 250, 503, 501]


@pytest.mark.parametrize("wrong, says", [
    (CODES[:-1], "9 codes"), ([*CODES[:6], 354, 221, 503, 501], "dot alone"), ([250, 501, *CODES[2:]], "null path"),
    ([*CODES[:3], 501, *CODES[4:]], "postmaster"), ([*CODES[:-1], 221], "stands alone"), ([250] * 10, "503|recipient"),
])
def test_codes(wrong: list[int], says: str) -> None:
    verdict = lab.check_session_codes(wrong)
    assert not verdict.passed and any(part in str(verdict) for part in says.split("|")), str(verdict)


def test_what_the_solutions_have() -> None:
    for cell, checks in (("my-rset-helo", {"my_rset": lab.check_rset, "my_helo": lab.check_helo}),
                         ("my-notes", {"my_note_sender": lab.check_note_sender,
                                       "my_note_recipient": lab.check_note_recipient}),
                         ("my-one-reply", {"my_one_reply": lab.check_one_reply})):
        names = solution("05_session", cell)
        for name, check in checks.items():
            assert check(names[name]).passed, name


def test_every_check_has_three_hints() -> None:
    for name in ("rset", "helo", "note_sender", "note_recipient", "refuse", "limit_errors", "one_reply", "session_bugs",
                 "conviction", "session_codes"):
        check = getattr(lab, f"check_{name}")
        assert len({str(check.hint(number)) for number in (1, 2, 3)}) == 3
    assert "RCPT" in VERBS


def breaks(*things: Any) -> Any:
    raise ZeroDivisionError("no reply")


def never_ends(*things: Any) -> Any:
    while True:
        pass


@pytest.mark.parametrize("name", ["rset", "helo", "note_sender", "note_recipient", "refuse", "limit_errors",
                                  "one_reply"])
def test_no_check_raises_or_hangs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check = getattr(lab, f"check_{name}")
    refused(check(breaks), "ZeroDivisionError")
    monkeypatch.setattr(check, "seconds", 0.2)
    refused(check(never_ends), "still running")


@pytest.mark.parametrize("right", [tuple(CODES), [str(code) for code in CODES], " ".join(map(str, CODES)),
                                   ", ".join(map(str, CODES))])
def test_codes_in_other_styles(right: Any) -> None:
    assert lab.check_session_codes(right).passed


@pytest.mark.parametrize("name", ["rset", "helo", "note_sender", "note_recipient", "refuse", "limit_errors",
                                  "one_reply", "session_bugs", "conviction", "session_codes"])
@pytest.mark.parametrize("thing", [42, "250 ok", ["a", "b"], {"A": "a"}, object()])
def test_things_of_another_kind_are_no_answers(name: str, thing: Any) -> None:
    verdict = getattr(lab, f"check_{name}")(thing)
    assert not verdict.passed and str(verdict)
