"""What a client promises: all that was begun has a receipt, nothing acknowledged is sent twice, no error is silent."""
from __future__ import annotations

import asyncio
import gc
import io
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch import (
    AsyncClient,
    Client,
    Envelope,
    Receipt,
    Reply,
    Server,
    SMTPAuthenticationError,
    SMTPException,
    SMTPNotSupportedError,
    SMTPRecipientsRefused,
    SMTPServerDisconnected,
    deliver,
)
from smtp_from_scratch.__main__ import main
from smtp_from_scratch.auth import Auth, CramMd5, Login, Passwords, Plain
from smtp_from_scratch.client import CUT_OFF
from smtp_from_scratch.conversation import Conversation, Interruption, Line, rehearse
from smtp_from_scratch.ehlo import ExtendedSession, ExtensionSet, Size, read_offers
from smtp_from_scratch.server import ThreadedServer
from smtp_from_scratch.session import Limits, serve
from smtp_from_scratch.smtp import client_extensions, server_extensions
from smtp_from_scratch.status import CodedClientSession, CodedSession
from smtp_from_scratch.transaction import OutgoingMessage
from smtp_from_scratch.wire import WireError, encode_reply
from tests.ours import TLS
from tests.whole_session import ready, whole_session

ANA = "ana@rio.example"
YUI, KENJI, SORA, NOBODY = (f"{name}@tokyo.example" for name in ("yui", "kenji", "sora", "nobody"))


def message(subject: str, *people: str, sender: str = ANA, body: str = "Monday, 8 pm.\n") -> EmailMessage:
    made = EmailMessage()
    if sender:
        made["From"] = sender
    if people:
        made["To"] = ", ".join(people)
    made["Subject"] = subject
    made.set_content(body)
    return made


# --- a server that cuts the line, and a program that tries again ----------------------------------------------------


def not_nobody(address: str, envelope: Envelope) -> Reply | None:
    return Reply(550, "nobody of that name") if address == NOBODY else None


@dataclass
class Office:
    """Sessions of our server; the first is cut: before its octet number `at`, or with 421 for its reply number `at`."""

    at: int = 1_000_000
    how: str = "hangs up"
    without: tuple[str, ...] = ()
    max_recipients: int = 100
    sessions: int = 0
    starts: list[int] = field(default_factory=list)            # where in the octets of the first session a reply begins
    acknowledged: Counter[tuple[str, str]] = field(default_factory=Counter)    # its 250 was said to the last octet
    kept: list[tuple[str, str]] = field(default_factory=list)  # no 250 was said yet

    def deliver(self, envelope: Envelope, body: Any) -> None:
        subject = message_from_bytes(body.read())["Subject"]
        self.kept = [(subject, address) for address in envelope.recipients]

    def conversation(self, peer: str = "") -> Conversation[None]:
        self.sessions += 1
        self.kept = []
        session = CodedSession("mx.tokyo.example", self.deliver, accept_recipient=not_nobody,
                               extensions=ExtensionSet(server_extensions(without=self.without)),
                               limits=Limits(max_recipients=self.max_recipients))
        return self.cut(serve(session), self.sessions == 1)

    def cut(self, talk: Conversation[None], first: bool) -> Conversation[None]:
        said, value, error = 0, None, None
        while True:
            try:
                want: Any = talk.throw(error) if error else talk.send(value)
            except StopIteration:
                return
            value = error = None
            if not isinstance(want, Reply | bytes):
                try:
                    value = yield want
                except Exception as interruption:
                    error = interruption
                continue
            octets = encode_reply(want) if isinstance(want, Reply) else want
            if first and self.how == "421" and len(self.starts) == self.at:
                yield b"421 4.3.2 leaving\r\n"
                return
            if first and self.how == "hangs up" and said + len(octets) > self.at:
                yield octets[: self.at - said]
                return
            if first:
                self.starts.append(said)
            said += len(octets)
            yield octets
            self.acknowledged.update(self.kept)
            self.kept = []


