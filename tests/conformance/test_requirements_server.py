"""What RFCs ask of a server and no dialogue can ask: what is kept, what the trace says, which codes there are."""
from __future__ import annotations

import ast
import io
import re
import smtplib
import ssl
import sys
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from smtp_from_scratch import Client, Envelope, Maildir, Reply, Server
from smtp_from_scratch.auth import Passwords
from smtp_from_scratch.cli.serve import only
from smtp_from_scratch.conversation import Conversation, rehearse
from smtp_from_scratch.dsn import request
from smtp_from_scratch.ehlo import ExtensionSet
from smtp_from_scratch.maildir import trace
from smtp_from_scratch.report import reporting
from smtp_from_scratch.session import Session, serve
from smtp_from_scratch.smtp import server_extensions
from smtp_from_scratch.status import CodedSession
from smtp_from_scratch.submission import Submission
from smtp_from_scratch.wire import encode_reply

PACKAGE = Path(sys.modules["smtp_from_scratch"].__file__ or "").parent
OPENING = b"HELO rio.example\r\nMAIL FROM:<Ana.Lima@Rio.example>\r\nRCPT TO:<Kenji@Tokyo.example>\r\n"


def pour(data: bytes) -> Conversation[None]:
    """A client that says everything at once and hangs up."""
    yield data


# --- envelopes -------------------------------------------------------------------------------------------------------


def test_a_local_part_keeps_its_case() -> None:
    kept: list[Envelope] = []
    more = b'RCPT TO:<kenji@Tokyo.example>\r\nRCPT TO:<"Yui San"@Tokyo.example>\r\nDATA\r\n.\r\n'
    rehearse(pour(OPENING + more), serve(Session(deliver=lambda envelope, body: kept.append(envelope))))
    assert kept[0].sender == "Ana.Lima@Rio.example"
    assert kept[0].recipients == ["Kenji@Tokyo.example", "kenji@Tokyo.example", '"Yui San"@Tokyo.example']


def test_a_null_reverse_path_stays_null(tmp_path: Path) -> None:
    with Server(deliver=Maildir(tmp_path)) as server, smtplib.SMTP(*server.address) as smtp:
        smtp.sendmail("", ["ana@rio.example"], "Subject: undeliverable\r\n\r\nSorry.\r\n")
    [file] = (tmp_path / "ana@rio.example" / "new").iterdir()
    assert file.read_bytes().startswith(b"Return-Path: <>\n")


def test_a_server_for_some_domains_refuses_others_with_550() -> None:
    with Server(accept_recipient=only(["Tokyo.example"])) as server, smtplib.SMTP(*server.address) as smtp:
        smtp.helo("rio.example")
        smtp.mail("ana@rio.example")
        assert smtp.rcpt("li@beijing.example")[0] == 550
        assert smtp.rcpt("li%beijing.example@elsewhere.example")[0] == 550
        assert smtp.docmd("RCPT", "TO:<@tokyo.example:li@beijing.example>")[0] == 550
        assert smtp.rcpt("kenji@TOKYO.example")[0] == 250
        assert smtp.docmd("RCPT", "TO:<Postmaster>")[0] == 250


# --- trace -----------------------------------------------------------------------------------------------------------

RECEIVED = re.compile(                                  # RFC 5321 §4.4: Time-stamp-line, with what we use of it
    r"from (?P<hello>\S+)(?: \(\[(?:IPv6:)?[0-9a-f.:]+\]\))?\r\n"
    r"\tby (?P<by>\S+) with (?P<protocol>\S+) id (?P<id>\S+)(?:\r\n\tfor <[^<>]+>)?;\r\n"
    r"\t(?P<date>(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} [+-][0-9]{4}"
    r"(?: \([A-Z]+\))?)\r\n")
REGISTERED = {"SMTP", "ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA", "LMTP", "LMTPA", "LMTPS", "LMTPSA",
              "UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA"}       # RFC 3848, RFC 6531 §4.3


