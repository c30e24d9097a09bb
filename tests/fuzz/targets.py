"""What is fuzzed: functions of octets that raise an AssertionError, or anything else, when something is wrong."""
from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import Message
from typing import Any

from smtp_from_scratch import dsn, scram, users
from smtp_from_scratch.auth import decode64
from smtp_from_scratch.bodies import MEMORY, Spool
from smtp_from_scratch.chunking import parse_bdat, whole_lines
from smtp_from_scratch.conformance.notation import NotationError, parse
from smtp_from_scratch.ehlo import read_parameters
from smtp_from_scratch.envelope import BadPath, BodyCutter, Envelope, envelope_of, normalize, parse_path, stuff
from smtp_from_scratch.printable import printable
from smtp_from_scratch.report import build_report, parse_report
from smtp_from_scratch.sasl import AuthError, encode64
from smtp_from_scratch.saslprep import saslprep
from smtp_from_scratch.starttls import TLSLayer
from smtp_from_scratch.submission import additions
from smtp_from_scratch.wire import BadReply, Inbox, Reply, WireError, encode_reply, parse_command, parse_reply
from smtp_from_scratch.xtext import decode_xtext, encode_xtext
from tests.fuzz import ends
from tests.fuzz.model import END, Walk, Wrong, bare, replies_in, transactions, unstuffed
from tests.ours import TLS

Target = Callable[[bytes], None]
TARGETS: dict[str, Target] = {}
TRACE = re.compile(rb"Return-Path: <[^\r\n]*>\r\nReceived: from [^\r\n]+\r\n(\t[^\r\n]+\r\n)+")


def target(function: Target) -> Target:
    TARGETS[function.__name__] = function
    return function


def expect(truth: object, what: str) -> None:
    if not truth:
        raise Wrong(what)


# --- whole sessions --------------------------------------------------------------------------------------------------


def cutting(head: bytes) -> list[int]:
    """How octets are cut: by two numbers, of which 0 means not at all."""
    return [size for size in head if size] if head and head[0] else []


@target
def session(data: bytes) -> None:
    """A server hears octets: its role and their cutting are the first three."""
    role, sizes, octets = data[0] % len(ends.OFFERS) if data else 0, cutting(data[1:3]), data[3:]
    said, taken, traces = ends.serve(role, octets, sizes)
    expect(max(map(len, said.split(b"\n"))) < 512, f"a line of a reply that is too long: {said!r}")
    must = Walk(octets, replies_in(said), ends.LIMIT, role not in ends.WITHOUT_BDAT).run()
    if must != taken:
        raise Wrong(f"taken: {taken}, by its replies: {must}")
    for trace in traces:
        expect(TRACE.fullmatch(trace) and trace.count(b"\n") == trace.count(b"\r\n") == trace.count(b"\r"),
               f"a trace of other lines: {trace!r}")


RECIPIENTS = (("kenji@tokyo.example",), ("kenji@tokyo.example", "li@beijing.example"),
              tuple(f"u{n}@oslo.example" for n in range(5)), ("\u7528\u6237@tokyo.example", "li@beijing.example"))
BODIES = (b"hello\n", b".\n..\n", b"x" * 990 + b"\n", b"\xe9\xe8\n", b"", b"no end", b"line\n" * 500)
WITHOUT = ((), ("PIPELINING",), ("CHUNKING",), ("PIPELINING", "CHUNKING"), ("SIZE", "8BITMIME"))


