"""The checks of `transaction` at wrong answers, each refused for its own reason, and at right ones in other styles."""
from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.client import (
    DATA_TIMEOUT,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPServerDisconnected,
    refuse_rest,
)
from smtp_from_scratch.conversation import Interruption, Line, rehearse
from smtp_from_scratch.ehlo import Extension, read_offers
from smtp_from_scratch.envelope import Envelope, stuff
from smtp_from_scratch.transaction import (
    ClientSession,
    OutgoingMessage,
    Plan,
    PlannedCommand,
    data,
    hello,
    leave,
    open_session,
    settle_body,
    settle_data,
    settle_mail,
    settle_rcpt,
)
from smtp_from_scratch.wire import CRLF, Reply, WireError
from tests.course.hopeless import broken, endless, refuses_other_forms, refuses_the_hopeless
from tests.course.test_client_checks import not_yet, problem, right

# --- hello -----------------------------------------------------------------------------------------------------------


def hello_that(*, helo: Any = lambda reply: reply.permanent, learns: Any = read_offers, forgets: bool = True,
               raises: bool = True, last: bool = True) -> Any:
    """A right answer, and what makes it wrong."""
    def my_hello(client: Any) -> Any:
        if forgets:
            client.learn({})
        first = reply = yield from client.command("EHLO", client.hostname)
        if reply.positive:
            client.learn(learns(reply))
        elif helo(reply):
            reply = yield from client.command("HELO", client.hostname)
        if raises and not reply.positive:
            raise SMTPHeloError(reply, "EHLO")
        return reply if last else first

    return my_hello


def says_rio(client: Any) -> Any:
    client.learn({})
    reply = yield from client.command("EHLO", "rio.example")
    if reply.positive:
        client.learn(read_offers(reply))
    elif reply.permanent:
        reply = yield from client.command("HELO", "rio.example")
    if not reply.positive:
        raise SMTPHeloError(reply, "EHLO")
    return reply


def plain_yield(client: Any) -> Any:
    return (yield client.command("EHLO", client.hostname))


@pytest.mark.parametrize("answer, says", [
    (hello_that(helo=lambda reply: True), "451 later"), (hello_that(helo=lambda reply: False), "HELO rio.example"),
    (hello_that(helo=lambda reply: reply.code == 500), "502 no"), (hello_that(forgets=False), "offered"),
    (hello_that(learns=lambda reply: {}), "offered"), (hello_that(raises=False), "cannot begin"),
    (hello_that(last=False), "That was a welcome"),
    (hello_that(learns=lambda reply: dict.fromkeys(reply.lines[1:], "")), "offered"),
    (says_rio, "`client.hostname` is its name"), (plain_yield, "played by `yield from`"),
])
def test_hello(answer: Any, says: str) -> None:
    assert says in problem(lab.check_hello(answer))


def test_right_hellos() -> None:
    def loop(client: Any) -> Any:
        client.learn({})
        for verb in ("EHLO", "HELO"):
            reply = yield from client.command(verb, client.hostname)
            if verb == "EHLO" and reply.positive:
                client.learn(read_offers(reply))
            if not reply.permanent:
                break
        if reply.code >= 300:
            raise SMTPHeloError(reply, verb)
        return reply

    right(lab.check_hello(hello))
    right(lab.check_hello(hello_that()))
    right(lab.check_hello(loop))


# --- what replies mean -----------------------------------------------------------------------------------------------


def mail_that(*, opens: Any = lambda reply: reply.positive, refuses: Any = lambda reply: not reply.positive,
              where: str = "MAIL", first_only: bool = False) -> Any:
    def my_settle_mail(plan: Any, reply: Reply) -> None:
        plan.client.open = opens(reply)
        if refuses(reply):
            people = plan.message.envelope.recipients
            refuse_rest(plan.receipt, where, reply, people[:1] if first_only else people)

    return my_settle_mail


@pytest.mark.parametrize("answer, says", [
    (mail_that(opens=lambda reply: True), "client.open"), (mail_that(refuses=lambda reply: reply.permanent), "451"),
    (mail_that(where="RCPT"), "refused_by"), (mail_that(first_only=True), "receipt.refused"),
    (mail_that(opens=lambda reply: reply.code < 400), "354"),
    (lambda plan, reply: settle_mail(plan, Reply(550)), "250"),
])
def test_settle_mail(answer: Any, says: str) -> None:
    assert says in problem(lab.check_settle_mail(answer))