@pytest.mark.parametrize("recipients", [["kenji@tokyo.example"], ["kenji@tokyo.example", "yui@tokyo.example"]])
@pytest.mark.parametrize("peer", ["", "192.0.2.7", "2001:db8::1"])
def test_a_received_field_has_the_form_of_the_grammar(peer: str, recipients: list[str]) -> None:
    envelope = Envelope("ana@rio.example", recipients, "rio.example", peer)
    path, _, received = trace(envelope, "mx.example", "4711.P1Q1.mx").decode().partition("\r\nReceived: ")
    assert path == "Return-Path: <ana@rio.example>"
    match = RECEIVED.fullmatch(received)
    assert match, received
    assert match["protocol"] in REGISTERED and match["hello"] == "rio.example" and match["by"] == "mx.example"
    assert parsedate_to_datetime(match["date"]).tzinfo is not None and "-0000" not in match["date"]


def test_trace_fields_go_before_all_others(tmp_path: Path) -> None:
    old = b"Received: from a.example by b.example; 24 Nov 2026 09:00:00 +0900\r\nSubject: hello\r\n" \
          b"Received: from 0.example by a.example; 24 Nov 2026 08:59:59 +0900\r\n\r\ntext\r\n"
    envelope = Envelope("ana@rio.example", ["kenji@tokyo.example"], "b.example")
    assert Maildir(tmp_path, "mx.example")(envelope, io.BytesIO(old)).code == 250
    [file] = (tmp_path / "kenji@tokyo.example" / "new").iterdir()
    text = file.read_bytes()
    assert text.startswith(b"Return-Path: <ana@rio.example>\nReceived: from b.example\n\tby mx.example ")
    assert text.endswith(old.replace(b"\r\n", b"\n")) and text.count(b"Received:") == 3


def test_the_reply_to_a_letter_waits_for_delivery_alone() -> None:
    """When the end mark comes, all that came before has been unstuffed and put aside already (§6.1)."""
    handed: list[int] = []
    talk = serve(Session(deliver=lambda envelope, body: handed.append(len(body.read()))))
    want: Any = next(talk)
    lines = OPENING.split(b"\r\n")[:-1] + [b"DATA"]
    while type(want).__name__ != "Body":
        want = talk.send(lines.pop(0) if type(want).__name__ == "Line" else None)
    cutter, text, steps = want.cutter, b"x" * 998 + b"\r\n", 0
    for _ in range(100):
        block, rest = cutter.cut(text)
        assert rest == b"" and len(block) >= 998
        want = talk.send(block)
    want = talk.send(cutter.cut(b".\r\n")[0] or b"")
    while not isinstance(want, Reply):
        steps += 1
        want = talk.send(want.function() if hasattr(want, "function") else b"")
    assert want.code == 250 and handed == [100_000] and steps <= 2


# --- replies ---------------------------------------------------------------------------------------------------------

# RFC 5321 §4.2.3; 521 and 556: RFC 7504; 235, 334, 432, 454, 530, 534, 535, 538: RFC 4954; 555: §4.1.1.11
CODES = {211, 214, 220, 221, 235, 250, 251, 252, 334, 354, 421, 432, 450, 451, 452, 454, 455, 500, 501, 502, 503, 504,
         521, 530, 534, 535, 538, 550, 551, 552, 553, 554, 555, 556}


def test_our_reply_codes_are_those_of_the_rfcs() -> None:
    found = 0
    for path in sorted([*PACKAGE.glob("*.py"), *PACKAGE.glob("smtp/*.py")]):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Reply"
                    and node.args and isinstance(node.args[0], ast.Constant)):
                found += 1
                assert node.args[0].value in CODES, f"{path.name}:{node.lineno}"
                assert len(node.args) > 1 and ast.unparse(node.args[1]) != "''" or node.args[0].value == 334, (
                    f"{path.name}:{node.lineno}: a reply has a text (§4.2)")
    assert found > 20


