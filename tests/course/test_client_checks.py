"""The checks of `client` at wrong answers, each refused for its own reason, and at right ones in other styles."""
from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.client import (
    Receipt,
    SMTPConnectError,
    SMTPException,
    SMTPHeloError,
    SMTPResponseException,
    SMTPServerDisconnected,
    check_envelope,
    command,
    disconnected_by,
    greet,
    quit_if_refused,
    refuse_rest,
    send_body,
    transaction,
)
from smtp_from_scratch.conversation import Interruption, read_reply
from smtp_from_scratch.envelope import Envelope, stuff
from smtp_from_scratch.wire import Reply, WireError, encode_command


def problem(verdict: Any) -> str:
    """All that a verdict says; it must not have passed, and must say what is wrong."""
    assert not verdict.passed and verdict.problem is not None, str(verdict)
    return str(verdict)


def right(verdict: Any) -> None:
    assert verdict.passed, str(verdict)


def not_yet(verdict: Any) -> None:
    assert not verdict.passed and verdict.problem is None, str(verdict)


# --- disconnected_by --------------------------------------------------------------------------------------------------


def kept(error: Any, reply: Any) -> Any:
    error.reply = reply
    return error


def raising(reply: Reply) -> Any:
    raise disconnected_by(reply)


def shared(reply: Reply) -> Any:
    class Mine(SMTPServerDisconnected):
        pass

    kind = KINDS.setdefault("one", Mine)
    kind.reply = reply
    return kind(str(reply))


KINDS: dict[str, Any] = {}


@pytest.mark.parametrize("answer, says", [
    (shared, "two exceptions with one `reply`"),
    (lambda reply: SMTPServerDisconnected(str(reply)), "`reply` is not"),
    (lambda reply: kept(SMTPServerDisconnected("gone"), reply), "quote|says 'gone'"),
    (lambda reply: kept(SMTPException(str(reply)), reply), "as a server that has left"),
    (lambda reply: reply, "as a server that has left"), (raising, "raises SMTPServerDisconnected"),
    (lambda reply: kept(SMTPServerDisconnected(str(reply)), reply.code), "`reply` is not"),
])
def test_disconnected_by(answer: Any, says: str) -> None:
    told = problem(lab.check_disconnected_by(answer))
    assert any(words in told for words in says.split("|"))


def test_right_ways_to_be_disconnected() -> None:
    class MyOwn(SMTPServerDisconnected):
        def __init__(self, reply: Reply) -> None:
            super().__init__(reply.text.replace("\n", " "))
            self.reply = reply

    right(lab.check_disconnected_by(disconnected_by))
    right(lab.check_disconnected_by(MyOwn))
    not_yet(lab.check_disconnected_by(lambda reply: ...))


# --- command ----------------------------------------------------------------------------------------------------------


def deaf(verb: str, argument: str = "") -> Any:
    yield encode_command(verb, argument)
    return (yield from read_reply())


def strict(verb: str, argument: str = "") -> Any:
    yield encode_command(verb, argument)
    reply = yield from read_reply()
    if reply.code // 100 == 4:
        raise disconnected_by(reply)
    return reply


def unstarted(verb: str, argument: str = "") -> Any:
    yield encode_command(verb, argument)
    return read_reply()


def chatty(verb: str, argument: str = "") -> Any:
    yield b"NOOP\r\n"
    yield encode_command(verb, argument)
    return (yield from read_reply())


def wordless(verb: str, argument: str = "") -> Any:
    reply = yield from deaf(verb, argument)
    if reply.code == 421:
        raise SMTPServerDisconnected("gone")
    return reply


def refusing(verb: str, argument: str = "") -> Any:
    reply = yield from deaf(verb, argument)
    if not reply.positive:
        raise SMTPResponseException(reply)
    return reply


def untold(verb: str, argument: str = "") -> Any:
    return (yield from command(verb, argument))


def unheeding(verb: str, argument: str = "", timeout: float = 300.0) -> Any:
    return (yield from command(verb, argument))


def mute(verb: str, argument: str = "", timeout: float = 300.0) -> Any:
    encode_command(verb, argument)
    return (yield from read_reply(timeout))


def one_by_one(verb: str, argument: str = "", timeout: float = 300.0) -> Any:
    yield from encode_command(verb, argument)
    return (yield from read_reply(timeout))


