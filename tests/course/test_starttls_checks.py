"""The checks of `starttls` at wrong answers: each is refused for its own reason."""
from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.client import SMTPNotSupportedError, SMTPResponseException
from smtp_from_scratch.conversation import Interruption
from smtp_from_scratch.ehlo import Extension, Parameter
from smtp_from_scratch.lab.checks.starttls import TICKS
from smtp_from_scratch.starttls import TLSLayer, Upgrade, secure_client, secure_server, start_tls, unverified
from smtp_from_scratch.transaction import hello
from smtp_from_scratch.wire import Reply


def problem(verdict: Any) -> str:
    """All that a verdict says; it must not have passed."""
    assert not verdict.passed and verdict.problem is not None, str(verdict)
    return str(verdict)


def once(tls: Any) -> bytes:
    try:
        return tls.read(262_144)
    except ssl.SSLWantReadError:
        return b""


def careless(tls: Any) -> bytes:
    plain = b""
    while block := tls.read(262_144):
        plain += block
    return plain


def last_only(tls: Any) -> bytes:
    block = b""
    try:
        while more := tls.read(262_144):
            block = more
    except ssl.SSLWantReadError:
        pass
    return block


def swallows_all(tls: Any) -> bytes:
    with suppress(ssl.SSLError):
        return joined(tls)
    return b""


def joined(tls: Any) -> bytes:
    blocks = []
    with suppress(ssl.SSLWantReadError):
        while block := tls.read(65_536):
            blocks.append(block)
    return b"".join(blocks)


def octet_by_octet(tls: Any) -> bytearray:
    plain = bytearray()
    while True:
        try:
            octet = tls.read(1)
        except ssl.SSLWantReadError:
            return plain
        if not octet:
            return plain
        plain += octet


@pytest.mark.parametrize("answer, says", [
    (once, "one record at most"), (careless, "SSLWantReadError"), (last_only, "one record at most"),
    (swallows_all, "tampered with"), (lambda tls: tls.pending(), "Return octets"),
])
def test_read(answer: Callable[[Any], Any], says: str) -> None:
    assert says in problem(lab.check_read(answer))


@pytest.mark.parametrize("answer", [joined, octet_by_octet])
def test_read_in_more_than_one_way(answer: Callable[[Any], Any]) -> None:
    assert lab.check_read(answer).passed


def test_stubs_are_not_answered_yet() -> None:
    for verdict in (lab.check_read(lambda tls: b""), lab.check_ticks({"the subject": ...}),
                    lab.check_policy(lambda ehlo, require_tls: None), lab.check_dialogues({"A": "", "B": ...}),
                    lab.check_requiretls(type("MyRequireTLS", (Extension,), {"keyword": "REQUIRETLS"}))):
        assert not verdict.passed and verdict.problem is None


def test_ticks() -> None:
    right = {what: known for what, (known, _) in TICKS.items()}
    assert lab.check_ticks(right).passed
    for what in right:
        assert what in problem(lab.check_ticks(right | {what: not right[what]}))


def by_letters(ehlo: Reply, require_tls: bool) -> str:
    return "starttls" if "STARTTLS" in ehlo.text.upper() else "stop" if require_tls else "clear"


def case_matters(ehlo: Reply, require_tls: bool) -> str:
    return "starttls" if "STARTTLS" in ehlo.lines[1:] else "stop" if require_tls else "clear"


def trusting(ehlo: Reply, require_tls: bool) -> str:
    return "starttls" if "STARTTLS" in ehlo.lines[1:] else "clear"


def strict(ehlo: Reply, require_tls: bool) -> str:
    return "starttls" if "STARTTLS" in ehlo.lines[1:] else "stop"


@pytest.mark.parametrize("answer, says", [(by_letters, "STARTTLS.tokyo"), (case_matters, "capitals"),
                                          (trusting, "in the clear"), (strict, "old server")])