@pytest.mark.parametrize("code", [0, 99, 100, 150, 199, 600, 999, 2500, -250])
def test_no_reply_has_a_code_outside_200_to_599(code: int) -> None:
    with pytest.raises(ValueError, match="between 200 and 599"):
        Reply(code, "no")


@pytest.mark.parametrize("text", ["one", "one\ntwo", "one\n\nthree", "250 looks like a code\n550 this too", "\n"])
def test_every_line_of_a_reply_has_its_code(text: str) -> None:
    *first, last, nothing = encode_reply(Reply(550, text, "5.7.1")).split(b"\r\n")
    assert nothing == b"" and len(first) == text.count("\n")
    assert all(line.startswith(b"550-5.7.1") for line in first) and last.startswith(b"550 5.7.1")


# --- extensions ------------------------------------------------------------------------------------------------------

REGISTRY = {                                            # IANA's SMTP service extensions, those in use
    "8BITMIME", "AUTH", "BINARYMIME", "BURL", "CHECKPOINT", "CHUNKING", "CONNEG", "CONPERM", "DELIVERBY", "DSN",
    "ENHANCEDSTATUSCODES", "ETRN", "EXPN", "FUTURERELEASE", "HELP", "LIMITS", "MT-PRIORITY", "MTRK", "NO-SOLICITING",
    "PIPELINING", "REQUIRETLS", "RRVS", "SIZE", "SMTPUTF8", "STARTTLS", "SUBMITTER", "VRFY"}
EHLO = b"EHLO rio.example\r\n"
LETTER = b"MAIL FROM:<ana@rio.example>\r\nRCPT TO:<kenji@tokyo.example>\r\nDATA\r\nSubject: x\r\n\r\ntext\r\n.\r\n"


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("mx.example").configure_cert(context)
    return context


def extended(context: ssl.SSLContext | None = None, deliver: Any = lambda envelope, body: None,
             secure: bool = False, **options: Any) -> CodedSession:
    """A session with everything there is; AUTH for `ana` in the clear too."""
    options = {"users": Passwords({"ana": "secret"}), "insecure_auth": True} | options
    return CodedSession("mx.example", deliver, extensions=ExtensionSet(server_extensions(tls=context, **options)),
                        secure=secure)


def flights_of(session: CodedSession, data: bytes) -> list[bytes]:
    """What the server sends in answer to one flight, without its greeting: a bytes object for each sending."""
    seen: list[bytes] = []

    def note(flight: bytes) -> list[bytes]:
        seen.append(flight)
        return [flight]

    rehearse(pour(data), serve(session), cut=note)
    return [flight for flight in seen if flight != data][1:]


def replies(session: CodedSession, data: bytes) -> list[str]:
    """The last line of every reply to some commands, the greeting left out."""
    lines = b"".join(flights_of(session, data)).decode().splitlines()
    return [line for line in lines if line[3:4] != "-"]


def offer_of(session: CodedSession) -> list[str]:
    return [line[4:] for line in b"".join(flights_of(session, EHLO)).decode().splitlines()[1:]]


def test_every_keyword_is_registered(context: ssl.SSLContext) -> None:
    offer = [line.split(" ")[0] for line in offer_of(extended(context))]
    assert len(offer) >= 9 and len(offer) == len(set(offer))
    assert set(offer) <= REGISTRY, set(offer) - REGISTRY


