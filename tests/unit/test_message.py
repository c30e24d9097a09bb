"""From what a program gives to what travels: files, blocks, line ends, headers."""
from __future__ import annotations

import asyncio
import contextlib
import io
import os
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest

from smtp_from_scratch import AsyncClient, Client, Server, SMTPException, server_extensions
from smtp_from_scratch.message import Octets, addressees, header_of
from smtp_from_scratch.stream import BLOCK
from smtp_from_scratch.testing import FakeServer

ANA, KENJI, YUI = "ana@rio.example", "kenji@tokyo.example", "yui@kyoto.example"


def pipe(mode: str, octets: bytes = b"Subject: x\n\nhi\n") -> Any:
    """The end of a pipe that is read; it cannot seek."""
    read, write = os.pipe()
    os.write(write, octets)
    os.close(write)
    return os.fdopen(read, mode)


# --- blocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("without", [[], ["8BITMIME", "BINARYMIME", "SMTPUTF8"], ["SIZE"]])
@pytest.mark.parametrize("text", [lambda: pipe("r"), lambda: io.StringIO("hi\n"), lambda: ["hi\n"]],
                         ids=["pipe", "memory", "list"])
def test_text_in_place_of_octets_is_told_before_anything_is_said(text: Callable[[], Any], without: list[str]) -> None:
    with Server(extensions=server_extensions(without=without)) as server, Client(*server.address) as smtp:
        body = text()
        with pytest.raises(TypeError, match="of str: open a file in binary mode"):
            smtp.sendmail(ANA, KENJI, body)
        assert smtp.sendmail(ANA, KENJI, pipe("rb")).accepted == [KENJI]
        [kept] = server.wait_for(1)
        assert kept.data == b"Subject: x\r\n\r\nhi\r\n"


class Slow:
    """A file that cannot seek, and gives text."""

    def __init__(self) -> None:
        self.left = ["hi\n", ""]

    def seekable(self) -> bool:
        return False

    def read(self, size: int) -> Any:
        return self.left.pop(0)


def test_a_file_of_ones_own_that_gives_text_is_told() -> None:
    with Server() as server, Client(*server.address) as smtp:
        with pytest.raises(TypeError, match="of str: open a file in binary mode"):
            smtp.sendmail(ANA, KENJI, Slow())              # type: ignore[arg-type]
        assert not server.messages


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("block", [bytearray, memoryview])
def test_blocks_of_any_kind_of_octets(block: Callable[[bytes], Any], binary: bool) -> None:
    def bodies() -> Iterator[Any]:
        yield [block(b"a\n"), block(b"b")]
        yield (block(octets) for octets in (b"a\n", b"b"))

    with Server() as server, Client(*server.address) as smtp:
        for body in bodies():
            assert smtp.sendmail(ANA, KENJI, body, binary=binary).accepted
        assert [kept.data for kept in server.wait_for(2)] == [b"a\nb" if binary else b"a\r\nb\r\n"] * 2


@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA", "END", "one of two"])
@pytest.mark.parametrize("face", ["Client", "AsyncClient"])
def test_a_file_that_was_refused_can_be_sent_again(face: str, at: str) -> None:
    """A file is read from where it stands: after a refusal, it stands there again."""
    file = io.BytesIO(b"of the letter before\nSubject: x\n\nhi\n")
    file.seek(21)
    people = [KENJI, YUI] if at == "one of two" else [KENJI]

    def send(address: tuple[str, int]) -> None:
        with Client(*address) as smtp:
            smtp.sendmail(ANA, people, file)

    async def send_async(address: tuple[str, int]) -> None:
        async with AsyncClient(*address) as smtp:
            await smtp.sendmail(ANA, people, file)

    with FakeServer() as server:
        server.refuse(YUI if at == "one of two" else "*", "451 4.7.1 later", at="RCPT" if at == "one of two" else at,
                      once=True)
        for _ in range(2):
            with contextlib.suppress(SMTPException):
                send(server.address) if face == "Client" else asyncio.run(send_async(server.address))
            people = people[-1:]
        assert [kept.data for kept in server.messages][-1] == b"Subject: x\r\n\r\nhi\r\n"
        assert file.read() == b"", "everybody has it"