def plain_yield(verb: str, argument: str = "", timeout: float = 300.0) -> Any:
    yield encode_command(verb, argument)
    return (yield read_reply(timeout))


@pytest.mark.parametrize("answer, says", [
    (mute, "has said nothing"), (one_by_one, "played by `yield from`"), (plain_yield, "played by `yield from`"),
    (untold, "cannot be told how long"), (unheeding, "told to wait 7"), (deaf, "closed door"),
    (strict, "450 later"), (unstarted, "nobody has started"), (chatty, "NOOP"),
    (wordless, "without the reply"), (refusing, "550 no"),
])
def test_command(answer: Any, says: str) -> None:
    assert says in problem(lab.check_command(answer))


def test_right_commands() -> None:
    def by_hand(verb: str, argument: str = "", patience: float = 300.0) -> Any:
        yield (f"{verb} {argument}".strip() + "\r\n").encode()
        reply = yield from read_reply(patience)
        if reply.code != 421:
            return reply
        error = SMTPServerDisconnected(str(reply))
        error.reply = reply
        raise error

    right(lab.check_command(command))
    right(lab.check_command(by_hand))


# --- greet ------------------------------------------------------------------------------------------------------------


def hasty(hostname: str) -> Any:
    reply = yield from command("HELO", hostname)
    return reply


def trusting(hostname: str) -> Any:
    yield from read_reply()
    return (yield from command("HELO", hostname))


def only_250(hostname: str) -> Any:
    greeting = yield from read_reply()
    if greeting.code != 220:
        raise SMTPConnectError(greeting)
    reply = yield from command("HELO", hostname)
    if reply.code != 250:
        raise SMTPHeloError(reply)
    return reply


def one_kind(hostname: str) -> Any:
    greeting = yield from read_reply()
    if not greeting.positive:
        raise SMTPHeloError(greeting)
    return (yield from command("HELO", hostname))


def nameless(hostname: str) -> Any:
    greeting = yield from read_reply()
    if not greeting.positive:
        raise SMTPConnectError(greeting)
    return (yield from command("HELO"))


def lenient(hostname: str) -> Any:
    greeting = yield from read_reply()
    if not greeting.positive:
        raise SMTPConnectError(greeting)
    return (yield from command("HELO", hostname))


def greets(*, host: str = "", about_hello: bool = True, kind: Any = SMTPConnectError) -> Any:
    def my_greet(hostname: str) -> Any:
        greeting = yield from read_reply()
        if not greeting.positive:
            raise kind(greeting, "greeting")
        hello = yield from command("HELO", host or hostname)
        if not hello.positive:
            raise SMTPHeloError(hello if about_hello else greeting, "HELO")
        return hello

    return my_greet


@pytest.mark.parametrize("answer, says", [
    (greets(host="rio.example"), "called lima.example"), (greets(about_hello=False), "the wrong reason"),
    (greets(kind=lambda reply, about: SMTPConnectError()), "raises TypeError in line"),  # type: ignore[call-arg]
    (hasty, "That is the greeting."), (trusting, "no service"), (only_250, "299 odd"), (one_kind, "554"),
    (nameless, "with the name"), (lenient, "550 not you"),
])
def test_greet(answer: Any, says: str) -> None:
    assert says in problem(lab.check_greet(answer))


def test_right_greetings() -> None:
    def kinder(hostname: str) -> Any:
        for verb, kind in (("", SMTPConnectError), ("HELO", SMTPHeloError)):
            reply = yield from (command(verb, hostname) if verb else read_reply())
            if reply.code >= 300:
                raise kind(reply, verb)
        return reply

    right(lab.check_greet(greet))
    right(lab.check_greet(kinder))


# --- the receipt ------------------------------------------------------------------------------------------------------


@dataclass
class Base:
    sender: str
    recipients: dict[str, Reply] = field(default_factory=dict)
    refused_by: str = ""
    reply: Reply | None = None

    @property
    def accepted(self) -> Any:
        return [] if self.refused_by else [a for a, reply in self.recipients.items() if reply.positive]

    @property
    def refused(self) -> Any:
        return {a: reply for a, reply in self.recipients.items() if self.refused_by or not reply.positive}


class Optimist(Base):
    @property
    def accepted(self) -> Any:
        return [a for a, reply in self.recipients.items() if reply.positive]