Batch = list[tuple[str, list[str]]]            # subjects, and to whom
Send = Callable[[Batch], "list[Receipt]"]      # a receipt for each message that was begun
POST: Batch = [("one", [YUI, KENJI]), ("two", [NOBODY]), ("three", [SORA, NOBODY, YUI, KENJI]), ("four", [KENJI])]
WANTED = Counter((subject, address) for subject, people in POST for address in people if address != NOBODY)


def keep_sending(send: Send) -> None:
    """Send until everybody has an answer; whoever was not acknowledged is tried again."""
    todo: Batch = POST
    for _ in range(3):
        receipts = send(todo)
        left: Batch = []
        for number, (subject, people) in enumerate(todo):
            receipt = receipts[number] if number < len(receipts) else None          # None: it was not begun
            if receipt:
                known = {*receipt.accepted, *receipt.refused, *receipt.unknown}
                assert known == set(people) and not set(receipt.accepted) & set(receipt.unknown)
                never = {address for address, reply in receipt.refused.items() if reply.permanent}
                people = [address for address in people if address not in never.union(receipt.accepted)]
            left += [(subject, people)] if people else []
        todo = left
        if not todo:
            return
    pytest.fail(f"never sent: {todo}")


def proves_itself(office: Office, send: Send) -> None:
    keep_sending(send)
    assert office.acknowledged == WANTED, f"{office.how} at {office.at}"


CONFIGS: dict[str, tuple[str, ...]] = {
    "everything": (), "eager": (), "step by step": ("PIPELINING", "CHUNKING"), "PIPELINING": ("CHUNKING",),
    "CHUNKING": ("PIPELINING",),
}


def rehearsed(office: Office, eager: bool = False) -> Send:
    """A whole session in memory."""
    def send(batch: Batch) -> list[Receipt]:
        client = CodedClientSession("rio.example", tuple(client_extensions(eager=eager)))
        receipts: list[Receipt] = []

        def messages() -> Iterator[OutgoingMessage]:
            for subject, people in batch:
                yield ready(client, Envelope(ANA, people), f"Subject: {subject}\r\n\r\nMonday\r\n")

        def talk() -> Conversation[None]:
            with suppress(SMTPException, Interruption, WireError):
                yield from whole_session(client, messages(), receipts)

        rehearse(talk(), office.conversation())
        return receipts

    return send


@pytest.mark.parametrize("config", CONFIGS)
def test_nothing_acknowledged_is_sent_twice_wherever_the_line_breaks(config: str) -> None:
    """In rehearsal, at every octet of the server's."""
    whole = Office(without=CONFIGS[config])
    rehearsed(whole, config == "eager")(POST)
    assert whole.acknowledged == WANTED
    for at in range(whole.starts[-1] + 20):
        office = Office(at, without=CONFIGS[config])
        proves_itself(office, rehearsed(office, config == "eager"))


@pytest.mark.parametrize("config", CONFIGS)
def test_nothing_acknowledged_is_sent_twice_wherever_the_server_leaves(config: str) -> None:
    """In rehearsal, 421 in place of every reply."""
    whole = Office(without=CONFIGS[config])
    rehearsed(whole, config == "eager")(POST)
    for at in range(len(whole.starts)):
        office = Office(at, "421", CONFIGS[config])
        proves_itself(office, rehearsed(office, config == "eager"))


def by_deliver(address: tuple[str, int]) -> Send:
    def send(batch: Batch) -> list[Receipt]:
        try:
            return deliver(address, [message(subject, *people) for subject, people in batch], timeout=30)
        except SMTPServerDisconnected as error:
            return list(error.receipts)

    return send


def by_send_messages(address: tuple[str, int]) -> Send:
    def send(batch: Batch) -> list[Receipt]:
        receipts: list[Receipt] = []
        try:
            with Client(*address, timeout=30) as smtp:
                for receipt in smtp.send_messages(message(subject, *people) for subject, people in batch):
                    receipts.append(receipt)
        except SMTPServerDisconnected as error:
            assert list(error.receipts) == receipts, "what was yielded is what the exception has"
        return receipts

    return send


