"""Submission: what leaves is a letter by the book, what cannot be is refused, and strangers get nothing (RFC 6409)."""
from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import mailbox
import re
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtp_from_scratch import Client, Reply, Server, SMTPDataError
from smtp_from_scratch.auth import Passwords
from smtp_from_scratch.cli.serve import only
from smtp_from_scratch.conversation import Conversation, read_reply, rehearse
from smtp_from_scratch.ehlo import ExtensionSet
from smtp_from_scratch.envelope import Envelope, stuff
from smtp_from_scratch.session import Deliver, Policy, serve
from smtp_from_scratch.smtp import server_extensions
from smtp_from_scratch.status import CodedSession
from smtp_from_scratch.submission import HEADER_LIMIT, MaySend, Submission, own_address
from tests.ours import PASSWORD, TLS, USER, USERS

ANA, KENJI, YUI = "ana@rio.example", "kenji@tokyo.example", "yui@kyoto.example"
FROM, ID = b"From: ana@rio.example\r\n", b"Message-ID: <1@rio.example>\r\n"
DATE = b"Date: Mon, 2 Nov 2026 20:00:00 -0300\r\n"
WHOLE = FROM + DATE + ID


def leaves(letter: bytes, user: str = ANA, **parameters: str) -> bytes | Reply:
    """A letter as it leaves a submission server, or the reply that refuses it."""
    kept: list[bytes] = []
    deliver = Submission().deliver(lambda envelope, body: kept.append(body.read()), "mail.rio.example")
    said = deliver(Envelope(ANA, [KENJI], parameters=dict(parameters), user=user), io.BytesIO(letter))
    if isinstance(said, Reply):
        assert not kept
        return said
    [left] = kept
    return left


# --- what leaves -----------------------------------------------------------------------------------------------------

NAMES = ["Date", "Message-ID", "Sender", "To", "Cc", "Subject", "Reply-To", "X-Mailer", "Received", "Comments",
         "Resent-To", "MIME-Version", "Content-Type"]
VALUES = {"Date": ["Mon, 2 Nov 2026 20:00:00 -0300"], "Message-ID": ["<1@rio.example>", "\r\n <folded@rio.example>"],
          "Sender": [ANA, "Choir <choir@rio.example>"],
          "To": [KENJI, f"Kenji <{KENJI}>,\r\n\tYui <{YUI}>", "undisclosed-recipients:;"],
          "Cc": [YUI, f"Friends: {YUI}, {KENJI};", ""], "Reply-To": ["choir@[192.0.2.1]", "choir@[IPv6:2001:db8::1]"],
          "Resent-To": [YUI]}
fields = st.lists(st.sampled_from(NAMES), unique=True).flatmap(lambda names: st.tuples(*(
    st.sampled_from(VALUES.get(name, ["text", "one\r\n two\r\n\tthree", "", "a: b"])).map(
        lambda value, name=name: f"{name}: {value}\r\n") for name in names)))
authors = st.sampled_from([ANA, f"Ana <{ANA}>", "ANA@RIO.example", "choir@rio.example", f"{ANA}, {KENJI}",
                           f'"Ana, of Rio" (she)\r\n <{ANA}>'])
texts = st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b"")) |
                 st.sampled_from([b"", b".", b"From: mallory@evil.example", b"Date: never", b"x" * 998]), max_size=6)