def test_what_ehlo_lists_is_not_answered_500_or_502(context: ssl.SSLContext) -> None:
    said = {"CHUNKING": b"BDAT 0", "STARTTLS": b"STARTTLS now", "AUTH": b"AUTH NONE", "HELP": b"HELP",
            "EXPN": b"EXPN x", "VRFY": b"VRFY x",
            "SIZE": b"MAIL FROM:<a@b.example> SIZE=1", "8BITMIME": b"MAIL FROM:<> BODY=8BITMIME",
            "BINARYMIME": b"MAIL FROM:<> BODY=BINARYMIME", "SMTPUTF8": "MAIL FROM:<é@b.example> SMTPUTF8".encode(),
            "DSN": b"MAIL FROM:<> RET=HDRS ENVID=x", "PIPELINING": b"NOOP", "ENHANCEDSTATUSCODES": b"NOOP"}
    for line in offer_of(extended(context)):
        reply = replies(extended(context), EHLO + said[line.split(" ")[0]] + b"\r\n")[1]
        assert reply[:3] not in ("500", "502", "555"), (line, reply)


REQUIRED = {"EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT", "VRFY"}         # RFC 5321 §4.5.1


def test_ehlo_lists_every_verb_that_not_all_servers_have(context: ssl.SSLContext) -> None:
    """By its name, or by that of its extension; EXPN is known and not done, so it is not listed (RFC 5321 §3.5.2)."""
    session = extended(context)
    offer = {line.split(" ")[0] for line in offer_of(extended(context))}
    done = {verb for verb in session.verbs
            if replies(extended(context), EHLO + verb.encode() + b" x\r\n")[1][:3] not in ("500", "502")}
    assert "EXPN" not in done and {"HELP", "BDAT", "STARTTLS", "AUTH"} <= done
    assert {"CHUNKING" if verb == "BDAT" else verb for verb in done - REQUIRED} <= offer


@pytest.mark.parametrize("code", [452, 552])
def test_a_declared_size_may_be_refused_to_one_recipient(code: int) -> None:
    """RFC 1870 §6.4."""
    def small(address: str, envelope: Envelope) -> Reply | None:
        too_large = address.startswith("yui") and int(envelope.parameters.get("SIZE") or 0) > 10_000
        return Reply(code, "her mailbox takes 10,000 octets", f"{code // 100}.2.3") if too_large else None

    said = b"MAIL FROM:<ana@rio.example> SIZE=%d\r\nRCPT TO:<yui@t.example>\r\nRCPT TO:<kenji@t.example>\r\n"
    for size, expected in ((10_001, str(code)), (10_000, "250")):
        session = CodedSession("t.example", extensions=ExtensionSet(server_extensions()), accept_recipient=small)
        assert [reply[:3] for reply in replies(session, EHLO + said % size)[1:]] == ["250", expected, "250"]


def test_smtputf8_stands_alone() -> None:
    assert "SMTPUTF8" in offer_of(extended()) and "8BITMIME" in offer_of(extended())


def test_replies_to_a_group_are_sent_as_one() -> None:
    group = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<nobody\r\nRSET\r\nMAIL FROM:<>\r\n"
    hello, answers = flights_of(extended(), EHLO + group)
    assert hello.startswith(b"250-mx.example\r\n")
    assert [line[:3] for line in answers.splitlines()] == [b"250", b"250", b"501", b"250", b"250"]


@pytest.mark.parametrize("before, line, code", [
    (b"", b"EHLO rio.example", b"250"), (b"", b"NOOP", b"250"), (b"", b"VRFY ana", b"252"), (b"", b"EXPN ana", b"502"),
    (b"MAIL FROM:<>\r\nRCPT TO:<ana@rio.example>\r\n", b"DATA", b"354"), (b"", b"DATA", b"503"),
    (b"", b"XYZZY", b"500"), (b"", b"TURN", b"500"), (b"", b"", b"500"),
])
def test_some_replies_are_not_held_back(before: bytes, line: bytes, code: bytes) -> None:
    hello, answers, last = flights_of(extended(), EHLO + before + line + b"\r\n" + b"RSET\r\n" * (code != b"354")
                                      + b".\r\n" * (code == b"354"))
    assert answers.splitlines()[-1].startswith(code), "no later reply waits together with this one"
    assert last.startswith(b"250 2.")