def by_sendmail(address: tuple[str, int]) -> Send:
    """One after another; an exception has the receipt, also when it is a refusal."""
    def send(batch: Batch) -> list[Receipt]:
        receipts: list[Receipt] = []
        try:
            with Client(*address, timeout=30) as smtp:
                for subject, people in batch:
                    try:
                        receipts.append(smtp.sendmail(ANA, people, f"Subject: {subject}\n\nMonday\n"))
                    except SMTPRecipientsRefused as error:
                        receipts.extend(error.receipts)
                    if not smtp.connection:
                        break
        except SMTPServerDisconnected as error:
            receipts.extend(error.receipts)
        return receipts

    return send


@pytest.mark.parametrize("how", ["hangs up before a reply", "hangs up in a reply", "421"])
@pytest.mark.parametrize("face", [by_deliver, by_send_messages, by_sendmail])
def test_nothing_acknowledged_is_sent_twice_over_sockets(face: Callable[[tuple[str, int]], Send], how: str) -> None:
    """The server takes two recipients at once: what is left of a letter goes in a further transaction."""
    whole = Office(max_recipients=2)
    with ThreadedServer(whole.conversation) as server:
        proves_itself(whole, face(server.address))
    places = range(len(whole.starts)) if how == "421" else [start + 5 * ("in" in how) for start in whole.starts]
    for at in places:
        office = Office(at, how[:8], max_recipients=2)
        with ThreadedServer(office.conversation) as server:
            proves_itself(office, face(server.address))


# --- what a receipt says ---------------------------------------------------------------------------------------------


def leaving(*replies: str) -> Callable[[str], Conversation[None]]:
    """A server that says these, one for each command or body that it hears, then hangs up."""
    def conversation(peer: str) -> Conversation[None]:
        with suppress(Interruption):
            said = "220 mx"
            yield b"220 mx\r\n"
            for reply in replies:
                while (yield Line(5000)) != b"." and said.startswith("354"):
                    pass
                said = reply
                yield reply.encode() + b"\r\n"

    return conversation


@pytest.mark.parametrize("last", ["421 4.3.2 leaving", ""])
def test_a_transaction_that_is_cut_says_who_had_been_answered_for(last: str) -> None:
    replies = ["250 mx", "250 sender", "250 yui", "550 no kenji"] + ([last] if last else [])
    with ThreadedServer(leaving(*replies)) as server, Client(*server.address, timeout=30) as smtp:
        with pytest.raises(SMTPServerDisconnected) as caught:
            smtp.transact(Envelope(ANA, [YUI, KENJI, SORA]), "hello")
    receipt = caught.value.receipt
    cut_off = Reply(421, "4.3.2 leaving") if last else CUT_OFF
    assert receipt and receipt.refused == {YUI: cut_off, KENJI: Reply(550, "no kenji"), SORA: cut_off}
    assert receipt.accepted == receipt.unknown == [] and receipt.refused_by == "line", "nobody can have it"
    assert caught.value.reply == (Reply(421, "4.3.2 leaving") if last else None)


@pytest.mark.parametrize("further", [False, True])
def test_421_in_place_of_the_reply_to_a_message_is_a_refusal_in_any_transaction(further: bool) -> None:
    """4yz: the server has not taken it (RFC 5321 §4.2.1). It was `unknown`, and in a further one 452."""
    bye = Reply(421, "leaving", "4.3.2")
    second = ["250 sender", "250 sora", "354 go on", "421 4.3.2 leaving"]
    first = ["250 sender", "250 yui", "452 one is enough", "354 go on", "250 kept"] if further else []
    with ThreadedServer(leaving("250-mx\r\n250 ENHANCEDSTATUSCODES", *first, *second)) as server:
        with Client(*server.address, timeout=30) as smtp:
            envelope = Envelope(ANA, [YUI, SORA] if further else [SORA])
            try:
                receipt: Any = smtp.transact(envelope, "hello")
            except SMTPServerDisconnected as error:
                assert not further
                receipt = error.receipt
    assert receipt.refused == {SORA: bye} and not receipt.unknown
    assert receipt.accepted == ([YUI] if further else [])