def test_policy(answer: Callable[[Reply, bool], str], says: str) -> None:
    assert says in problem(lab.check_policy(answer))


def by_keywords(ehlo: Reply, require_tls: bool) -> str:
    offered = {line.split()[0].upper() for line in ehlo.lines[1:] if line} if ehlo.positive else set()
    return "starttls" if "STARTTLS" in offered else "stop" if require_tls else "clear"


def by_pattern(ehlo: Reply, require_tls: bool) -> str:
    if ehlo.code == 250:
        for line in ehlo.lines[1:]:
            if re.match(r"starttls(\s|$)", line, re.IGNORECASE):
                return "starttls"
    return {True: "stop", False: "clear"}[require_tls]


@pytest.mark.parametrize("answer", [by_keywords, by_pattern])
def test_policy_in_more_than_one_way(answer: Callable[[Reply, bool], str]) -> None:
    assert lab.check_policy(answer).passed


A = "C= STARTTLS\\r\\nNOOP\\r\\n\nS: 220\ntls or closed\nS: nothing\n"
B = "C= STARTTLS\\r\\nXY\nS: 220\ntls or closed\nC: EHLO {client}\nS: 250\n"
C = "C: STARTTLS\nS: 220\ntls\nC: MAIL FROM:<ana@rio.example>\nS: 503\n"


OTHERS = {"A": "C= STARTTLS\\r\\nHELP\\r\\n\nS: 220\ntls or closed\nC: NOOP\nS: 250\n",
          "B": "C= STARTTLS\\r\\nRSE\nS: 220\ntls or closed\nC: NOOP\nS: 250\n",
          "C": "C: STARTTLS\nS: 220\ntls\nC: mail from:<eve@shady.example>\nS: 503|550\n"}


def test_dialogues() -> None:
    assert lab.check_dialogues({"A": A, "B": B, "C": C}).passed
    assert lab.check_dialogues(OTHERS).passed
    for wrong, says in (
        ({"A": A.replace(" or closed", "")}, "our server fails"),       # ours lets the handshake break
        ({"A": "C: STARTTLS\nS: 220\ntls\nC: NOOP\nS: 250\n"}, "server A passes"),
        ({"A": "nonsense"}, "cannot be read"),
        ({"B": A}, "server B passes"),                                  # it throws whole lines away
        ({"C": B}, "server C passes"),
        ({"C": C.replace("503", "250")}, "our server fails"),
    ):
        assert says in problem(lab.check_dialogues({"A": A, "B": B, "C": C} | wrong))


class Good(Extension):
    keyword = "REQUIRETLS"
    octets = 11

    def advertise(self, session: Any) -> str | None:
        return self.keyword if session.secure else None

    def parameters(self) -> Any:
        return {"MAIL": {"REQUIRETLS": Parameter(self.judge, octets=self.octets)}}

    def judge(self, session: Any, value: str | None) -> Reply | None:
        if value is not None:
            return Reply(501, "no value")
        return None if session.secure else Reply(530, "not in the clear")

    def plan(self, plan: Any) -> None:
        if "REQUIRETLS" in plan.needs and plan.client.secure:
            plan.mail.parameters["REQUIRETLS"] = None
            plan.needs.discard("REQUIRETLS")


class InOneDictionary(Extension):
    """Another style: the judge is a lambda, and the need is taken by `&`."""

    keyword = "REQUIRETLS"

    def parameters(self) -> Any:
        refusals = {(True, False): Reply(501, "no value"), (True, True): Reply(501, "no value"),
                    (False, False): Reply(554, "in the clear"), (False, True): None}
        return {"MAIL": {self.keyword: Parameter(
            lambda session, value: refusals[value is not None, session.secure], octets=len(" REQUIRETLS"))}}

    def advertise(self, session: Any) -> str | None:
        return "REQUIRETLS" if session.secure else None

    def plan(self, plan: Any) -> None:
        needed = plan.needs & {self.keyword}
        if needed and plan.client.secure:
            plan.needs -= needed
            plan.mail.parameters |= dict.fromkeys(needed)