def test_replies_say_what_they_answer() -> None:
    said = replies(extended(), EHLO + b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nNOOP\r\nRSET\r\n")[1:]
    assert [line[:6] for line in said] == ["250 2."] * 4 and len({line[10:] for line in said}) == 4


def test_a_server_that_insists_on_tls_says_530(context: ssl.SSLContext) -> None:
    told = b"MAIL FROM:<>\r\nVRFY ana\r\nEXPN ana\r\nAUTH PLAIN\r\nRCPT TO:<a@b.example>\r\nDATA\r\n"
    told += b"BDAT 6 LAST\r\nQUIT\r\n"
    said = replies(extended(context, require_tls=True), EHLO + told + b"NOOP\r\nEHLO rio.example\r\nQUIT\r\n")
    assert all(line.startswith("530 5.7.0 ") for line in said[1:8]), said
    assert [line[:3] for line in said[8:]] == ["250", "250", "221"]
    assert replies(extended(context, require_tls=True, secure=True), EHLO + b"MAIL FROM:<>\r\n")[1][:3] == "250"


@pytest.mark.parametrize("said, reply", [
    (b"AUTH PLAIN AGFuYQBzZWNyZXQ=", "235 2.7.0"), (b"AUTH PLAIN AGFuYQB3cm9uZw==", "535 5.7.8"),
    (b"AUTH XYZZY", "504 5.5.4"), (b"AUTH CRAM-MD5 AAAA", "501 5.7.0"), (b"AUTH PLAIN !", "501 5.5.2"),
    (b"AUTH PLAIN\r\n=AAA", "501 5.5.2"), (b"AUTH PLAIN\r\n*", "501 5."),
    (b"AUTH PLAIN\r\n" + b"A" * 20_000, "500 5.5.6"),
])
def test_auth_refuses_with_the_codes_of_its_list(said: bytes, reply: str) -> None:
    assert replies(extended(), EHLO + said + b"\r\n")[-1].startswith(reply)


def test_received_says_how_a_letter_came() -> None:
    kept: list[str] = []

    def deliver(envelope: Envelope, body: Any) -> None:
        kept.append(re.findall(r" with (\S+) id", trace(envelope, "mx.example", "1").decode())[0])

    auth = b"AUTH PLAIN AGFuYQBzZWNyZXQ=\r\n"
    for secure in (False, True):
        for opening in (EHLO, EHLO + auth):
            rehearse(pour(opening + LETTER), serve(extended(deliver=deliver, secure=secure)))
    rehearse(pour(b"HELO rio.example\r\n" + LETTER), serve(extended(deliver=deliver)))
    assert kept == ["ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA", "SMTP"] and set(kept) <= REGISTERED


def test_every_octet_above_127_arrives(tmp_path: Path) -> None:
    text = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + bytes(range(128, 256)) * 50 + b"\r\n"
    with Server() as server, Client(*server.address) as smtp:
        assert smtp.sendmail("ana@rio.example", "kenji@tokyo.example", text).accepted
        assert server.wait_for(1)[0].data == text
    with Server(deliver=Maildir(tmp_path)) as server, Client(*server.address) as smtp:
        assert smtp.sendmail("ana@rio.example", "kenji@tokyo.example", text).accepted
    [file] = (tmp_path / "kenji@tokyo.example" / "new").iterdir()
    assert file.read_bytes().endswith(text.replace(b"\r\n", b"\n"))


# --- delivery reports and submission ---------------------------------------------------------------------------------

YUI = "yui@tokyo.example"


def test_wishes_that_nobody_had_are_not_relayed() -> None:
    with Server() as first, Server() as second, Client(*first.address) as one, Client(*second.address) as other:
        one.sendmail("ana@rio.example", [YUI], "hello")
        received = first.wait_for(1)[0]
        other.transact(received.envelope, received.data)
        relayed = second.wait_for(1)[0].envelope
    assert not {"RET", "ENVID"} & set(relayed.parameters) and not relayed.options.get(YUI)


def test_a_line_may_have_all_parameters_at_their_longest() -> None:
    mail = (f"MAIL FROM:<{'a' * 64}@{'b' * 60}.example> SIZE={'1'.zfill(20)} BODY=8BITMIME SMTPUTF8 RET=FULL "
            f"ENVID={'e' * 100} AUTH={'+2B' * 64}@{'y' * 60}.{'z' * 60}.example")
    rcpt = f"RCPT TO:<{'a' * 64}@{'b' * 60}.example> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;{'o' * 486}"
    rest = b"".join(f"{line}\r\n".encode() for line in (mail, rcpt))
    assert len(mail) > 512 and len(rcpt) > 512
    assert [line[:3] for line in replies(extended(), EHLO + rest)] == ["250", "250", "250"]


def reported(reply: Reply, **wishes: Any) -> tuple[Envelope, str]:
    """The envelope of the report about a letter for two, one of whom gets it, and its fields as text."""
    sent: list[tuple[Any, Envelope]] = []
    deliver = reporting(lambda envelope, body: {YUI: reply, "kenji@tokyo.example": Reply(250, "kept")}, "mx.example",
                        lambda message, envelope: sent.append((message, envelope)))
    envelope = Envelope("ana@rio.example", [YUI, "kenji@tokyo.example"])
    deliver(request(envelope, **wishes), io.BytesIO(b"Subject: x\r\n\r\ntext\r\n"))
    [(message, back)] = sent
    return back, "\n".join(str(part) for part in message.get_payload()[1].get_payload()).replace("\r\n", "\n")


def test_a_report_is_sent_without_ret() -> None:
    back, _ = reported(Reply(550, "gone"), ret="FULL", envid="QQ")
    assert "RET" not in back.parameters and back.sender == ""


def test_fields_that_nobody_asked_for_are_not_there() -> None:
    _, asked = reported(Reply(550, "gone"), envid="QQ", orcpt={YUI: "Yui@choir.example"})
    _, fields = reported(Reply(550, "gone"))
    for name in ("Original-Envelope-Id: ", "Original-Recipient: "):
        assert name in asked and name not in fields
    assert f"Final-Recipient: rfc822; {YUI}\n" in fields and "Status: 5.0.0\n" in fields
    assert "Reporting-MTA: dns; mx.example\n" in fields


def submitted(letter: bytes) -> tuple[list[str], list[bytes]]:
    """What a submission server says to a letter, and what it keeps."""
    kept: list[bytes] = []
    deliver = Submission().deliver(lambda envelope, body: kept.append(body.read()), "mx.example")
    session = CodedSession("mx.example", deliver, extensions=ExtensionSet(server_extensions()))
    envelope = b"MAIL FROM:<ana@rio.example>\r\nRCPT TO:<yui@tokyo.example>\r\nDATA\r\n"
    return replies(session, EHLO + envelope + letter + b".\r\n")[-1:], kept


def test_submission_adds_what_is_missing() -> None:
    bare = b"From: ana@rio.example\r\nSubject: x\r\n\r\ntext\r\n"
    [said], [kept] = submitted(bare)
    assert said.startswith("250 ") and kept.endswith(bare)
    added = kept[: -len(bare)].decode()
    assert re.fullmatch(r"Date: [^\r\n]+\r\nMessage-ID: <[^<>@\s]+@mx\.example>\r\n", added)
    whole = b"Date: Tue, 24 Nov 2026 09:00:00 +0900\r\nMessage-ID: <1@rio.example>\r\n" + bare
    assert submitted(whole)[1] == [whole]


def test_submission_refuses_with_554_what_it_cannot_mend() -> None:
    said, kept = submitted(b"Subject: from nobody\r\n\r\ntext\r\n")
    assert said[0].startswith("554 5.6.0") and not kept