def test_a_session_that_is_cut_gives_the_receipts_so_far_in_order() -> None:
    post = [message("one", YUI), message("two", NOBODY), message("three", SORA, KENJI), message("four", YUI)]
    with ThreadedServer(leaving(
            "250 mx", "250 sender", "250 yui", "354 go on", "250 kept", "250 sender", "550 nobody", "250 reset",
            "250 sender", "250 sora", "421 leaving")) as server, pytest.raises(SMTPServerDisconnected) as caught:
        deliver(server.address, post, timeout=30)
    first, second, third = caught.value.receipts
    assert first.accepted == [YUI] and not first.unknown
    assert list(second.refused) == [NOBODY] and not second.unknown
    assert third.refused == dict.fromkeys([SORA, KENJI], Reply(421, "leaving")) and not third.unknown
    assert caught.value.receipt is third


def test_a_further_transaction_that_is_cut_leaves_the_first_one_s_receipt() -> None:
    """With a letter on its way when the line broke, nobody knows; those of the first transaction have it."""
    replies = ["250 mx", "250 sender", "250 yui", "452 one at a time", "354 go on", "250 kept", "250 sender",
               "250 kenji", "354 go on"]
    with ThreadedServer(leaving(*replies)) as server, Client(*server.address, timeout=30) as smtp:
        receipt = smtp.transact(Envelope(ANA, [YUI, KENJI]), "hello")
        assert receipt.accepted == [YUI] and receipt.unknown == [KENJI] and not receipt.refused
        with pytest.raises(SMTPServerDisconnected, match="not connected"):
            smtp.noop()


def test_what_is_not_connected_begins_nothing() -> None:
    with pytest.raises(SMTPServerDisconnected, match="not connected") as caught:
        Client().transact(Envelope(ANA, [YUI]), "hello")
    assert list(caught.value.receipts) == [] and caught.value.receipt is None


def test_a_refusal_has_its_receipt() -> None:
    with Server(accept_recipient=not_nobody) as server, Client(*server.address) as smtp:
        with pytest.raises(SMTPRecipientsRefused) as caught:
            smtp.sendmail(ANA, [NOBODY], "hello")
    assert caught.value.receipt and list(caught.value.receipt.refused) == [NOBODY]


def test_a_body_that_breaks_costs_no_receipt() -> None:
    """The second letter's file fails in the middle."""
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            raise OSError("the disk is gone")

    with Server() as server, Client(*server.address) as smtp:
        smtp.sendmail(ANA, YUI, "hello")
        with pytest.raises(OSError, match="the disk is gone") as caught:
            smtp.sendmail(ANA, YUI, Broken())
        assert not server.messages[1:]
    [receipt] = caught.value.receipts  # type: ignore[attr-defined]
    assert receipt.refused == {YUI: CUT_OFF}


@pytest.mark.parametrize("without", [[], ["PIPELINING"]])
def test_messages_that_cannot_be_had_cost_no_receipt(without: list[str]) -> None:
    """The caller's own iterator fails: first come the receipts, then the error, and the session goes on."""
    def messages() -> Iterator[EmailMessage]:
        yield message("one", YUI)
        yield message("two", KENJI)
        raise KeyError("no third one")

    with Server(extensions=server_extensions(without=without)) as server, Client(*server.address) as smtp:
        receipts = []
        with pytest.raises(KeyError) as caught:
            for receipt in smtp.send_messages(messages()):
                receipts.append(receipt)
        assert [receipt.accepted for receipt in receipts] == [[YUI], [KENJI]]
        assert caught.value.receipts == receipts  # type: ignore[attr-defined]
        assert smtp.noop().code == 250


@pytest.mark.parametrize("options", [{}, {"extensions": server_extensions(without=["PIPELINING"])},
                                     {"extensions": [], "accept_sender": lambda *_: Reply(550, "not you")}],
                         ids=["in flights", "one by one", "refused"])
def test_a_receipt_is_all_that_is_kept_of_a_message(options: dict[str, Any]) -> None:
    """However many are sent, few are held in memory, and no ring of references holds more."""
    def held() -> int:
        return sum(thing.envelope.recipients == ["memory@tokyo.example"]
                   for thing in gc.get_objects() if type(thing) is OutgoingMessage)

    gc.disable()                               # a ring would wait for it
    try:
        with Server(**options) as server, Client(*server.address) as smtp:
            counts = [held() for _ in smtp.send_messages(message(str(number), "memory@tokyo.example")
                                                         for number in range(20))]
    finally:
        gc.enable()
    assert max(counts) <= 3 and (1 <= max(counts) or "extensions" in options)