# --- headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("second", ["\r\n", "\n", "\r"])
def test_a_header_ends_at_an_empty_line_however_lines_end(first: str, second: str) -> None:
    if first + second == "\r\n":
        second = "\r\n"                        # CR and LF would be one line end
    text = f"Subject: x{first}To: y{first}{second}text{second}{second}more".encode()
    assert header_of(Octets(text)) == f"Subject: x{first}To: y".encode()
    with Server() as server, Client(*server.address) as smtp:
        assert smtp.sendmail(ANA, KENJI, text + b" \xfc").accepted, "8BITMIME alone is needed"


def test_a_header_without_an_end_is_all_of_it() -> None:
    text = b"Subject: x\r\n" + b" folded\r\n" * 100_000
    assert header_of(Octets(text)) == text[:BLOCK]


@pytest.mark.parametrize("style", [policy.default, policy.compat32, policy.SMTP], ids=["default", "compat32", "SMTP"])
@pytest.mark.parametrize("without, words", [(["SMTPUTF8"], True), (["SMTPUTF8", "8BITMIME", "BINARYMIME"], True),
                                            ([], False)])
def test_a_message_with_a_utf8_header_goes_as_encoded_words_or_as_it_is(without: list[str], words: bool,
                                                                        style: Any) -> None:
    text = f"From: {ANA}\r\nTo: {KENJI}\r\nSubject: Grüße\r\n\r\nhello\r\n".encode()
    with Server(extensions=server_extensions(without=without)) as server, Client(*server.address) as smtp:
        assert smtp.send_message(message_from_bytes(text, policy=style)).accepted == [KENJI]
        [kept] = server.wait_for(1)
    assert kept.data.isascii() == (b"Subject: =?" in kept.data) == words
    assert ("SMTPUTF8" in kept.envelope.parameters) != words


@pytest.mark.parametrize("without", [[], ["BINARYMIME"], ["BINARYMIME", "8BITMIME"]])
@pytest.mark.parametrize("kind", ["alone", "attached", "received"])
def test_a_binary_part_arrives_as_it_is(kind: str, without: list[str]) -> None:
    """`email` cannot write octets without line ends: they go in base64, and the program's message is left alone."""
    octets = b"\x00\x01\n\r\xff\r\n\n"
    message = EmailMessage()
    message["From"], message["To"] = ANA, KENJI
    if kind == "alone":
        message.set_content(octets, "application", "octet-stream", cte="binary")
    else:
        message.set_content("Grüße\n", cte="8bit")
        message.add_attachment(octets, "application", "octet-stream", cte="binary")
    if kind == "received":
        message["Content-Transfer-Encoding"] = "binary"        # of all its parts
        message = message_from_bytes(message.as_bytes(), policy=policy.compat32)       # type: ignore[assignment]
        octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n")   # `email` has written it
    before = message.as_bytes()
    with Server(extensions=server_extensions(without=without)) as server, Client(*server.address) as smtp:
        assert smtp.send_message(message).accepted == [KENJI]
        [receipt] = smtp.send_messages([message])
        assert receipt.accepted == [KENJI] and message.as_bytes() == before
        for kept in server.wait_for(2):
            part = list(kept.message.walk())[-1]
            assert part.get_payload(decode=True) == octets and part["Content-Transfer-Encoding"] == "base64"
            assert kept.envelope.parameters.get("BODY") in (None, "8BITMIME")


def test_whom_an_odd_message_is_for_is_known() -> None:
    """Newer Pythons give up on a whole field for a comma in a comment, unless they are told otherwise."""
    message = EmailMessage()
    message["To"] = "ana@rio.example (Ana, of Rio), Kenji (sales, Tokyo) <kenji@tokyo.example>"
    assert addressees(message) == [ANA, KENJI]