class Only250(Base):
    @property
    def accepted(self) -> Any:
        return [] if self.refused_by else [a for a, reply in self.recipients.items() if reply.code == 250]


class Forgetful(Base):
    @property
    def refused(self) -> Any:
        return {a: reply for a, reply in self.recipients.items() if not reply.positive}


class NoReplies(Base):
    @property
    def refused(self) -> Any:
        return [a for a in self.recipients if a not in self.accepted]


class Kinder(Base):
    @property
    def accepted(self) -> Any:
        return [] if self.refused_by else [a for a, reply in self.recipients.items() if reply.code < 400]


class Lazy(Base):
    @property
    def accepted(self) -> Any:
        return (a for a, reply in self.recipients.items() if reply.positive and not self.refused_by)


class Methods(Base):
    accepted: Any = lambda self: []
    refused: Any = lambda self: {}


EVERYBODY: dict[str, Reply] = {}


@dataclass
class Shared(Base):
    recipients: dict[str, Reply] = field(default_factory=lambda: EVERYBODY)


@pytest.mark.parametrize("answer, says", [
    (Optimist, "no longer counts"), (Only250, "first digit decides"), (Forgetful, "no longer counts"),
    (NoReplies, "address and reply"), (Kinder, "accepts nobody"), (Shared, "share one dictionary"),
    (Lazy, "A list of addresses"), (Methods, "`@property`"),
])
def test_receipt(answer: Any, says: str) -> None:
    assert says in problem(lab.check_receipt(answer))


def test_right_receipts() -> None:
    class MyOther:
        def __init__(self, sender: str) -> None:
            self.sender, self.recipients, self.refused_by, self.reply = sender, dict[str, Reply](), "", None

        @property
        def accepted(self) -> Any:
            return [a for a in self.recipients if a not in self.refused]

        @property
        def refused(self) -> Any:
            found = {}
            for address, reply in self.recipients.items():
                if self.refused_by != "" or reply.code // 100 != 2:
                    found[address] = reply
            return found

    right(lab.check_receipt(Receipt))
    right(lab.check_receipt(Base))
    right(lab.check_receipt(MyOther))


# --- send_body --------------------------------------------------------------------------------------------------------


def body_deaf(receipt: Receipt, body: Any) -> Any:
    yield from command("DATA")
    yield from stuff(body)
    reply = yield from read_reply()
    receipt.recipients |= dict.fromkeys(receipt.accepted, reply)
    receipt.reply = reply
    return receipt


def body_unstuffed(receipt: Receipt, body: Any) -> Any:
    reply = yield from command("DATA")
    if reply.code // 100 != 3:
        return refuse_rest(receipt, "DATA", reply, receipt.accepted)
    yield b"".join(body) + b".\r\n"
    reply = yield from read_reply()
    if not reply.positive:
        return refuse_rest(receipt, "body", reply, receipt.accepted)
    receipt.recipients |= dict.fromkeys(receipt.accepted, reply)
    receipt.reply = reply
    return receipt


def body_of(*, code: Any = lambda reply: reply.code // 100 != 3, where: str = "body", everybody: bool = False,
            leaves: Any = disconnected_by, last: Any = lambda reply: reply.positive, kept: bool = True) -> Any:
    """A right answer, and what makes it wrong."""
    def my_send_body(receipt: Receipt, body: Any) -> Any:
        reply = yield from command("DATA")
        if code(reply):
            return refuse_rest(receipt, "DATA", reply, receipt.accepted)
        yield from stuff(body)
        reply = yield from read_reply()
        if reply.code == 421 and leaves:
            raise leaves(reply)
        people = list(receipt.recipients) if everybody else receipt.accepted
        if not last(reply):
            return refuse_rest(receipt, where, reply, people)
        receipt.recipients |= dict.fromkeys(people, reply)
        receipt.reply = reply if kept else None
        return receipt

    return my_send_body


@pytest.mark.parametrize("answer, says", [
    (body_deaf, "would take the text for commands"), (body_unstuffed, "to Monday"),
    (body_of(code=lambda reply: reply.code != 354), "334"), (body_of(code=lambda reply: reply.code >= 400), "250 what"),
    (body_of(where="DATA"), "refused_by = DATA"), (body_of(everybody=True), "kenji"),
    (body_of(leaves=None), "421 after the text"), (body_of(kept=False), "reply = None"),
    (body_of(leaves=lambda reply: SMTPServerDisconnected(str(reply))), "without the reply"),
    (body_of(last=lambda reply: reply.code < 400), "354 more"),
    (body_of(last=lambda reply: reply.code < 500), "450-not"),
])
def test_send_body(answer: Any, says: str) -> None:
    assert says in problem(lab.check_send_body(answer))