# --- refused on its own ----------------------------------------------------------------------------------------------

LATIN_1 = b"From: ana@rio.example\r\nTo: kenji@tokyo.example\r\nSubject: Gr\xfc\xdfe\r\n\r\nhello\r\n"


class Unwritable(EmailMessage):
    """A message that `email` cannot write."""

    def as_bytes(self, *_: Any, **__: Any) -> bytes:
        raise LookupError("unknown encoding: klingon")


def unwritable() -> EmailMessage:
    made = Unwritable()
    made["From"], made["To"] = ANA, KENJI
    return made


CANNOT_GO: dict[str, tuple[Callable[[], EmailMessage], list[str], str]] = {
    "too large": (lambda: message("x", KENJI, body="x\n" * 600), [KENJI], "the server takes 1000"),
    "no From": (lambda: message("x", KENJI, NOBODY, sender=""), [KENJI, NOBODY], "names no sender"),
    "SMTPUTF8": (lambda: message("x", "josé@exemplo.example"), ["josé@exemplo.example"], "needs SMTPUTF8"),
    "for nobody": (lambda: message("x"), [], "at least one recipient"),
    "no mailbox": (lambda: message("x", "yui@to_kyo.example"), ["yui@to_kyo.example"], "local-part@domain"),
    "unwritable": (unwritable, [KENJI], "klingon"),
}


@pytest.mark.parametrize("face", ["send_messages", "deliver"])
@pytest.mark.parametrize("why", CANNOT_GO)
def test_a_message_that_cannot_go_is_refused_on_its_own(why: str, face: str) -> None:
    make, people, sentence = CANNOT_GO[why]
    post = [message("one", YUI), make(), message("two", KENJI), make()]
    with Server(max_size=1000, extensions=server_extensions(without=["SMTPUTF8"])) as server:
        if face == "deliver":
            receipts = deliver(server.address, post)
        else:
            with Client(*server.address) as smtp:
                receipts = list(smtp.send_messages(post))
        assert [letter.message["Subject"] for letter in server.wait_for(2)] == ["one", "two"]
    assert [receipt.accepted for receipt in receipts] == [[YUI], [], [KENJI], []]
    for receipt in receipts[1::2]:
        assert receipt.refused_by and receipt.reply and receipt.reply.code == 554 and sentence in receipt.reply.text
        assert list(receipt.refused) == people and not receipt.unknown


def test_what_is_no_message_is_a_mistake_that_is_told() -> None:
    with Server() as server, Client(*server.address) as smtp, pytest.raises(TypeError, match="an EmailMessage"):
        list(smtp.send_messages([message("one", YUI), "two"]))  # type: ignore[list-item]


def test_send_messages_sends_to_a_multitude_in_hundreds_too() -> None:
    everybody = [f"reader{number}@tokyo.example" for number in range(150)]
    with Server(max_recipients=100) as server, Client(*server.address) as smtp:
        receipts = list(smtp.send_messages([message("many", *everybody), message("one more", YUI)]))
        assert [len(letter.envelope.recipients) for letter in server.wait_for(3)] == [100, 50, 1]
    assert [len(receipt.accepted) for receipt in receipts] == [150, 1]


def test_a_letter_that_takes_two_transactions_stops_no_other() -> None:
    """Fewer at once than every server has to take, with PIPELINING: RCPT's replies are known before the next letter."""
    with Server(max_recipients=2) as server:
        receipts = deliver(server.address, [message("many", YUI, KENJI, SORA), message("one more", YUI)])
        assert [len(letter.envelope.recipients) for letter in server.wait_for(3)] == [2, 1, 1]
    assert [len(receipt.accepted) for receipt in receipts] == [3, 1]


# --- headers that are not UTF-8 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [LATIN_1, io.BytesIO(LATIN_1), [LATIN_1[:60], LATIN_1[60:]]],
                         ids=["bytes", "file", "list"])