@settings(deadline=None)
@given(fields, authors, st.integers(0, 20), st.sampled_from(["From", "from", "FROM"]), texts)
def test_what_leaves_has_one_of_each_and_the_rest_is_untouched(fields: tuple[str, ...], author: str, place: int,
                                                               name: str, text: list[bytes]) -> None:
    lines = list(fields)
    lines.insert(min(place, len(lines)), f"{name}: {author}\r\n")
    letter = "".join(lines).encode() + b"\r\n" + b"".join(line + b"\r\n" for line in text)
    left = leaves(letter)
    assert isinstance(left, bytes) and left.endswith(letter), left
    header = message_from_bytes(left, policy=policy.compat32)
    for field in ("Date", "Message-ID", "From"):
        assert len(header.get_all(field, [])) == 1, field
    assert len(header.get_all("Sender", [])) == ("Sender" in {line.partition(":")[0] for line in lines} or
                                                 author.lower() not in (ANA, f"ana <{ANA}>", VALUES["To"][0]) and
                                                 "(she)" not in author)
    added = left[: len(left) - len(letter)].decode()
    assert re.fullmatch(r"(Date: [^\r\n]+\r\n)?(Message-ID: <[^<>@\s]+@mail\.rio\.example>\r\n)?"
                        rf"(Sender: {re.escape(ANA)}\r\n)?", added), added
    assert leaves(left) == left, "what has left once is changed no more"


@pytest.mark.parametrize("author", ["ana@rio.example (Ana, of Rio)", "Ana (sales, Rio) <ana@rio.example>"])
def test_a_comma_in_a_comment_hides_no_author(author: str) -> None:
    letter = f"From: {author}\r\n".encode() + DATE + ID + b"\r\ntext\r\n"
    assert leaves(letter) == letter


@pytest.mark.parametrize("user, sender", [
    ("choir@rio.example", "choir@rio.example"), (ANA, None), ("ANA@Rio.Example", None), ("ana", None),
    ("ana@localhost", None), ("josé@rio.example", None), ("a b@rio.example", None), ("", None),
    ("a@b>\r\nBcc: c@d", None), ("postmaster", None), ('"choir"@rio.example', None),
])
def test_a_sender_is_added_only_if_it_is_an_address_that_everybody_can_write_to(user: str, sender: str | None) -> None:
    left = leaves(WHOLE + b"\r\ntext\r\n", user)
    assert left == (f"Sender: {sender}\r\n".encode() if sender else b"") + WHOLE + b"\r\ntext\r\n"