def test_right_bodies() -> None:
    right(lab.check_send_body(send_body))
    right(lab.check_send_body(body_of()))
    right(lab.check_send_body(body_of(code=lambda reply: str(reply.code)[0] != "3")))


# --- transaction ------------------------------------------------------------------------------------------------------


def whole(*, checked: bool = True, stops: bool = False, asks_all: bool = True, rset: Any = ("RCPT", "DATA"),
          mail: bool = True, careful: Any = (Interruption, SMTPServerDisconnected), careless: Any = (),
          keyword: str = "TO:") -> Any:
    """A right answer, and what makes it wrong."""
    def my_transaction(envelope: Envelope, body: Any) -> Any:
        paths = check_envelope(envelope)[1] if checked else {a: f"<{a}>" for a in envelope.recipients}
        receipt = Receipt(envelope.sender)
        reply = yield from command("MAIL", f"FROM:<{envelope.sender}>")
        if mail and not reply.positive:
            return refuse_rest(receipt, "MAIL", reply, paths)
        for address, path in paths.items():
            with contextlib.suppress(*careless):
                receipt.recipients[address] = yield from command("RCPT", f"{keyword}{path}")
            if stops and not receipt.recipients[address].positive:
                break
        if receipt.accepted or not asks_all:
            yield from send_body(receipt, body)
        else:
            receipt.refused_by = "RCPT"
        if receipt.refused_by in rset:
            with contextlib.suppress(*careful):
                yield from command("RSET")
        return receipt

    return my_transaction


@pytest.mark.parametrize("answer, says", [
    (whole(checked=False), "bad address"), (whole(stops=True), "RCPT"), (whole(asks_all=False), "No DATA"),
    (whole(rset=()), "RSET"), (whole(rset=("RCPT", "DATA", "body")), "no word more"), (whole(rset=("RCPT",)), "RSET"),
    (whole(mail=False), "MAIL"), (whole(careful=()), "has forgotten MAIL"),
    (whole(careful=[Interruption]), "421 leaving"),
    (whole(careless=[Interruption, SMTPServerDisconnected]), "nothing before it"),
    (whole(keyword=""), "Compare 'RCPT <yui@tokyo.example>' with 'RCPT TO:<yui@tokyo.example>'"),
])
def test_transaction(answer: Any, says: str) -> None:
    assert says in problem(lab.check_transaction(answer))


def test_right_transactions() -> None:
    right(lab.check_transaction(transaction))
    right(lab.check_transaction(whole()))


# --- deliver ----------------------------------------------------------------------------------------------------------


def session(*, farewell: Any = (Interruption, SMTPServerDisconnected, WireError), goodbye: bool = True,
            each: bool = True, lazy: bool = False, opening: Any = lambda host: quit_if_refused(greet(host))) -> Any:
    """A right answer, and what makes it wrong."""
    def my_deliver(hostname: str, messages: Any) -> Any:
        receipts = []
        with contextlib.suppress(*(farewell if lazy else ())):
            yield from opening(hostname)
            for envelope, body in messages:
                receipts.append((yield from transaction(envelope, body)))
                if not each:
                    break
            if goodbye:
                with contextlib.suppress(*farewell):
                    yield from command("QUIT")
        return receipts

    return my_deliver


def quits_after_each(hostname: str, messages: Any) -> Any:
    receipts = []
    yield from quit_if_refused(greet(hostname))
    for envelope, body in messages:
        receipts.append((yield from transaction(envelope, body)))
        with contextlib.suppress(Interruption, SMTPServerDisconnected, WireError):
            yield from command("QUIT")
    return receipts


def slams_the_door(hostname: str, messages: Any) -> Any:
    receipts = []
    yield from quit_if_refused(greet(hostname))
    for envelope, body in messages:
        receipts.append((yield from transaction(envelope, body)))
    yield encode_command("QUIT")
    return receipts


def adds(hostname: str, messages: Any) -> Any:
    receipts: list[Receipt] = []
    yield from quit_if_refused(greet(hostname))
    for envelope, body in messages:
        receipts += yield from transaction(envelope, body)
    return receipts