def test_a_latin_1_header_is_refused_with_a_sentence(body: Any) -> None:
    """8BITMIME is for bodies, and SMTPUTF8 for UTF-8: nothing lets it travel (RFC 5322 §2.2, RFC 6532 §3.2)."""
    said: list[bytes] = []
    with Server() as server, Client(*server.address, tap=lambda record: said.append(record.data)) as smtp:
        with pytest.raises(ValueError, match="neither ASCII nor UTF-8.*encoded words"):
            smtp.sendmail(ANA, KENJI, body)
        assert not any(b"MAIL" in data for data in said)
        assert smtp.sendmail(ANA, KENJI, LATIN_1.decode("latin-1")).accepted       # as text it is UTF-8
    assert b" SMTPUTF8" in b"".join(said)


def test_a_latin_1_body_needs_8bitmime_alone() -> None:
    said: list[bytes] = []
    with Server() as server, Client(*server.address, tap=lambda record: said.append(record.data)) as smtp:
        smtp.sendmail(ANA, KENJI, b"Subject: x\n\nGr\xfc\xdfe\n")
        smtp.sendmail(ANA, KENJI, b"Gr\xfc\xdfe, without a header\n")
    [first, second] = [line for line in b"".join(said).split(b"\r\n") if line.startswith(b"MAIL")]
    for mail in (first, second):
        assert b"BODY=8BITMIME" in mail and b"SMTPUTF8" not in mail


@pytest.mark.parametrize("style", [policy.default, policy.compat32], ids=["default", "compat32"])
def test_a_message_with_a_latin_1_header_goes_as_encoded_words(style: Any) -> None:
    with Server() as server, Client(*server.address) as smtp:
        assert smtp.send_message(message_from_bytes(LATIN_1, policy=style)).accepted
        [kept] = server.wait_for(1)
    assert kept.data.isascii() and b"Subject: =?unknown-8bit?" in kept.data
    assert "SMTPUTF8" not in kept.envelope.parameters


def test_send_refuses_a_latin_1_header_on_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good").write_bytes(b"Subject: x\n\nhello\n")
    (tmp_path / "bad").write_bytes(LATIN_1)
    with Server() as server:
        status = main(["send", "--server", "{}:{}".format(*server.address), "--from", ANA, "--to", KENJI,
                       *(str(tmp_path / name) for name in ("bad", "good"))])
        server.wait_for(1)
    first, second = capsys.readouterr().out.splitlines()
    assert status == 1
    assert first.startswith(f"{KENJI}: 554 the header has octets") and second.startswith(f"{KENJI}: 250 ")


def test_send_that_is_cut_tells_what_it_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letter").write_bytes(b"Subject: x\n\nhello\n")
    replies = ["250 mx", "250 sender", "250 kenji", "354 go on", "250 kept", "250 sender", "250 kenji", "421 leaving"]
    with ThreadedServer(leaving(*replies)) as server:
        status = main(["send", "--server", "{}:{}".format(*server.address), "--from", ANA, "--to", KENJI,
                       *[str(tmp_path / "letter")] * 3])
    told = capsys.readouterr()
    first, second = told.out.splitlines()
    assert (first, second) == (f"{KENJI}: 250 kept", f"{KENJI}: 421 leaving")
    assert status == 75 and "421 leaving" in told.err


# --- one reader ------------------------------------------------------------------------------------------------------

USERS = Passwords({"ana": "tides"})


def test_every_command_s_reply_has_its_enhanced_code_in_its_field() -> None:
    with Server() as server, Client(*server.address) as smtp:
        replies = [smtp.noop(), smtp.verify(YUI), smtp.docmd("HELP"), smtp.docmd("XYZZY"),
                   smtp.docmd("RCPT", "TO:<a@b.example>"), smtp.rset(), smtp.quit()]
    assert [(reply.code, reply.enhanced) for reply in replies] == [
        (250, "2.0.0"), (252, "2.5.0"), (214, "2.0.0"), (500, "5.5.1"), (503, "5.5.1"), (250, "2.0.0"), (221, "2.0.0")]
    assert not any(reply.text.startswith(reply.enhanced) for reply in replies)