def test_requiretls_in_more_than_one_way() -> None:
    assert lab.check_requiretls(Good).passed and lab.check_requiretls(InOneDictionary).passed


def marks_all(self: Any, plan: Any) -> None:
    if plan.client.secure:
        plan.mail.parameters["REQUIRETLS"] = None
        plan.needs.discard("REQUIRETLS")


def marks_in_the_clear(self: Any, plan: Any) -> None:
    if "REQUIRETLS" in plan.needs:
        plan.mail.parameters["REQUIRETLS"] = None
        plan.needs.discard("REQUIRETLS")


def only_drops_the_need(self: Any, plan: Any) -> None:
    plan.needs.discard("REQUIRETLS")


@pytest.mark.parametrize("change, says", [
    ({"requires": frozenset({"STARTTLS"})}, "465"),
    ({"octets": 0}, "octets for MAIL"),
    ({"advertise": lambda self, session: "REQUIRETLS"}, "`advertise`"),
    ({"check": lambda self, session, command: Reply(530, "say STARTTLS first") if not session.secure
      and "REQUIRETLS" in command.argument.upper() else None}, "That is a name"),
    ({"advertise": lambda self, session: None}, "`advertise`"),
    ({"judge": lambda self, session, value: None}, "REQUIRETLS=YES"),
    ({"judge": lambda self, session, value: Reply(501, "never")}, "under TLS, is refused"),
    ({"judge": lambda self, session, value: Reply(501, "no value") if value else None}, "in the clear already"),
    ({"plan": Extension.plan}, "sends nothing"),
    ({"plan": marks_all}, "marks the letter"),
    ({"plan": marks_in_the_clear}, "marks the letter"),
    ({"plan": only_drops_the_need}, "without a mark"),
])
def test_requiretls(change: dict[str, Any], says: str) -> None:
    assert lab.check_requiretls(Good).passed
    changed = type("Changed", (Extension,), {**{k: v for k, v in vars(Good).items() if k[:2] != "__"}, **change})
    assert says in problem(lab.check_requiretls(changed))


def test_hints() -> None:
    verdict = lab.check_policy(by_letters)
    assert str(verdict.hint(1)).endswith("?") and "lines[1:]" in str(verdict.hint(2))


def test_a_reader_that_goes_on_after_the_goodbye_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def my_read(tls: Any) -> bytes:
        plain = b""
        while True:                            # at the other end's goodbye, `read` returns b"" for ever
            try:
                plain += tls.read(262_144)
            except ssl.SSLWantReadError:
                return plain

    monkeypatch.setattr(lab.check_read, "seconds", 0.5)
    assert "still running after 0.5 seconds" in str(lab.check_read(my_read))


# --- your turn: TLS if it can be had ---------------------------------------------------------------------------------


def no_name() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    return context


def wrong_order() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.verify_mode = ssl.CERT_NONE
    return context


def any_version() -> ssl.SSLContext:
    context = unverified()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    return context


def by_hand() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode, context.minimum_version = False, ssl.CERT_NONE, ssl.TLSVersion.TLSv1_3
    return context


@pytest.mark.parametrize("answer, says", [
    (ssl.create_default_context, "breaks the handshake off"), (no_name, "breaks the handshake off"),
    (wrong_order, "Mind the order"), (any_version, "MINIMUM_SUPPORTED"), (lambda: True, "Return the context"),
    (lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "cannot be a client"),
])
def test_unverified(answer: Callable[[], Any], says: str) -> None:
    assert lab.check_unverified(unverified).passed and lab.check_unverified(by_hand).passed
    assert says in problem(lab.check_unverified(answer))


# --- your turn: the server's end -------------------------------------------------------------------------------------


def with_flag(session: Any, context: Any) -> Any:
    try:
        yield Upgrade(TLSLayer(context, server_side=True))
    except (OSError, Interruption):
        session.state, works = "closed", False
    else:
        session.restart()
        session.secure = works = True
    return works