@pytest.mark.parametrize("answer, says", [
    (slams_the_door, "does not read the answer"), (adds, "raises TypeError in line"),
    (session(farewell=()), "hangs up at QUIT"), (session(farewell=(Interruption,)), "421 to QUIT"),
    (session(farewell=(Interruption, SMTPServerDisconnected)), "nonsense to QUIT"),
    (session(goodbye=False), "one QUIT"), (session(each=False), "two letters"), (quits_after_each, "without letters"),
    (session(lazy=True), "breaks after MAIL"), (session(opening=greet), "waits for QUIT"),
])
def test_deliver(answer: Any, says: str) -> None:
    assert says in problem(lab.check_deliver(answer))


def test_right_sessions() -> None:
    def with_try(hostname: str, messages: Any) -> Any:
        yield from quit_if_refused(greet(hostname))
        done = []
        for message in messages:
            receipt = yield from transaction(*message)
            done += [receipt]
        try:
            yield from command("QUIT")
        except Exception:
            pass
        return done

    right(lab.check_deliver(session()))
    right(lab.check_deliver(with_try))


# --- exercises --------------------------------------------------------------------------------------------------------

BUGS = {"A": 8, "B": 4, "C": 6, "D": 8}


@pytest.mark.parametrize("wrong, says", [
    ({"A": 9}, "asked for DATA"), ({"B": 3}, "fourth octet"), ({"C": 5}, "still listen"), ({"D": 6}, "same words"),
    ({"A": "DATA"}, "line DATA"), ({"A": 9}, "does not say that line"), ({"D": 6}, "says the same there"),
    ({"B": 7}, "has been made"),
])
def test_bugs(wrong: dict[str, Any], says: str) -> None:
    assert says in problem(lab.check_client_bugs(BUGS | wrong))


def test_right_bugs() -> None:
    right(lab.check_client_bugs(BUGS))
    right(lab.check_client_bugs({name: str(line) for name, line in BUGS.items()}))
    not_yet(lab.check_client_bugs({"A": 8}))


CUTS: dict[str, Any] = dict.fromkeys("ABC", ("again", "drop")) | dict.fromkeys("DE", ("again", "deliver")) | {
    "F": ("forget", "deliver")}


@pytest.mark.parametrize("wrong, says", [
    ({"A": ("again", "deliver")}, "no lone dot"), ({"B": ("forget", "deliver")}, "the text goes on"),
    ({"C": ("again", "deliver")}, "promised nothing"), ({"D": ("forget", "deliver")}, "never heard that"),
    ({"D": ("again", "drop")}, "its own"), ({"E": ("forget", "deliver")}, "half a reply"),
    ({"F": ("again", "deliver")}, "changes nothing"), ({"A": ("drop", "again")}, "cut A"), ({"A": "again"}, "cut A"),
])
def test_cuts(wrong: dict[str, Any], says: str) -> None:
    assert says in problem(lab.check_cuts(CUTS | wrong))


def test_right_cuts() -> None:
    right(lab.check_cuts(CUTS))
    right(lab.check_cuts({name: [word.upper() for word in pair] for name, pair in CUTS.items()}))
    right(lab.check_cuts({name: ", ".join(pair) for name, pair in CUTS.items()}))
    not_yet(lab.check_cuts(CUTS | {"C": ("again", ...)}))


def my_fate(reply: Reply | None, about: str) -> str:
    if about == "body" and reply is not None and 200 <= reply.code < 300:
        return "done"
    never = reply is not None and reply.code >= 500 and (about, reply.code) != ("RCPT", 552)
    return "bounce" if never else "retry"


@pytest.mark.parametrize("answer, says", [
    (lambda reply, about: "retry", "second copy"),
    (lambda reply, about: "done" if reply and reply.positive else my_fate(reply, about), "I would"),
    (lambda reply, about: "bounce" if reply and reply.permanent else my_fate(reply, about), "452"),
    (lambda reply, about: my_fate(reply, about) if reply else "bounce", "Rather twice"),
    (lambda reply, about: {550: "bounce", 554: "bounce"}.get(reply.code if reply else 0, my_fate(reply, about))
     if not reply or reply.code != 571 else "retry", "571"),
    (lambda reply, about: None if reply and reply.code == 250 else my_fate(reply, about), "three words"),
])
def test_fate(answer: Any, says: str) -> None:
    assert says in problem(lab.check_fate(answer))


