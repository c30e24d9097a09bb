"""The checks of `envelope` find what is wrong, say so, and take right answers in any style."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.addresses import addresses_in
from smtp_from_scratch.bodies import Newlines
from smtp_from_scratch.conversation import Timeout
from smtp_from_scratch.envelope import (
    BadPath,
    Body,
    BodyCutter,
    Envelope,
    encode_path,
    envelope_of,
    has_bare_newline,
    parse_path,
    split_tail,
    stuff,
)
from smtp_from_scratch.wire import Reply
from tests.solutions import solution


def refused(verdict: Any, says: str) -> None:
    assert not verdict.passed and says in str(verdict), str(verdict)


def test_the_solutions_pass() -> None:
    for cell, name in (("my-envelope-of", "envelope_of"), ("my-encode-path", "encode_path"), ("my-stuff", "stuff"),
                       ("my-has-bare-newline", "has_bare_newline"), ("my-split-tail", "split_tail"),
                       ("my-octets", "octets"), ("my-who", "who"), ("my-receive", "receive")):
        verdict = getattr(lab, f"check_{name}")(solution("03_envelope", cell)[f"my_{name}"])
        assert verdict.passed, str(verdict)


# -- an envelope from a header --


def made(message: Message, fields: Iterable[str] = ("To", "Cc", "Bcc"), senders: Iterable[str] = ("Sender", "From")
         ) -> Envelope:
    sender = next(address for name in senders for address in addresses_in(message, name))
    return Envelope(sender, list(dict.fromkeys(a for name in fields for a in addresses_in(message, name))))


def no_sender(message: Message) -> Envelope:
    return made(message) if message["From"] else Envelope("", addresses_in(message, "To"))


def twice(message: Message) -> Envelope:
    return Envelope(made(message).sender, [a for name in ("To", "Cc", "Bcc") for a in addresses_in(message, name)])


def backward(message: Any) -> Envelope:
    asked = envelope_of(message)
    return Envelope(asked.sender, asked.recipients[::-1])


@pytest.mark.parametrize("wrong, says", [
    (backward, "Keep their order"),
    (lambda message: None, "Not yet"), (lambda message: made(message, ("To", "Cc")), "Three fields"),
    (lambda message: made(message, senders=("From",)), "Sender goes before From"), (twice, "each recipient once"),
    (no_sender, "this is a bounce"), (lambda message: ["li@beijing.example"], "Return Envelope"),
    (lambda message: Envelope("ana@rio.example", str(message["To"]).split(",")), "names and commas"),
    (lambda message: Envelope(addresses_in(message, "Sender")[0]), "[] has no first address"),
])
def test_envelope_of(wrong: Any, says: str) -> None:
    refused(lab.check_envelope_of(wrong), says)


def by_loop(message: Message) -> Envelope:
    envelope = Envelope((addresses_in(message, "Sender") + addresses_in(message, "From") + [""])[0])
    if not envelope.sender:
        raise ValueError("nobody sends this")
    for name in ("To", "Cc", "Bcc"):
        for address in addresses_in(message, name):
            if address not in envelope.recipients:
                envelope.recipients.append(address)
    return envelope


@pytest.mark.parametrize("right", [envelope_of, by_loop])
def test_right_envelopes_of(right: Any) -> None:
    assert lab.check_envelope_of(right).passed


# -- a path to say --


def before_the_rest(address: str) -> str:
    return str(parse_path(f"<{address}>")[0])


def no_line_ends(address: str) -> str:
    if "\r" in address or "\n" in address:
        raise BadPath(address)
    return f"<{address}>"


def no_bracket(address: str) -> str:
    if ">" in address:
        raise BadPath(address)
    return encode_path(address)


@pytest.mark.parametrize("wrong, says", [
    (lambda address: None, "Not yet"), (lambda address: f"<{address}>", "a second command"),
    (before_the_rest, "a second command"), (no_line_ends, "a parameter"), (no_bracket, "could never be sent"),
    (lambda address: encode_path(address)[1:-1], "It should be <kenji"),
])
def test_encode_path(wrong: Any, says: str) -> None:
    refused(lab.check_encode_path(wrong), says)


def by_comparing(address: str) -> str:
    if str(parse_path(f"<{address}>")[0]) != f"<{address}>":
        raise BadPath(address)
    return f"<{address}>"


@pytest.mark.parametrize("right", [encode_path, by_comparing])
def test_right_encode_paths(right: Any) -> None:
    assert lab.check_encode_path(right).passed


# -- who stands alone? --


@pytest.mark.parametrize("wrong, says", [
    (lambda text: None, "Not yet"), (lambda text: False, "Only CR LF"), (lambda text: True, "would be refused"),
    (lambda text: b"\n" in text.replace(b"\r\n", b""), "= False"),
    (lambda text: text.count(b"\r") != text.count(b"\n"), "b'\\n\\r'"),
    (lambda text: b"\n" in text and b"\r" not in text, "= False"),
])
def test_has_bare_newline(wrong: Any, says: str) -> None:
    refused(lab.check_has_bare_newline(wrong), says)


@pytest.mark.parametrize("right", [has_bare_newline, lambda text: re.search(rb"\r(?!\n)|(?<!\r)\n", text),
                                   lambda text: re.search(rb"\r(?!\n)|(?<!\r)\n", text) is not None])
def test_right_has_bare_newlines(right: Any) -> None:
    assert lab.check_has_bare_newline(right).passed


# -- one dot more --


def whole(blocks: list[bytes], first: bool = True, last: bool = True) -> Iterator[bytes]:
    text = b"".join(blocks).replace(b"\r\n.", b"\r\n..")
    if first and text.startswith(b"."):
        text = b"." + text
    if last and text and not text.endswith(b"\r\n"):
        text += b"\r\n"
    yield text + (b".\r\n" if text else b"\r\n.\r\n")


def each_alone(blocks: list[bytes]) -> Iterator[bytes]:
    for block in blocks:
        yield block.replace(b"\r\n.", b"\r\n..")
    yield b".\r\n"


@pytest.mark.parametrize("wrong, says", [
    (lambda blocks: None, "Not yet"), (lambda blocks: whole(blocks, first=False), "gave b'.profile"),
    (lambda blocks: whole(blocks, last=False), "waits for the end"), (each_alone, "waits for the end"),
    (lambda blocks: [*blocks, b"\r\n.\r\n"], "gave"), (lambda blocks: b"".join(whole(blocks)), "block after block"),
    (lambda blocks: ["Ana\r\n.\r\n"], "carries octets"),
])
def test_stuff(wrong: Any, says: str) -> None:
    refused(lab.check_stuff(wrong), says)


def by_lines(blocks: list[bytes]) -> list[bytes]:
    *lines, last = b"".join(blocks).split(b"\r\n")
    lines += [last] if last else []
    if not blocks or lines == []:
        return [b".\r\n"]
    return [(b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines] + [b".\r\n"]


@pytest.mark.parametrize("right", [stuff, by_lines])
def test_right_stuffs(right: Any) -> None:
    assert lab.check_stuff(right).passed


# -- the tail --


def shortest(data: bytes) -> tuple[bytes, bytes]:
    for length in (1, 2, 3, 4):
        if data.endswith(b"\r\n.\r\n"[:length]):
            return data[:-length], data[-length:]
    return data, b""


@pytest.mark.parametrize("wrong, says", [
    (lambda data: (data, b""), "is overlooked"), (lambda data: (data[:-4], data[-4:]), "wait for nothing"),
    (lambda data: data, "two things"), (shortest, "is overlooked"), (lambda data: (b"", b""), "lost or added"),
])
def test_split_tail(wrong: Any, says: str) -> None:
    refused(lab.check_split_tail(wrong), says)


def by_regex(data: bytes) -> tuple[bytes, bytes]:
    tail = re.search(rb"(?:\r(?:\n(?:\.\r?)?)?)?\Z", data)
    assert tail
    return data[: tail.start()], tail[0]


@pytest.mark.parametrize("right", [split_tail, by_regex, lambda data: list(split_tail(data))])
def test_right_split_tails(right: Any) -> None:
    assert lab.check_split_tail(right).passed


# -- by hand, and who? --


@pytest.mark.parametrize("wrong, says", [
    (b"", "Not yet"), ("Dear Li,", "carries octets"), (b"Dear Li,\n...\n..Ana\n.\n", "stands alone"),
    (b"Dear Li,\r\n...\r\n..Ana.\r\n", "waits for the rest"), (b"Dear Li,\r\n..\r\n.Ana\r\n.\r\n", "Li reads"),
    (b"Dear Li,\r\n...\r\n..Ana\r\n.\r\nQUIT\r\n", "for a command"),
])
def test_octets(wrong: Any, says: str) -> None:
    refused(lab.check_octets(wrong), says)


WHO = {"receives": {"kenji@tokyo.example", "li@beijing.example"}, "bounce": "returns@poets.example",
       "author": "ana@rio.example", "answer": "editor@poets.example"}


@pytest.mark.parametrize("change, says", [
    ({"receives": set()}, "receives"), ({"bounce": "ana@rio.example"}, "reverse-path"),
    ({"receives": WHO["receives"] | {"yui@kyoto.example"}}, "refused with 550"),  # type: ignore[operator]
    ({"receives": {"Kenji", "Li"}}, "with the @"),
    ({"bounce": {"returns@poets.example", "ana@rio.example"}}, "reverse-path"), ({"bounce": []}, "reverse-path"),
    ({"receives": {"kenji@tokyo.example"}}, "source route"), ({"answer": "ana@rio.example"}, "answers elsewhere"),
])
def test_who(change: dict[str, Any], says: str) -> None:
    refused(lab.check_who(WHO | change), says)


@pytest.mark.parametrize("change", [
    {"receives": ["<kenji@tokyo.example>", "<@kyoto.example:li@beijing.example>"]},
    {"bounce": "Returns@Poets.example"}, {"bounce": {"returns@poets.example"}, "answer": ["editor@poets.example"]},
    {"author": "Ana <ana@rio.example>"},
    {"receives": "kenji@tokyo.example, <li@beijing.example>"}])
def test_right_who(change: dict[str, Any]) -> None:
    assert lab.check_who(WHO | change).passed


# -- the server's half --


def takes_in(cutter: BodyCutter, *, refuse_at_once: bool = False, greet: int = 354, judge: bool = True,
             twice: bool = False) -> Any:
    yield Reply(greet, "go on")
    want, blocks = Body(cutter), list[bytes]()
    while block := (yield want):
        blocks.append(block)
        if refuse_at_once and has_bare_newline(block):
            yield Reply(554, "no")
            return None
    if judge and has_bare_newline(b"".join(blocks)):
        yield Reply(554, "no")
        return None
    yield Reply(250, "taken")
    if twice:
        yield Reply(250, "really")
    return b"".join(blocks)


def bound(**how: Any) -> Any:
    def my_receive(cutter: BodyCutter) -> Any:
        return (yield from takes_in(cutter, **how))

    return my_receive


def always_new(cutter: Any) -> Any:
    yield Reply(354, "go on")
    body = b""
    while block := (yield Body(cutter)):
        body += block
    bare = has_bare_newline(body)
    yield Reply(554, "no") if bare else Reply(250, "fine")
    return None if bare else body


@pytest.mark.parametrize("wrong, says", [
    (always_new, "one octet each 100 seconds"), (lambda cutter: b"", "without `yield`"),
    (bound(refuse_at_once=True), "before the end mark"),
    (bound(greet=250), "It began with 250"), (bound(judge=False), "we expected 554"),
    (bound(twice=True), "said 3 things"),
])
def test_receive(wrong: Any, says: str) -> None:
    refused(lab.check_receive(wrong), says)


def watching(cutter: BodyCutter) -> Any:
    yield Reply(354, "go on")
    want, newlines, body = Body(cutter), Newlines(), b""
    while True:
        block = yield want
        newlines.see(block, final=not block)
        if not block:
            break
        body += block
    yield Reply(554 if newlines.bare else 250, "so be it")
    return None if newlines.bare else body


def says_when_it_waited_too_long(cutter: Any) -> Any:
    try:
        return (yield from bound()(cutter))
    except Timeout:
        yield Reply(421, "waited long enough")


@pytest.mark.parametrize("right", [bound(), watching, says_when_it_waited_too_long])
def test_right_receives(right: Any) -> None:
    assert lab.check_receive(right).passed


@pytest.mark.parametrize("right", [
    b"Dear Li,\r\n...\r\n..Ana\r\n.\r\n", b"".join(stuff([b"Dear Li,\r\n..\r\n.Ana"])),
    b"\r\n".join([b"Dear Li,", b"...", b"..Ana", b".", b""])])
def test_right_octets(right: bytes) -> None:
    assert lab.check_octets(right).passed


# -- what breaks, and what never ends --


def breaks(thing: Any) -> Any:
    raise ZeroDivisionError("no envelope")


def never_ends(thing: Any) -> Any:
    while True:
        pass


def waits_for_ever(cutter: BodyCutter) -> Any:
    want = Body(cutter)
    yield Reply(354, "go on")
    while True:
        yield want


@pytest.mark.parametrize("name", ["envelope_of", "encode_path", "has_bare_newline", "stuff", "split_tail"])
def test_no_check_raises_or_hangs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check = getattr(lab, f"check_{name}")
    refused(check(breaks), "ZeroDivisionError")
    monkeypatch.setattr(check, "seconds", 0.2)
    refused(check(never_ends), "still running")


def test_a_server_that_never_stops_wanting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.check_receive, "seconds", 0.5)
    refused(lab.check_receive(waits_for_ever), "still running")


def test_no_hint_needs_an_attempt() -> None:
    checks: list[Callable[..., Any]] = [lab.check_stuff, lab.check_split_tail, lab.check_encode_path]
    assert all(check.hint(3) for check in checks)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["envelope_of", "encode_path", "has_bare_newline", "stuff", "split_tail", "octets",
                                  "who", "receive"])
@pytest.mark.parametrize("thing", [42, "250 ok", ["a", "b"], {"receives": "a"}, object()])
def test_things_of_another_kind_are_no_answers(name: str, thing: Any) -> None:
    verdict = getattr(lab, f"check_{name}")(thing)
    assert not verdict.passed and str(verdict)