@pytest.mark.parametrize("mechanism", [Plain(), Login(), CramMd5()], ids=lambda mechanism: mechanism.name)
def test_a_refused_login_has_its_enhanced_code_in_its_field(mechanism: Any) -> None:
    extensions = [*server_extensions(), Auth(USERS, insecure=True, mechanisms=[mechanism])]
    with Server(extensions=extensions) as server, Client(*server.address) as smtp:
        with pytest.raises(SMTPAuthenticationError) as caught:
            smtp.login("ana", "wrong", mechanisms=[mechanism], insecure=True)
        assert (caught.value.reply.code, caught.value.reply.enhanced) == (535, "5.7.8")
        assert smtp.noop().code == 250


def test_a_refused_starttls_has_its_enhanced_code_in_its_field() -> None:
    replies = ["250-mx\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS", "454 4.7.0 not today", "221 2.0.0 bye"]
    with ThreadedServer(leaving(*replies)) as server, Client(*server.address, timeout=30) as smtp:
        with pytest.raises(SMTPException) as caught:
            smtp.starttls()
    assert caught.value.reply == Reply(454, "not today", "4.7.0")  # type: ignore[attr-defined]


def test_a_command_between_two_receipts_hears_its_own_reply() -> None:
    """With PIPELINING replies are outstanding when a receipt is given."""
    with Server() as server, Client(*server.address) as smtp:
        heard = []
        for receipt in smtp.send_messages(message(str(number), YUI) for number in range(6)):
            heard.append((receipt.accepted, smtp.docmd("HELP").code, smtp.verify(YUI).code))
        assert heard == [([YUI], 214, 252)] * 6 and len(server.wait_for(6)) == 6


def test_ehlo_between_two_receipts_forgets_nothing_too_early() -> None:
    """What was answered before it is read with the extensions of before."""
    with Server() as server, Client(*server.address) as smtp:
        for receipt in smtp.send_messages(message(str(number), YUI) for number in range(4)):
            assert receipt.reply and receipt.reply.enhanced == "2.6.0"
            smtp.ehlo()


def test_whoever_wants_no_more_receipts_can_go_on_with_the_session() -> None:
    with Server() as server, Client(*server.address) as smtp:
        for _ in smtp.send_messages(message(str(number), YUI) for number in range(6)):
            break
        assert smtp.docmd("HELP").code == 214 and smtp.ehlo().code == 250
        assert smtp.sendmail(ANA, KENJI, "hello").accepted == [KENJI]


def test_no_command_is_no_command() -> None:
    with Server() as server, Client(*server.address) as smtp:
        with pytest.raises(ValueError, match="name a command"):
            smtp.docmd("")
        assert smtp.noop().code == 250


# --- AUTH ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines, offered", [
    ("AUTH PLAIN LOGIN\nAUTH=CRAM-MD5 LOGIN", "PLAIN LOGIN CRAM-MD5"), ("AUTH=LOGIN\nAUTH PLAIN", "LOGIN PLAIN"),
    ("AUTH=LOGIN", "LOGIN"), ("auth=\nAUTH PLAIN", "PLAIN"), ("AUTH PLAIN\nAUTH PLAIN", "PLAIN"), ("AUTH", ""),
])
def test_lines_of_both_kinds_are_put_together(lines: str, offered: str) -> None:
    assert read_offers(Reply(250, f"mx\n{lines}\nSIZE 100")) == {"AUTH": offered, "SIZE": "100"}


def test_a_user_without_tls_is_told_what_to_do() -> None:
    """Where AUTH is offered under TLS alone, and where it is offered in the clear."""
    for insecure in (False, True):
        extensions = server_extensions(tls=TLS.server, users=USERS, insecure_auth=insecure, without=["PIPELINING"])
        extensions = [replace_auth(extension, insecure) for extension in extensions]
        with Server(extensions=extensions) as server:
            with pytest.raises(SMTPNotSupportedError, match="pass tls=True"):
                Client(*server.address, user="ana", password="tides")
            with Client(*server.address) as smtp, pytest.raises(SMTPNotSupportedError, match="pass tls=True"):
                smtp.login("ana", "tides")
    with Server(extensions=[*server_extensions(), Auth(USERS)]) as server:
        with pytest.raises(SMTPNotSupportedError) as caught:
            Client(*server.address, user="ana", password="tides")
        assert "tls=True" not in str(caught.value)             # there is none to be had