def test_right_fates() -> None:
    right(lab.check_fate(my_fate))
    right(lab.check_fate(lambda reply, about: my_fate(reply, about).capitalize()))

    def by_digits(reply: Reply | None, command: str) -> str:
        match (reply.code // 100 if reply else 4, command, reply.code if reply else 0):
            case 2, "body", _:
                return "done"
            case 5, "RCPT", 552:
                return "retry"
            case 5, _, _:
                return "bounce"
        return "retry"

    right(lab.check_fate(by_digits))


def split(again: Any) -> Any:
    def my_split(envelope: Envelope, body: Any) -> Any:
        replies: dict[str, Reply] = {}
        waiting = envelope.recipients
        while waiting:
            receipt = yield from transaction(Envelope(envelope.sender, waiting), body)
            replies |= receipt.recipients
            waiting = again(receipt)
        return replies

    return my_split


@pytest.mark.parametrize("again, says", [
    (lambda receipt: [], "1 transaction "),
    (lambda receipt: [a for a, reply in receipt.refused.items() if reply.code == 452], "never stops"),
    (lambda receipt: [a for a, reply in receipt.refused.items() if reply.temporary and receipt.accepted],
     "transactions"),
    (lambda receipt: list(receipt.refused) if receipt.accepted else [], "transactions"),
    (lambda receipt: receipt.accepted, "never stops"),
])
def test_split(again: Any, says: str) -> None:
    assert says in problem(lab.check_split(split(again)))


def test_right_splits() -> None:
    def recursive(envelope: Envelope, body: Any) -> Any:
        receipt = yield from transaction(envelope, body)
        rest = [a for a, reply in receipt.recipients.items() if reply.code == 452] if receipt.accepted else []
        more = (yield from recursive(Envelope(envelope.sender, rest), body)) if rest else {}
        return receipt.recipients | more

    right(lab.check_split(recursive))
    right(lab.check_split(split(lambda receipt: [a for a, reply in receipt.refused.items()
                                                 if reply.code == 452 and receipt.accepted])))


def test_what_is_untouched_is_not_answered_yet() -> None:
    def nothing(*given: Any) -> Any: ...

    for check in (lab.check_command, lab.check_greet, lab.check_send_body, lab.check_transaction, lab.check_deliver,
                  lab.check_fate, lab.check_split):
        not_yet(check(nothing))
        for number in (1, 2, 3):
            assert check.hint(number)


# --- what breaks, and what never ends ---------------------------------------------------------------------------------


def breaks(*things: Any) -> Any:
    raise ZeroDivisionError("no letter")


def breaks_later(*things: Any) -> Any:
    yield from read_reply()
    raise ZeroDivisionError("no letter")


def never_ends(*things: Any) -> Any:
    while True:
        pass


class Broken(Base):
    @property
    def accepted(self) -> Any:
        raise ZeroDivisionError("no letter")


class Endless(Base):
    @property
    def accepted(self) -> Any:
        while True:
            pass


TALKS = ("command", "greet", "send_body", "transaction", "deliver", "split")


@pytest.mark.parametrize("name, broken, endless", [
    *[(name, breaks, never_ends) for name in (*TALKS, "disconnected_by", "fate")], ("receipt", Broken, Endless)])
def test_no_check_raises_or_hangs(name: str, broken: Any, endless: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check = getattr(lab, f"check_{name}")
    assert "ZeroDivisionError" in problem(check(broken))
    monkeypatch.setattr(check, "seconds", 0.2)
    assert "still running" in problem(check(endless))


@pytest.mark.parametrize("name", TALKS)
def test_what_breaks_in_the_middle_of_a_session_is_a_problem(name: str) -> None:
    problem(getattr(lab, f"check_{name}")(breaks_later))


@pytest.mark.parametrize("name", (*TALKS, "disconnected_by", "fate", "receipt", "client_bugs", "cuts"))
@pytest.mark.parametrize("thing", [42, "250 ok", ["a", "b"], {"A": "a"}, object()])
def test_things_of_another_kind_are_no_answers(name: str, thing: Any) -> None:
    verdict = getattr(lab, f"check_{name}")(thing)
    assert not verdict.passed and str(verdict)