def test_right_ways_to_settle_mail() -> None:
    def by_hand(plan: Any, reply: Reply) -> None:
        plan.client.open = 200 <= reply.code < 300
        if not plan.client.open:
            for recipient in plan.message.envelope.recipients:
                plan.receipt.recipients[recipient] = reply
            plan.receipt.refused_by, plan.receipt.reply = "MAIL", reply

    right(lab.check_settle_mail(settle_mail))
    right(lab.check_settle_mail(by_hand))
    not_yet(lab.check_settle_mail(lambda plan, reply: None))


def rcpt_that(*, stays: bool = True, ends: bool = True, early: bool = False, negative: bool = False) -> Any:
    def my_settle_rcpt(plan: Any, recipient: str, reply: Reply) -> None:
        receipt = plan.receipt
        if stays and plan.failed:
            return
        if reply.positive or not negative:
            receipt.recipients[recipient] = reply
        if ends and not receipt.accepted and (early or len(receipt.recipients) == plan.recipient_count):
            receipt.refused_by = "RCPT"

    return my_settle_rcpt


def of_two(plan: Any, recipient: str, reply: Reply) -> None:
    if not plan.failed:
        plan.receipt.recipients[recipient] = reply
        if len(plan.receipt.refused) == 2:
            plan.receipt.refused_by = "RCPT"


def first_refusal(plan: Any, recipient: str, reply: Reply) -> None:
    plan.receipt.recipients[recipient] = reply
    if not reply.positive:
        plan.receipt.refused_by = "RCPT"


@pytest.mark.parametrize("answer, says", [
    (rcpt_that(stays=False), "plan.failed"), (rcpt_that(ends=False), "refused_by"), (rcpt_that(early=True), "refused"),
    (rcpt_that(negative=True), "receipt.re"), (first_refusal, "has ended it"),
    (of_two, "for 3"),
    (lambda plan, recipient, reply: settle_rcpt(plan, "kenji@tokyo.example", reply), "receipt"),
])
def test_settle_rcpt(answer: Any, says: str) -> None:
    assert says in problem(lab.check_settle_rcpt(answer))


def test_right_ways_to_settle_rcpt() -> None:
    def by_count(plan: Any, recipient: str, reply: Reply) -> None:
        if plan.receipt.refused_by:
            return
        plan.receipt.recipients |= {recipient: reply}
        refused = sum(not r.positive for r in plan.receipt.recipients.values())
        if refused == plan.recipient_count:
            plan.receipt.refused_by = "RCPT"

    right(lab.check_settle_rcpt(settle_rcpt))
    right(lab.check_settle_rcpt(rcpt_that()))
    right(lab.check_settle_rcpt(by_count))
    not_yet(lab.check_settle_rcpt(lambda plan, recipient, reply: None))


def body_that(*, closes: bool = True, stays: bool = True, taken: Any = lambda reply: reply.positive,
              everybody: bool = False, where: str = "body", notes: bool = True) -> Any:
    def my_settle_body(plan: Any, reply: Reply) -> None:
        receipt = plan.receipt
        plan.client.open = plan.client.open and not closes
        if stays and plan.failed:
            return
        people = list(receipt.recipients) if everybody else receipt.accepted
        if not taken(reply):
            refuse_rest(receipt, where, reply, people)
            return
        receipt.recipients |= dict.fromkeys(people, reply)
        receipt.reply = reply if notes else None

    return my_settle_body


@pytest.mark.parametrize("answer, says", [
    (body_that(closes=False), "does the server hold a MAIL"),
    (body_that(stays=False), "receipt"), (body_that(everybody=True), "yui"),
    (body_that(taken=lambda reply: True), "552"), (body_that(where="DATA"), "refused_by"),
    (body_that(notes=False), "receipt.reply"), (body_that(taken=lambda reply: reply.code < 400), "354"),
])
def test_settle_body(answer: Any, says: str) -> None:
    assert says in problem(lab.check_settle_body(answer))