def remembers(session: Any, context: Any) -> Any:
    try:
        yield Upgrade(TLSLayer(context, server_side=True))
    except (OSError, Interruption):
        session.state = "closed"
        return False
    session.secure = True
    return True


def falls_back(session: Any, context: Any) -> Any:
    try:
        yield Upgrade(TLSLayer(context, server_side=True))
    except (OSError, Interruption):
        return False
    session.restart()
    session.secure = True
    return True


def hopes(session: Any, context: Any) -> Any:
    yield Upgrade(TLSLayer(context, server_side=True))
    session.restart()
    session.secure = True
    return True


def not_noted(session: Any, context: Any) -> Any:
    done = yield from with_flag(session, context)
    session.secure = False
    return done


def only_tls_errors(session: Any, context: Any) -> Any:
    try:
        yield Upgrade(TLSLayer(context, server_side=True))
    except ssl.SSLError:
        session.state = "closed"
        return False
    session.restart()
    session.secure = True
    return True


@pytest.mark.parametrize("answer, says", [
    (remembers, "still knows eve"), (falls_back, "goes on in the clear"), (hopes, "Catch an OSError"),
    (not_noted, "not `secure`"), (only_tls_errors, "Disconnected"),
])
def test_secure_server(answer: Callable[..., Any], says: str) -> None:
    assert lab.check_secure_server(secure_server).passed and lab.check_secure_server(with_flag).passed
    assert says in problem(lab.check_secure_server(answer))


# --- your turn: the client's step ------------------------------------------------------------------------------------


def upside_down(client: Any, context: Any, required: bool) -> Any:
    if not client.secure and "STARTTLS" in client.offered:
        reply = yield from client.command("STARTTLS")
        if reply.positive:
            yield from secure_client(client, context)
            yield from hello(client)
        elif required:
            raise SMTPResponseException(reply, "STARTTLS")
    elif required and not client.secure:
        raise SMTPNotSupportedError("none")


def trusts_the_offer(client: Any, context: Any, required: bool) -> Any:
    if "STARTTLS" in client.offered:
        yield from upside_down(client, context, required)


def always_requires(client: Any, context: Any, required: bool) -> Any:
    return upside_down(client, context, True)


def never_requires(client: Any, context: Any, required: bool) -> Any:
    return upside_down(client, context, False)


def no_second_hello(client: Any, context: Any, required: bool) -> Any:
    if client.secure or "STARTTLS" not in client.offered:
        yield from upside_down(client, context, required)
        return
    reply = yield from client.command("STARTTLS")
    if reply.positive:
        yield from secure_client(client, context)
    elif required:
        raise SMTPResponseException(reply, "STARTTLS")


def only_says_it(client: Any, context: Any, required: bool) -> Any:
    if client.secure or "STARTTLS" not in client.offered:
        yield from upside_down(client, context, required)
        return
    reply = yield from client.command("STARTTLS")
    if not reply.positive and required:
        raise SMTPResponseException(reply, "STARTTLS")


def hears_no_reply(client: Any, context: Any, required: bool) -> Any:
    if client.secure or "STARTTLS" not in client.offered:
        yield from upside_down(client, context, required)
        return
    yield from client.command("STARTTLS")
    yield from secure_client(client, context)
    yield from hello(client)


@pytest.mark.parametrize("answer, says", [
    (trusts_the_offer, "no exception"), (always_requires, "not offered, not required"),
    (never_requires, "not offered, required"),
    (no_second_hello, "Say EHLO again"), (only_says_it, "line in the clear"),
    (hears_no_reply, "has not said 220"),
])
def test_start_tls(answer: Callable[..., Any], says: str) -> None:
    assert lab.check_start_tls(start_tls).passed and lab.check_start_tls(upside_down).passed
    assert says in problem(lab.check_start_tls(answer))