@target
def client(data: bytes) -> None:
    """A server's octets, said at once: the first three say which letters our client has."""
    head, script = data[:3].ljust(3, b"\0"), data[3:]
    letters = tuple((RECIPIENTS[(head[0] >> 2 * n) % 4], BODIES[(head[1] + n) % len(BODIES)])
                    for n in range(1 + head[2] % 3))
    errand = ends.Errand(letters, script[:60_000], WITHOUT[head[2] // 3 % len(WITHOUT)], eager=head[2] > 128)
    said, receipts, well = ends.call(errand)
    replies = replies_in(script, strict=False)
    leaving = next((number for number, answer in enumerate(replies) if answer.code == 421), len(replies))
    sent = transactions(said, replies[:leaving])        # what a server says after 421 settles nothing
    accepted_of, put_off = dict[bytes, set[bytes]](), dict[bytes, set[bytes]]()
    for one in sent:                            # again only for those who were too many for one transaction
        again = one.sender in accepted_of
        expect(not again or (accepted_of[one.sender] and one.answers.keys() <= put_off[one.sender]),
               f"sent twice: {one.sender!r} to {[*one.answers]}, put off: {put_off.get(one.sender)}")
        accepted_of[one.sender] = accepted_of.get(one.sender, set()) | one.accepted
        put_off[one.sender] = {address for address, answer in one.answers.items() if answer.code in (452, 552)}
        expect(one.size is None or not one.accepted or one.size == len(one.body),
               f"SIZE={one.size}, and {len(one.body)} octets were sent")
    for receipt in receipts:
        accepted = {ends.wire(address) for address in receipt.accepted}
        must = accepted_of.get(receipt.sender.encode(), set())   # what was never sent since the line broke is not in it
        expect(accepted == must if well else accepted >= must, f"{receipt} for {sent}")
    expect(len({receipt.sender for receipt in receipts}) == len(receipts), "two receipts for a letter")


# --- parsers ---------------------------------------------------------------------------------------------------------


@target
def reply(data: bytes) -> None:
    """Lines of a reply, and the way back."""
    with contextlib.suppress(BadReply):
        found = parse_reply(data.split(b"\r\n"))
        expect("\n" not in str(found) and str(found).isprintable(), f"not printable: {found!r}")
        with contextlib.suppress(ValueError):   # a CR in its text: none of ours
            octets = encode_reply(Reply(found.code, found.text))
            expect(replies_in(octets)[0].code == found.code, repr(octets))
            expect(parse_reply(octets.removesuffix(b"\r\n").split(b"\r\n")).code == found.code, repr(octets))


LAST_FAULTS = {"OtherProtocol"}                 # nobody reads on after these


@target
def lines(data: bytes) -> None:
    """However octets are cut, the same lines, and the same faults."""
    size, data = (data[0] if data else 0) or 1, data[1:]
    limit = 40

    def take(pieces: list[bytes]) -> list[bytes | str]:
        inbox, found = Inbox(), list[bytes | str]()
        for piece in pieces:
            inbox.feed(piece)
            while True:
                try:
                    line = inbox.line(limit)
                except WireError as error:
                    found.append(type(error).__name__)
                    if found[-1] in LAST_FAULTS:
                        return found
                    continue
                if line is None:
                    break
                found.append(line)
        return found

    whole, cut = take([data]), take(ends.cut_into(data, [size]))
    expect(whole == cut, f"{whole} but {cut}")
    good, tainted = [], False
    for line in re.findall(rb"[^\n]*\n", data):
        if line.endswith(b"\r\n") and b"\r" not in line[:-2] and not tainted and len(line) <= limit:
            good.append(line[:-2])
        tainted = not line.endswith(b"\r\n")
    taken = [line for line in whole if isinstance(line, bytes)]
    expect(taken == good[: len(taken)] if LAST_FAULTS.intersection(whole[-1:]) else taken == good, f"{whole}: {good}")


@target
def body(data: bytes) -> None:
    """A dot-stuffed body, cut anywhere, ends where it must, and what follows it is left alone."""
    size, data = (data[0] if data else 0) or 1, data[1:]
    for pieces in ([data], ends.cut_into(data, [size])):
        cutter, spool, found, rest = BodyCutter(), Spool(1000, MEMORY), b"", b""
        for number, piece in enumerate(pieces):
            block, rest = cutter.cut(piece)
            found += block
            spool.add(block)
            if cutter.ended:
                rest += b"".join(pieces[number + 1 :])
                break
        end = (b"\r\n" + data).find(END)
        expect(cutter.ended == (end >= 0), f"ended: {cutter.ended}, at {end}")
        if end >= 0:
            text = unstuffed(data[:end])
            expect(rest == data[end + 3 :], f"left: {rest!r}")
            expect(found == text, f"{found!r} is not {text!r}")
            fault = spool.finish()
            wrong = 554 if bare(text) else 552 if len(text) > 1000 else 0
            expect(spool.octets == len(text) and wrong == (fault.code if fault else 0), f"{fault} of {text!r}")
            spool.file.seek(0)
            expect(wrong or spool.file.read() == text, f"kept: {text!r}")
        spool.close()


@target
def said(data: bytes) -> None:
    """What our client makes of a text is one body, whose text is the same but for its line ends."""
    size, data = (data[0] if data else 0) or 1, data[1:]
    pieces = ends.cut_into(data, [size])
    text = re.sub(rb"\r\n|\r|\n", b"\r\n", data)
    expect(b"".join(normalize(pieces)) == text, "normalize")
    octets = b"".join(stuff(pieces))
    expect((b"\r\n" + octets).find(END) + 3 == len(octets) and not bare(octets), f"{octets!r}")
    expect(unstuffed(octets[:-3]) == (text if text.endswith(b"\r\n") or not text else text + b"\r\n"), f"{octets!r}")
    expect(b"".join(whole_lines(pieces)) == (text if text.endswith(b"\r\n") or not text else text + b"\r\n"), "lines")


@target
def path(data: bytes) -> None:
    """Paths and parameters, as MAIL and RCPT carry them."""
    text = parse_command(b"X " + data).argument
    with contextlib.suppress(BadPath):
        found, rest = parse_path(text)
        expect(str(found) + rest == text or found.route or found.local.lower() == "postmaster", f"{found} {rest!r}")
        expect(not re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", str(found)), f"{found!r}")
    parameters = read_parameters(text)
    if not isinstance(parameters, Reply):
        for name, value in parameters.items():
            expect(re.fullmatch("[A-Z0-9][A-Z0-9-]*", name), name)
            expect(value is None or (value and not re.search(r"[\x00-\x20=\x7f]", value)), repr(value))
    else:
        expect("\n" not in parameters.text, repr(parameters))


@target
def values(data: bytes) -> None:
    """The values of parameters, and what is in BASE64."""
    text = data.decode("utf-8", "surrogateescape")
    for read in (dsn.parse_notify, dsn.parse_ret, dsn.parse_envid, dsn.parse_orcpt):
        with contextlib.suppress(ValueError):
            read(text)
    with contextlib.suppress(ValueError):
        expect(decode_xtext(encode_xtext(decode_xtext(text))) == decode_xtext(text), text)
    with contextlib.suppress(ValueError):
        expect(decode64(encode64(decode64(text))) == decode64(text), text)
    with contextlib.suppress(AuthError):
        scram.client_first(text)
    with contextlib.suppress(AuthError, ValueError):
        scram.server_first(text, "n")
    with contextlib.suppress(AuthError):
        scram.decode_name(text)
    with contextlib.suppress(ValueError):
        expect(saslprep(saslprep(text)) == saslprep(text), repr(text))
    with contextlib.suppress(users.BadUserFile):
        users.parse_users(text, "users")
    size = parse_bdat(text)
    expect(size is None or 0 <= size[0] < 10**18, text)
    expect(printable(text).isprintable(), text)


@target
def report(data: bytes) -> None:
    """A letter from anywhere: a delivery report perhaps, or the letter that one is about."""
    with contextlib.suppress(ValueError):
        parse_report(data)
    message = Message()
    with contextlib.suppress(Exception):        # the library's parser has errors of many kinds
        message = message_from_bytes(data, policy=policy.default)
    with contextlib.suppress(ValueError):
        envelope_of(message)
    envelope = Envelope("ana@rio.example", ["kenji@tokyo.example"], parameters={"RET": "FULL"})
    outcome = {"kenji@tokyo.example": Reply(550, "no such user", "5.1.1")}
    made = build_report(envelope, outcome, data, "mx.example.org")
    expect(made is not None, "no report")
    read = parse_report(made.as_bytes(policy=policy.SMTP))     # type: ignore[union-attr]
    expect([one.recipient for one in read.recipients] == ["kenji@tokyo.example"], f"{read}")
    additions(data, "ana", "mx.example.org")


@target
def tls(data: bytes) -> None:
    """Whatever comes in place of a handshake, at either end."""
    for context, at_server in ((TLS.server, True), (TLS.client, False)):
        layer: Any = TLSLayer(context, None if at_server else "127.0.0.1", at_server)
        with contextlib.suppress(OSError):
            expect(layer.receive(data) == b"" and not layer.ready, "a handshake of noise")


@target
def dialogues(data: bytes) -> None:
    """A file of dialogues that somebody wrote."""
    with contextlib.suppress(NotationError):
        list(parse(data.decode("utf-8", "replace")))