def test_right_ways_to_settle_the_body() -> None:
    right(lab.check_settle_body(settle_body))
    right(lab.check_settle_body(body_that()))
    right(lab.check_settle_body(body_that(taken=lambda reply: reply.code // 100 == 2)))
    not_yet(lab.check_settle_body(lambda plan, reply: None))


# --- data ------------------------------------------------------------------------------------------------------------


def data_that(*, looks: bool = True, invites: Any = lambda reply: reply.code // 100 == 3, empties: bool = True,
              flies: bool = False, settles: bool = True, raw: bool = False) -> Any:
    def my_data(plan: Any) -> Any:
        if looks and plan.failed:
            return
        command = PlannedCommand("DATA", timeout=DATA_TIMEOUT, may_fly=flies, settle=partial(settle_data, plan))
        yield command
        if invites(command.reply):
            def octets() -> Any:
                body = () if empties and plan.failed else plan.message.body
                return body if raw else stuff(body)

            yield PlannedCommand("", octets=octets, may_fly=True,
                                 **({"settle": partial(settle_body, plan)} if settles else {}))

    return my_data


@pytest.mark.parametrize("answer, says", [
    (data_that(looks=False), "plan.failed"), (data_that(invites=lambda reply: True), "451 to DATA"),
    (data_that(invites=lambda reply: reply.code == 354), "334"), (data_that(empties=False), "lone dot"),
    (data_that(flies=True), "would leave before the 354"), (data_that(settles=False), "settle_body"),
    (data_that(raw=True), "It should say"), (data_that(invites=lambda reply: reply.code < 400), "invites nobody"),
])
def test_data(answer: Any, says: str) -> None:
    assert says in problem(lab.check_data(answer))


def test_right_data() -> None:
    def eager_look(plan: Any) -> Any:
        if not plan.failed:
            ask = PlannedCommand("DATA", settle=lambda reply: settle_data(plan, reply))
            yield ask
            if str(ask.reply.code).startswith("3"):    # type: ignore[union-attr]
                yield PlannedCommand("", octets=lambda: stuff([] if plan.receipt.refused_by else plan.message.body),
                                     settle=lambda reply: settle_body(plan, reply))

    right(lab.check_data(data))
    right(lab.check_data(data_that()))
    right(lab.check_data(eager_look))


# --- leave -----------------------------------------------------------------------------------------------------------


def leave_that(*, caught: Any = (Interruption, SMTPServerDisconnected, WireError), looks: bool = True,
               says: str = "QUIT", gives: bool = True) -> Any:
    def my_leave(client: Any) -> Any:
        goodbye = PlannedCommand(says)
        try:
            yield from client.send(goodbye)
        except caught:
            if looks and client.unanswered and client.unanswered[0] is not goodbye:
                raise
        return goodbye.reply if gives else None

    return my_leave


@pytest.mark.parametrize("answer, says", [
    (leave_that(caught=()), "a line that breaks"), (leave_that(looks=False), "nobody is told"),
    (leave_that(caught=(Interruption, SMTPServerDisconnected)), "nonsense to QUIT"),
    (leave_that(caught=(SMTPServerDisconnected, WireError)), "a line that breaks"),
    (leave_that(gives=False), "for 221"), (leave_that(says="RSET"), "One QUIT"),
    (leave_that(caught=Exception, looks=False), "nobody is told"),
    (lambda client: client.send(PlannedCommand("QUIT")), "None for 221"),
])
def test_leave(answer: Any, says: str) -> None:
    assert says in problem(lab.check_leave(answer))


def test_right_ways_to_leave() -> None:
    def in_two_steps(client: Any) -> Any:
        yield from client.read_replies()
        goodbye = PlannedCommand("QUIT")
        with suppress(Interruption, SMTPServerDisconnected, WireError):
            yield from client.send(goodbye)
        return goodbye.reply

    right(lab.check_leave(leave))
    right(lab.check_leave(leave_that()))
    right(lab.check_leave(in_two_steps))


# --- exercises -------------------------------------------------------------------------------------------------------

NEXT: dict[str, Any] = {"A": "HELO rio.example", "B": "DATA", "C": "RSET", "D": "QUIT",
                        "E": "MAIL FROM:<ana@rio.example>", "F": "RSET", "G": None}
BEFORE = ["250 mx", "250 ok"]
HEARD: dict[str, tuple[int, list[str]]] = {     # letters, and what the server says after its greeting
    "A": (1, ["502 what?"]), "B": (1, [*BEFORE, "250 ok", "550 no"]), "C": (2, [*BEFORE, "550 no", "550 no"]),
    "D": (1, [*BEFORE, "550 no", "550 no"]), "E": (2, [*BEFORE, "250 ok", "250 ok", "354 go on", "552 full"]),
    "F": (2, [*BEFORE, "250 ok", "250 ok", "451 later"]), "G": (2, [*BEFORE, "421 leaving"]),
}


@pytest.mark.parametrize("name", HEARD)
def test_our_client_says_next_what_the_exercise_says(name: str) -> None:
    letters, replies = HEARD[name]
    said: list[bytes] = []

    def server() -> Any:
        for reply in ["220 hi", *replies]:
            yield reply.encode() + CRLF
            said.append((yield Line()))
            while reply.startswith("354") and said[-1] != b".":
                said.append((yield Line()))

    def session() -> Any:
        client = ClientSession("rio.example")
        yield from open_session(client)
        for _ in range(letters):
            to_both = Envelope("ana@rio.example", ["kenji@tokyo.example", "yui@tokyo.example"])
            yield from Plan(client, OutgoingMessage(to_both, [b"Monday\r\n"])).run()
        yield from leave(client)

    with suppress(Interruption, SMTPServerDisconnected):
        rehearse(session(), server())
    assert said[-1].decode() == NEXT[name] if NEXT[name] else said[-1].startswith(b"RCPT")


@pytest.mark.parametrize("wrong, says", [
    ({"A": "EHLO rio.example"}, "in 1982"), ({"A": "HELO"}, "in 1982"), ({"A": None}, "in 1982"),
    ({"B": "RSET"}, "may still get it"), ({"B": "data now"}, "may still get it"), ({"C": "QUIT"}, "hold the first"),
    ({"C": NEXT["E"]}, "hold the first"), ({"D": "RSET"}, "nothing more to send"), ({"D": None}, "nothing more"),
    ({"E": "RSET"}, "text was refused"), ({"E": "MAIL FROM:<ANA@rio.example>"}, "text was refused"),
    ({"F": NEXT["E"]}, "No text was sent"), ({"G": "QUIT"}, "said 421"), ({"G": ""}, "said 421"),
    ({"E": "MAIL FROM: <ana@rio.example>"}, "Take the space out"),
])
def test_next(wrong: dict[str, Any], says: str) -> None:
    assert says in problem(lab.check_next(NEXT | wrong))


def test_right_next_lines() -> None:
    right(lab.check_next(NEXT))
    right(lab.check_next(NEXT | {"A": "helo rio.example\r\n", "B": b"DATA\r\n", "E": "Mail From:<ana@rio.example>"}))
    right(lab.check_next(NEXT | {"G": "None"}))
    not_yet(lab.check_next({"A": NEXT["A"]}))


BUGS = {"A": 6, "B": 7, "C": 6, "D": 9}


@pytest.mark.parametrize("wrong, says", [({"A": 2}, "After HELO"), ({"B": 5}, "452"), ({"C": 7}, "Which keyword"),
                                         ({"D": 7}, "hold a MAIL"), ({"D": 10}, "does not say that line"),
                                         ({"A": 4}, "Nothing is wrong")])
def test_bugs(wrong: dict[str, Any], says: str) -> None:
    assert says in problem(lab.check_plan_bugs(BUGS | wrong))


def test_right_bugs() -> None:
    right(lab.check_plan_bugs(BUGS))
    right(lab.check_plan_bugs({name: str(line) for name, line in BUGS.items()}))


class MyGood(Extension):
    keyword = "DELIVERBY"

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def least(self, words: str) -> int:
        number = words.partition(",")[0].strip()
        return int(number) if number.isdigit() else 0

    def plan(self, plan: Any) -> None:
        if self.least(plan.client.offered["DELIVERBY"]) > self.seconds:
            raise SMTPNotSupportedError("too slow")
        plan.mail.parameters["BY"] = f"{self.seconds};R"


class NoLimit(MyGood):
    def plan(self, plan: Any) -> None:
        plan.mail.parameters["BY"] = f"{self.seconds};R"


class NoMode(MyGood):
    def plan(self, plan: Any) -> None:
        super().plan(plan)
        plan.mail.parameters["BY"] = str(self.seconds)


class OnRcpt(MyGood):
    def plan(self, plan: Any) -> None:
        super().plan(plan)
        plan.recipients[next(iter(plan.recipients))]["BY"] = f"{self.seconds};R"


class Trusting(MyGood):
    def least(self, words: str) -> int:
        return int(words or 0)

    def plan(self, plan: Any) -> None:
        super().plan(plan)


class Alone(MyGood):
    def plan(self, plan: Any) -> None:
        super().plan(plan)
        plan.mail.parameters = {"BY": f"{self.seconds};R"}


class NoMoreThan(MyGood):
    def plan(self, plan: Any) -> None:
        if self.least(plan.client.offered["DELIVERBY"]) >= self.seconds:
            raise SMTPNotSupportedError("too slow")
        plan.mail.parameters["BY"] = f"{self.seconds};R"


class NoComma(MyGood):
    def least(self, words: str) -> int:
        return int(words) if words.isdigit() else 0

    def plan(self, plan: Any) -> None:
        super().plan(plan)


@pytest.mark.parametrize("answer, says", [
    (NoLimit, "must be there sooner"), (NoMode, "BY=3600;R"), (OnRcpt, "belongs to MAIL"), (Trusting, "ValueError"),
    (NoMoreThan, "would take it"), (NoComma, "60,X-NEW"),
    (Alone, "stays"),
])
def test_deliver_by(answer: Any, says: str) -> None:
    assert says in problem(lab.check_deliver_by(answer))


def test_right_deliver_by() -> None:
    class MyInherited(MyGood):
        """What a base of the learner's own does counts."""

    class MyOther(Extension):
        keyword = "DELIVERBY"

        def __init__(self, seconds: int) -> None:
            self.limit = seconds

        def plan(self, plan: Any) -> None:
            words = plan.client.offered.get("DELIVERBY", "").split(",")
            try:
                slow = int(words[0]) > self.limit
            except ValueError:
                slow = False
            if slow:
                raise SMTPNotSupportedError(f"{words[0]} s is the least")
            plan.mail.parameters = {**plan.mail.parameters, "BY": str(self.limit) + ";R"}

    right(lab.check_deliver_by(MyGood))
    right(lab.check_deliver_by(MyInherited))
    right(lab.check_deliver_by(MyOther))
    not_yet(lab.check_deliver_by(type("MyNothing", (Extension,), {"keyword": "DELIVERBY"})))


@pytest.mark.parametrize("script, says", [
    (["250 mx", "250 ok", "250 ok", "354 go on", "250 kept"], "`sent` is true"),
    (["250 mx", "250 ok"], "does not say `sent`"),
    (["500 what?", "250 mx", "550 no", "503 no", "500 what?"], "part too early"), (["hello"], "three digits"),
    (["250 mx", "550 no", "503 no", "503 no"], "does not say `sent`"), ([2, 5, 5, 5, 5], "three digits"),
    (["250 mx", "250 ok", "250 ok", "354 go on", "251 kept"], "`sent` is true"),
])
def test_script(script: list[str], says: str) -> None:
    assert says in problem(lab.check_script(script))


@pytest.mark.parametrize("script", [
    ["250 mx", "250 ok", "550 no Yui", "503 RCPT first", "500 what?"],
    ["250 mx", "250 ok", "250 ok", "354 go on", "552 mailbox full"],
    ["250 mx", "451 later", "503 MAIL first", "503 MAIL first", "500 what?"],
    ["250 mx", "250 ok", "250 ok", "421 leaving", "421 leaving"],
    ["250 mx", "250 ok", "450 later", "354 go on", "554 nobody"],
])
def test_right_scripts(script: list[str]) -> None:
    right(lab.check_script(script))


def test_what_is_untouched_is_not_answered_yet() -> None:
    def nothing(*given: Any) -> Any: ...

    for check in (lab.check_hello, lab.check_settle_mail, lab.check_settle_rcpt, lab.check_settle_body, lab.check_data,
                  lab.check_leave):
        not_yet(check(nothing))
        for number in (1, 2, 3):
            assert check.hint(number)


TALKS = [lab.check_hello, lab.check_data, lab.check_leave]


@pytest.mark.parametrize("check", [*TALKS, lab.check_settle_mail, lab.check_settle_rcpt, lab.check_settle_body],
                         ids=lambda check: check.name)
def test_what_never_ends_and_what_raises(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses_the_hopeless(check, monkeypatch, talk=check in TALKS)


def test_a_plan_that_never_ends_and_one_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.check_deliver_by, "seconds", 0.3)
    assert "still running" in problem(lab.check_deliver_by(type("MyDeliverBy", (MyGood,), {"plan": endless})))
    monkeypatch.undo()
    assert "LookupError" in problem(lab.check_deliver_by(type("MyDeliverBy", (MyGood,), {"plan": broken})))


@pytest.mark.parametrize("check", [lab.check_next, lab.check_plan_bugs, lab.check_script],
                         ids=lambda check: check.name)
def test_answers_in_another_form(check: Any) -> None:
    refuses_other_forms(check)


def test_steps_that_are_no_commands() -> None:
    def lines(plan: Any) -> Any:
        yield b"DATA\r\n"

    assert "is not one" in str(lab.check_data(lines)) and not lab.check_data(lines).passed
    not_yet(lab.check_data(lambda plan: 5))
    not_yet(lab.check_leave(lambda client: [b"QUIT\r\n"]))