def replace_auth(extension: Any, insecure: bool) -> Any:
    """AUTH with PLAIN alone, which shows the password."""
    return Auth(USERS, insecure=insecure, mechanisms=[Plain()]) if extension.keyword == "AUTH" else extension


def test_the_line_is_closed_when_a_refusal_leaves_replies_outstanding() -> None:
    """AUTH PLAIN rides along with MAIL and RCPT: their replies must not be taken for those of the next command."""
    extensions = [*server_extensions(), Auth(USERS, insecure=True, mechanisms=[Plain()])]
    with Server(extensions=extensions) as server:
        smtp = Client(*server.address, user="ana", password="wrong", insecure_auth=True)
        assert smtp.session.unanswered, "AUTH is out, and was not answered"
        with pytest.raises(SMTPAuthenticationError) as caught:
            smtp.sendmail(ANA, KENJI, "hello")
        assert caught.value.receipt and caught.value.receipt.refused == {KENJI: CUT_OFF}
        assert smtp.connection is None
        with pytest.raises(SMTPServerDisconnected, match="not connected"):
            smtp.noop()
        assert not server.messages


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_wrong_password_is_told_even_if_nothing_is_sent(pipelining: bool) -> None:
    """With PIPELINING its refusal may come with the reply to QUIT."""
    extensions = [*server_extensions(without=[] if pipelining else ["PIPELINING"]),
                  Auth(USERS, insecure=True, mechanisms=[Plain()])]
    options: dict[str, Any] = {"user": "ana", "password": "wrong", "insecure_auth": True}

    async def with_async_client() -> None:
        async with AsyncClient(*server.address, **options):
            pass

    with Server(extensions=extensions) as server:
        with pytest.raises(SMTPAuthenticationError), Client(*server.address, **options):
            pass
        with pytest.raises(SMTPAuthenticationError):
            asyncio.run(with_async_client())
        if pipelining:
            with pytest.raises(KeyError), Client(*server.address, **options):
                raise KeyError("the program's own")


@pytest.mark.parametrize("what", ["starttls", "login"])
def test_what_is_not_offered_costs_no_connection(what: str) -> None:
    """As with `smtplib`, a program may try TLS, and go on without."""
    with Server(extensions=server_extensions(without=["STARTTLS", "AUTH"])) as server, Client(*server.address) as smtp:
        with pytest.raises(SMTPNotSupportedError):
            smtp.starttls(TLS.client) if what == "starttls" else smtp.login("ana", "tides", insecure=True)
        assert smtp.sendmail(ANA, KENJI, "hello").accepted == [KENJI]


# --- small rules -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["lots", "9" * 5000])
def test_a_server_whose_limit_is_no_number_can_be_checked(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    class Lots(Size):
        def advertise(self, session: ExtendedSession) -> str:
            return f"SIZE {size}"

    with Server(extensions=[Lots(), *server_extensions(without=["SIZE"])]) as server, Client(*server.address) as smtp:
        assert smtp.send_message(message("x", YUI)).accepted == [YUI]
        main(["check", "{}:{}".format(*server.address), "--rfc", "1870", "--patience", "5"])
    told = capsys.readouterr()
    assert "Traceback" not in told.err and "has no size limit" in told.out + told.err


def test_resent_bcc_is_an_address_and_is_not_sent() -> None:
    resent = message("x", "first@oslo.example")
    resent["Resent-From"], resent["Resent-Date"] = KENJI, "Mon, 1 Jan 2024 00:00:00 +0000"
    resent["Resent-To"], resent["Resent-Bcc"] = YUI, SORA
    with Server() as server, Client(*server.address) as smtp:
        assert smtp.send_message(resent).accepted == [YUI, SORA]
        [kept] = server.wait_for(1)
    assert b"resent-bcc" not in kept.data.lower() and SORA.encode() not in kept.data
    assert resent["Resent-Bcc"] == SORA


@pytest.mark.parametrize("octet", "\n\r")
def test_an_enhanced_code_is_one_word(octet: str) -> None:
    with pytest.raises(ValueError):
        Reply(250, "fine", f"2.0.0{octet}550 no")