@pytest.mark.parametrize("size", [0, 262_143, 262_144, 1_048_577, 6_000_000])
def test_a_body_of_any_size_leaves_as_it_came(size: int) -> None:
    line = bytes(range(1, 10)) + bytes(range(14, 256)) + b"." * 700 + b"\r\n"
    body = (line * (size // len(line) + 1))[:size].removesuffix(b"\r") + b"\r\n"
    left = leaves(FROM + b"\r\n" + body)
    assert isinstance(left, bytes)
    assert hashlib.sha256(left.partition(b"\r\n\r\n")[2]).digest() == hashlib.sha256(body).digest()


# --- what is refused -------------------------------------------------------------------------------------------------

NO_LETTER = {
    "nothing": b"", "no header": b"\r\ntext\r\n", "no author": DATE + b"\r\ntext\r\n",
    "an empty From": b"From: \r\n\r\ntext\r\n", "a From without an address": b"From: ;\r\n\r\ntext\r\n",
    "text above": b"Dear Kenji,\r\n" + WHOLE + b"\r\ntext\r\n", "a space in a name": WHOLE + b"My Field: x\r\n\r\n",
    "a line of mbox": b"From ana@rio.example Mon Nov  2 20:00:00 2026\r\n" + WHOLE + b"\r\n",
    "no name": WHOLE + b": x\r\n\r\n", "no colon at the end": WHOLE + b"Subject\r\n",
    "begins with a fold": b" x\r\n" + WHOLE + b"\r\n",
    "two authors' lines": FROM + WHOLE + b"\r\n", "two dates": WHOLE + DATE.lower() + b"\r\n",
    "two IDs": WHOLE + ID.upper() + b"\r\n", "two subjects": WHOLE + b"Subject: a\r\nSubject: b\r\n\r\n",
    "two To": WHOLE + b"To: a@b.example\r\nTo: c@d.example\r\n\r\n",
    "an empty date": FROM + ID + b"Date:\r\n\r\n", "an empty ID": FROM + DATE + b"Message-ID: \r\n\r\n",
    "parentheses": b"From: " + b"(" * 900 + b"\r\n" + b" (" * 400 + b"\r\n" * 2,
    "a long line": WHOLE + b"\r\n" + b"x" * 999 + b"\r\n",
    "a long line far behind": WHOLE + b"\r\n" + b"x\r\n" * 200_000 + b"x" * 999 + b"\r\n",
    "a long line at the end": WHOLE + b"\r\n" + b"x" * 999,
    "a long field": WHOLE + b"Subject: " + b"x" * 990 + b"\r\n\r\n",
    "a header without end": WHOLE + b"X: y\r\n" * (HEADER_LIMIT // 6) + b"\r\n",
}


@pytest.mark.parametrize("name", NO_LETTER)
def test_what_is_no_letter_is_refused(name: str) -> None:
    reply = leaves(NO_LETTER[name])
    assert isinstance(reply, Reply), reply[:200]
    assert (reply.code, reply.enhanced) == (554, "5.6.0") and reply.text.isascii() and len(str(reply)) < 500


@pytest.mark.parametrize("field", ["From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Resent-From", "Resent-To"])
@pytest.mark.parametrize("value", ["kenji@mail", "kenji@localhost", f"{YUI}, Kenji <kenji@mail>", "Crew: kenji@mail;",
                                   f"{YUI},\r\n kenji@mail"])
def test_a_header_with_half_a_domain_is_refused(field: str, value: str) -> None:
    """§4.2: who looks into a letter sees to it that all domains in it are full names."""
    others = b"" if field == "From" else FROM
    reply = leaves(others + DATE + ID + f"{field}: {value}\r\n\r\ntext\r\n".encode())
    assert isinstance(reply, Reply) and reply.code == 554 and "is not the full name of a host" in reply.text


def test_the_second_of_two_fields_is_looked_at_too() -> None:
    reply = leaves(WHOLE + b"Resent-To: yui@kyoto.example\r\nResent-To: kenji@mail\r\n\r\n")
    assert isinstance(reply, Reply) and reply.code == 554


@pytest.mark.parametrize("letter", [
    WHOLE + b"To: =?utf-8?q?kenji=40mail?= <kenji@tokyo.example>\r\n\r\nkenji@mail\r\n",
    WHOLE + b'To: "kenji@mail" <kenji@tokyo.example>\r\nSubject: kenji@mail\r\n\r\n',
    WHOLE + b"To: kenji@tokyo.example (was kenji@mail)\r\n\r\n", WHOLE + b"To: friends: ;\r\n\r\n",
    WHOLE + b"X: " + b"x" * 995 + b"\r\n\r\n" + b"x" * 998 + b"\r\n", WHOLE, WHOLE + b"\r\n",
    WHOLE + b"X: y\r\n" * 30_000 + b"\r\nbody\r\n",
    WHOLE + b"To: " + b",\r\n ".join([b"singer@choir.example"] * 5000) + b"\r\n\r\n",
])
def test_what_only_looks_wrong_leaves_as_it_came(letter: bytes) -> None:
    assert leaves(letter) == letter


def test_lines_of_a_binary_letter_are_not_measured() -> None:
    letter = WHOLE + b"\r\n" + b"x" * 5000
    assert leaves(letter, BODY="BINARYMIME") == letter == leaves(letter, BODY="binarymime")
    assert isinstance(leaves(letter, BODY="8BITMIME"), Reply)


def test_a_header_in_utf_8_needs_smtputf8() -> None:
    letter = WHOLE + "Subject: Olá\r\nTo: 用户@例え.example\r\n\r\ntext\r\n".encode()
    assert leaves(letter, SMTPUTF8="") == letter
    refused, latin = leaves(letter), leaves(WHOLE + b"Subject: Ol\xe1\r\n\r\n", SMTPUTF8="")
    assert isinstance(refused, Reply) and refused.code == 554 and "SMTPUTF8" in refused.text
    assert isinstance(latin, Reply) and latin.code == 554
    text = WHOLE + b"\r\n" + "São Paulo\r\n".encode()
    assert leaves(text) == text, "that is the body's affair (RFC 6152)"


def test_a_header_costs_bounded_time() -> None:
    start = time.process_time()                # what others do meanwhile does not count
    for octets in (b"(", b'"', b"<", b"a@", b",", b"a b ", b":;", b"@[", b"=?", b"a@mail.example,"):
        lines = [octets * (900 // len(octets))] * 270
        leaves(DATE + ID + b"From: " + b"\r\n ".join(lines) + b"\r\n\r\n")
    assert time.process_time() - start < 20


def accept_all(address: str, envelope: Envelope) -> Reply | None:
    """The policy of a server that refuses nobody."""
    return None


# --- a session: who may, and with which codes ------------------------------------------------------------------------


def wrapped(may_send: MaySend = own_address, accept_sender: Policy = accept_all,
            accept_recipient: Policy = accept_all) -> tuple[Deliver, Policy, Policy]:
    """What a submission server does with a message, a sender, a recipient."""
    role = Submission(may_send)
    return (role.deliver(lambda envelope, body: None, "mail.rio.example"), role.accept_sender(accept_sender),
            role.accept_recipient(accept_recipient))


def said_to(lines: list[str], **options: Any) -> list[str]:
    """Replies of a submission server, in rehearsal, to a user who has logged in: those behind AUTH's."""
    users = Passwords({ANA: "tides"})
    extensions = server_extensions(users=users, require_auth=True, insecure_auth=True)
    session = CodedSession("mail.rio.example", *wrapped(**options), extensions=ExtensionSet(extensions))

    def client() -> Conversation[list[str]]:
        replies = [str((yield from read_reply()))]
        for line in ["EHLO laptop.rio.example", "AUTH PLAIN AGFuYUByaW8uZXhhbXBsZQB0aWRlcw==", *lines, "QUIT"]:
            yield line.encode() + b"\r\n"
            replies.append(str((yield from read_reply())))
        return replies[3:-1]

    replies: list[str] = rehearse(client(), serve(session)).client
    return [" ".join(reply.split()[:2]) for reply in replies]


@pytest.mark.parametrize("line, expected", [
    ("MAIL FROM:<ana@rio.example>", "250 2.1.0"), ("MAIL FROM:<ANA@RIO.example>", "250 2.1.0"),
    ("MAIL FROM:<>", "250 2.1.0"), ("MAIL FROM:<director@bank.example>", "550 5.7.1"),
    ("MAIL FROM:<ana@rio.example.evil.example>", "550 5.7.1"), ("MAIL FROM:<ana@rio>", "550 5.7.1"),
    ("MAIL FROM:<an a@rio.example>", "501 5.1.7"), ("MAIL FROM:ana@rio.example", "501 5.1.7"),
    ("MAIL FROM:<postmaster>", "501 5.5.4"),
])
def test_who_may_send_as_whom(line: str, expected: str) -> None:
    assert said_to([line]) == [expected]


@pytest.mark.parametrize("line, expected", [
    ("RCPT TO:<kenji@tokyo.example>", "250 2.1.5"), ("RCPT TO:<postmaster>", "250 2.1.5"),
    ("RCPT TO:<kenji@[192.0.2.1]>", "250 2.1.5"), ("RCPT TO:<kenji@mail>", "554 5.1.2"),
    ("RCPT TO:<kenji@localhost>", "554 5.1.2"), ("RCPT TO:<@mail:kenji@tokyo.example>", "250 2.1.5"),
    ("RCPT TO:<@hub.example:kenji@mail>", "554 5.1.2"), ('RCPT TO:<"kenji@tokyo.example"@mail>', "554 5.1.2"),
    ("RCPT TO:<kenji@>", "501 5.1.3"), ("RCPT TO:<>", "501 5.5.4"),
])
def test_domains_of_recipients_are_full_names(line: str, expected: str) -> None:
    assert said_to([f"MAIL FROM:<{ANA}>", line])[1:] == [expected]


def test_domains_of_senders_are_full_names() -> None:
    anybody = {"may_send": lambda user, sender: True}
    assert said_to(["MAIL FROM:<ana@mail>"], **anybody) == ["554 5.1.8"]
    assert said_to(["MAIL FROM:<ana@mail.example>"], **anybody) == ["250 2.1.0"]


def test_the_policies_that_were_there_are_still_asked() -> None:
    def no(address: str, envelope: Envelope) -> Reply:
        return Reply(550, "no", "5.7.9")

    assert said_to([f"MAIL FROM:<{ANA}>"], accept_sender=no) == ["550 5.7.9"]
    assert said_to([f"MAIL FROM:<{ANA}>", f"RCPT TO:<{KENJI}>"], accept_recipient=no)[1:] == ["550 5.7.9"]


def test_errors_in_letters_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """§5.2."""
    with caplog.at_level(logging.INFO):
        replies = said_to([f"MAIL FROM:<{ANA}>", f"RCPT TO:<{KENJI}>", "DATA", "Dear Kenji,\r\n."])
    assert replies[-1] == "554 5.6.0"
    assert any("ana@rio.example" in line and "554 5.6.0" in line for line in caplog.messages)


# --- three doors, over sockets ---------------------------------------------------------------------------------------

LETTER = "From: choir@rio.example\r\nSubject: Choir\r\n\r\n..\r\n.\r\nMonday, 8 pm.\r\n"
ROLES = {"smtp": {}, "submission": {"require_tls": True, "require_auth": True}, "submissions": {"require_auth": True}}


@contextlib.contextmanager
def door(role: str, **options: Any) -> Iterator[Server]:
    """Our server in one of its roles: rio.example is served, to users the world."""
    implicit = role == "submissions"
    extensions = server_extensions(tls=None if implicit else TLS.server, users=USERS, **ROLES[role])
    with Server(hostname="mail.rio.example", extensions=extensions, submission=Submission() if role != "smtp" else None,
                tls=TLS.server if implicit else None, implicit_tls=implicit, accept_recipient=only(["rio.example"]),
                **options) as server:
        yield server


@contextlib.contextmanager
def smtplib_at(role: str, port: int, *, login: bool, tls: bool = True, user: str = USER,
               password: str = PASSWORD) -> Iterator[smtplib.SMTP]:
    """Python's own client at a door."""
    if role == "submissions":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL("localhost", port, context=TLS.client, timeout=30)
    else:
        smtp = smtplib.SMTP("localhost", port, timeout=30)
    with smtp:
        if role != "submissions" and tls:
            smtp.starttls(context=TLS.client)
        if login:
            smtp.login(user, password)
        yield smtp


@pytest.mark.parametrize("role", ROLES)
def test_a_user_gets_through_every_door(role: str) -> None:
    with door(role) as server, smtplib_at(role, server.address[1], login=True) as smtp:
        assert smtp.sendmail(ANA, [KENJI, YUI], LETTER) == {}
        [kept] = server.wait_for(1)
    assert kept.envelope.recipients == [KENJI, YUI] and kept.envelope.user == USER
    assert kept.envelope.protocol == "ESMTPSA" and kept.data.endswith(LETTER.encode())
    added = kept.data[: -len(LETTER)].decode()
    assert bool(added) == (role != "smtp") and added.count("\r\n") == (2 if added else 0), "port 25 mends nothing"


@pytest.mark.parametrize("role, tls, expected", [
    ("smtp", False, 550), ("smtp", True, 550), ("submission", False, 530), ("submission", True, 530),
    ("submissions", True, 530)])
def test_a_stranger_gets_through_none(role: str, tls: bool, expected: int) -> None:
    with door(role) as server, smtplib_at(role, server.address[1], login=False, tls=tls) as smtp:
        with pytest.raises((smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused)) as caught:
            smtp.sendmail(ANA, [KENJI], LETTER)
        code = getattr(caught.value, "smtp_code", None) or caught.value.recipients[KENJI][0]  # type: ignore[union-attr]
        assert code == expected and not server.messages


@pytest.mark.parametrize("role", ["submission", "submissions"])
def test_a_wrong_password_opens_nothing(role: str) -> None:
    with door(role) as server, smtplib_at(role, server.address[1], login=False) as smtp:
        smtp.ehlo()
        smtp.user, smtp.password = USER, "wrong"  # type: ignore[attr-defined]
        with pytest.raises(smtplib.SMTPAuthenticationError):
            smtp.auth("PLAIN", smtp.auth_plain)
        with pytest.raises(smtplib.SMTPSenderRefused) as caught:
            smtp.sendmail(ANA, [KENJI], LETTER)
        assert caught.value.smtp_code == 530 and not server.messages


def test_a_letter_that_cannot_leave_is_554_and_the_next_one_leaves() -> None:
    with door("submissions") as server:
        with Client("localhost", server.address[1], tls=TLS.client, implicit_tls=True, user=USER, password=PASSWORD,
                    insecure_auth=False) as smtp:
            with pytest.raises(SMTPDataError, match=r"554 5\.6\.0 .*twice"):
                smtp.sendmail(ANA, KENJI, "From: a@b.example\r\nFrom: c@d.example\r\n\r\nx")
            assert smtp.sendmail(ANA, KENJI, LETTER).accepted == [KENJI]
        assert len(server.messages) == 1


def test_a_large_letter_is_mended_in_blocks() -> None:
    sums: list[str] = []
    body = b"".join(b"%09d of a letter that is not small\r\n" % number for number in range(100_000))

    def deliver(envelope: Envelope, file: IO[bytes]) -> None:
        while file.readline() not in (b"\r\n", b""):
            pass
        digest = hashlib.sha256()
        while block := file.read(65_536):
            digest.update(block)
        sums.append(digest.hexdigest())

    with door("submission", deliver=deliver) as server:
        with Client("localhost", server.address[1], tls=TLS.client, user=USER, password=PASSWORD) as smtp:
            assert smtp.sendmail(ANA, KENJI, FROM + b"\r\n" + body).accepted
    assert sums == [hashlib.sha256(body).hexdigest()]


# --- no courtesy to strangers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipient, code", [
    ("<kenji@tokyo.example>", 550),                             # another's domain
    ("<@rio.example:kenji@tokyo.example>", 550), ("<@rio.example,@hub.example:kenji@tokyo.example>", 550),
    ("<kenji@rio.example.tokyo.example>", 550), ("<kenji@tokyo-rio.example>", 550), ("<kenji@sub.rio.example>", 550),
    ('<"kenji@rio.example"@tokyo.example>', 550), ("<kenji@[192.0.2.1]>", 550), ("<rio.example!kenji@x.example>", 550),
    ("<kenji@tokyo.example@rio.example>", 501), ("<@rio.example>", 501), ("<kenji@tokyo.example\0@rio.example>", 501),
    ("<ana@rio.example>", 250), ("<ana@RIO.EXAMPLE>", 250), ("<postmaster>", 250),       # its own
    ("<@tokyo.example:ana@rio.example>", 250),                  # the last domain decides, whatever stands before it:
    ("<kenji%tokyo.example@rio.example>", 250), ("<tokyo.example!kenji@rio.example>", 250),       # mailboxes of Rio's
    ('<"kenji@tokyo.example"@rio.example>', 250), ("<@hub.example:kenji@tokyo.example>", 550),
])
def test_no_relay_for_strangers(recipient: str, code: int) -> None:
    with door("smtp") as server, smtplib.SMTP(*server.address, timeout=30) as smtp:
        smtp.ehlo()
        assert smtp.docmd("MAIL", "FROM:<mallory@evil.example>")[0] == 250
        smtp.send(f"RCPT TO:{recipient}\r\n".encode())
        assert smtp.getreply()[0] == code


def test_the_percent_hack_ends_in_a_mailbox_here(tmp_path: Path) -> None:
    """`kenji%tokyo.example@rio.example` is somebody in Rio, and what is kept is the whole name."""
    with door("smtp") as server, smtplib.SMTP(*server.address, timeout=30) as smtp:
        smtp.sendmail("mallory@evil.example", ["kenji%tokyo.example@rio.example"], LETTER)
        [kept] = server.wait_for(1)
    assert kept.envelope.recipients == ["kenji%tokyo.example@rio.example"]


# --- as a process ----------------------------------------------------------------------------------------------------

COMMAND = [sys.executable, "-m", "smtp_from_scratch"]


@pytest.fixture(scope="module")
def three_doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, int], Path]]:
    """`serve` with all its roles; yields the ports and the Maildir."""
    folder = tmp_path_factory.mktemp("serve")
    (folder / "server.pem").write_bytes(TLS.server_pem)
    subprocess.run([*COMMAND, "user", "add", folder / "users", ANA], input=b"tides\n", check=True, timeout=60)
    command = [*COMMAND, "serve", "--tls-cert", folder / "server.pem", "--users", folder / "users",
               "--domain", "rio.example", "--maildir", folder / "Maildir", "--hostname", "mail.rio.example"]
    for role in ROLES:
        command += [f"--{role}", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        lines = [run.stdout.readline() for _ in ROLES]
        ports = {match[2]: int(match[1]) for line in lines if (match := re.search(r":(\d+) \((\w+)\)$", line))}
        assert list(ports) == list(ROLES), lines
        try:
            yield ports, folder / "Maildir"
        finally:
            run.terminate()
            assert run.wait(20) == 0


@pytest.mark.parametrize("role", ROLES)
def test_serve_in_its_roles(three_doors: tuple[dict[str, int], Path], role: str) -> None:
    ports, maildir = three_doors
    somebody = f"{role}@tokyo.example"
    with smtplib_at(role, ports[role], login=True, user=ANA, password="tides") as smtp:
        assert smtp.has_extn("auth") and smtp.has_extn("dsn")
        assert smtp.sendmail(ANA, [somebody], LETTER) == {}
    with smtplib_at(role, ports[role], login=False) as smtp, pytest.raises(smtplib.SMTPException):
        smtp.sendmail(ANA, [f"no-{role}@tokyo.example"], LETTER)
    [letter] = mailbox.Maildir(maildir / somebody, create=False)
    assert (letter["Date"] is not None) == (letter["Message-ID"] is not None) == (role != "smtp")
    assert letter["Sender"] == (ANA if role != "smtp" else None) and "ESMTPSA" in letter["Received"]
    assert not (maildir / f"no-{role}@tokyo.example").exists()


def test_a_letter_from_abroad_comes_in_at_port_25_alone(three_doors: tuple[dict[str, int], Path]) -> None:
    ports, maildir = three_doors
    with smtplib.SMTP("localhost", ports["smtp"], timeout=30) as smtp:
        smtp.sendmail(KENJI, [ANA], "no header at all, and none of our business\r\n")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            smtp.sendmail(KENJI, [YUI], LETTER)
    [letter] = mailbox.Maildir(maildir / ANA, create=False)
    assert letter["Date"] is None and letter["Message-ID"] is None


def test_a_submission_server_hears_what_it_must_not_take(three_doors: tuple[dict[str, int], Path]) -> None:
    """Whoever has logged in is refused by the same rules, in the process as in rehearsal."""
    ports, _ = three_doors
    with smtplib_at("submission", ports["submission"], login=True, user=ANA, password="tides") as smtp:
        assert smtp.docmd("MAIL", "FROM:<ana@mail>")[0] == 554
        assert smtp.docmd("MAIL", f"FROM:<{ANA}>")[0] == 250
        assert smtp.docmd("RCPT", "TO:<kenji@mail>")[0] == 554
        assert smtp.docmd("RCPT", f"TO:<{KENJI}>")[0] == 250
        assert smtp.docmd("DATA")[0] == 354
        smtp.send(b"".join(stuff([b"From: ana@mail\r\n\r\ntext\r\n"])))
        assert smtp.getreply()[0] == 554
