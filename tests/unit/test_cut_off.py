"""Messages that are cut off: nobody who is refused has the message, and nobody is accepted who lacks it."""
from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from smtp_from_scratch import AsyncClient, Client, Envelope, SMTPException, SMTPServerDisconnected, compat
from smtp_from_scratch.client import CUT_OFF
from smtp_from_scratch.smtp import client_extensions

ANA, KENJI, YUI, SORA = "ana@rio.example", "kenji@tokyo.example", "yui@tokyo.example", "sora@tokyo.example"
GUARD = 30.0
Play = Callable[[socket.socket, Any], None]


@contextlib.contextmanager
def server(*plays: Play) -> Iterator[tuple[str, int]]:
    """One caller after another, each of whom one of these plays with: a socket, and what it says as a file."""
    def serve() -> None:
        for play in plays:
            sock, _ = listener.accept()
            sock.settimeout(GUARD)
            with sock, sock.makefile("rb") as said, contextlib.suppress(OSError):
                play(sock, said)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[:2]
        thread.join(GUARD)
        assert not thread.is_alive()


def up_to_354(sock: socket.socket, said: Any) -> None:
    """From the greeting to the invitation to DATA."""
    sock.sendall(b"220 mx\r\n")
    for line in said:
        verb = line[:4].upper()
        sock.sendall(b"250-mx\r\n250-8BITMIME\r\n250 PIPELINING\r\n" if verb == b"EHLO" else
                     b"354 go on\r\n" if verb == b"DATA" else b"250 ok\r\n")
        if verb == b"DATA":
            return


def read_body(sock: socket.socket, said: Any) -> None:
    """Take a whole message, and leave without a reply."""
    up_to_354(sock, said)
    while said.readline() != b".\r\n":
        pass


def reset(sock: socket.socket, said: Any) -> None:
    """Leave at the beginning of a message, as one who has crashed."""
    up_to_354(sock, said)
    said.readline()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("size", [1_000, 65_536, 70_000, 200_000, 1_000_000])
def test_whose_message_was_sent_as_a_whole_is_unknown(size: int) -> None:
    with server(read_body) as address, pytest.raises(SMTPServerDisconnected) as left:
        with Client(*address, timeout=GUARD) as smtp:
            smtp.sendmail(ANA, KENJI, b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * (size // 72))
    assert left.value.receipt and left.value.receipt.unknown == [KENJI]


@pytest.mark.parametrize("size", [1_000, 65_536, 70_000, 1_000_000])
def test_so_it_is_when_a_task_is_canceled_once_the_server_has_it(size: int) -> None:
    """Wherever the client is just then: the end may have left."""
    arrived, go_on = threading.Event(), threading.Event()

    def play(sock: socket.socket, said: Any) -> None:
        read_body(sock, said)
        arrived.set()
        assert go_on.wait(GUARD)

    async def main(address: tuple[str, int]) -> Any:
        smtp = AsyncClient(*address, timeout=GUARD)
        await smtp.connect()
        task = asyncio.create_task(smtp.sendmail(ANA, KENJI, (b"x" * 70 + b"\r\n") * (size // 72)))
        while not arrived.is_set():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as canceled:
            await task
        go_on.set()
        return canceled.value

    with server(play) as address:
        [receipt] = asyncio.run(main(address)).receipts
    assert receipt.unknown == [KENJI] and not receipt.refused


def test_a_canceled_task_never_says_refused_of_a_message_whose_end_was_said() -> None:
    """At each turn of the event loop."""
    for turns in itertools.count():
        whole = list[bool]()

        def play(sock: socket.socket, said: Any, whole: list[bool] = whole) -> None:
            with contextlib.suppress(OSError):
                up_to_354(sock, said)
                whole.append(any(line == b".\r\n" for line in said))

        async def main(address: tuple[str, int], turns: int = turns) -> Any:
            smtp = AsyncClient(*address, timeout=GUARD)
            await smtp.connect()
            task = asyncio.create_task(smtp.sendmail(ANA, KENJI, (b"x" * 70 + b"\r\n") * 2_000))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except (asyncio.CancelledError, SMTPServerDisconnected) as error:      # it may have been over before
                return getattr(error, "receipts", [])
            finally:
                smtp.close()

        with server(play) as address:
            receipts = asyncio.run(main(address))
        if receipts and any(whole):
            assert receipts[0].unknown == [KENJI]
        if turns > 40:
            return


@pytest.mark.parametrize("face", ["sync", "async"])
def test_a_body_without_end_is_not_read_on_when_the_line_is_broken(face: str) -> None:
    body = (b"x" * 998 + b"\r\n" for _ in itertools.count())

    async def main(address: tuple[str, int]) -> None:
        async with AsyncClient(*address, timeout=GUARD) as smtp:
            await smtp.sendmail(ANA, KENJI, body)

    with server(reset) as address, pytest.raises(SMTPServerDisconnected) as left:
        if face == "async":
            asyncio.run(main(address))
        else:
            with Client(*address, timeout=GUARD) as smtp:
                smtp.sendmail(ANA, KENJI, body)
    assert left.value.receipt and left.value.receipt.refused == {KENJI: CUT_OFF}


def test_messages_of_a_series_stay_on_their_line() -> None:
    def second(sock: socket.socket, said: Any) -> None:
        sock.sendall(b"220 mx\r\n")
        for _ in said:
            sock.sendall(b"250-mx\r\n250 PIPELINING\r\n")

    def messages(smtp: Client, address: tuple[str, int]) -> Iterator[tuple[Envelope, bytes]]:
        yield Envelope(ANA, [KENJI]), b"one"
        smtp.close()
        smtp.connect(*address)
        yield Envelope(ANA, [YUI]), b"two"

    with server(read_body, second) as address:
        smtp = Client(*address, timeout=GUARD)
        with pytest.raises(SMTPServerDisconnected, match="this is another one") as left:
            list(smtp.send_all(messages(smtp, address)))
        smtp.close()
    assert [(receipt.accepted, receipt.unknown) for receipt in left.value.receipts] == [([], [KENJI])]


def test_whoever_comes_after_a_421_has_no_message() -> None:
    def play(sock: socket.socket, said: Any) -> None:
        read_body(sock, said)
        sock.sendall(b"250 kept\r\n421 leaving\r\n")

    with server(play) as address:
        smtp = compat.LMTP(*address, local_hostname="rio.example", timeout=GUARD)
        smtp.ehlo_msg = "ehlo"                  # of this server's verbs, the one that it knows
        refused = smtp.sendmail(ANA, [KENJI, YUI, SORA], b"Subject: x\r\n\r\nhi\r\n")
        assert {address: answer[0] for address, answer in refused.items()} == {YUI: 421, SORA: 421}
        assert smtp.sock is None


def test_what_is_no_reply_tells_nothing() -> None:
    def play(sock: socket.socket, said: Any) -> None:
        read_body(sock, said)
        sock.sendall(b"xx what\r\n")
        for _ in said:
            sock.sendall(b"250 ok\r\n")

    with server(play) as address:
        smtp = compat.SMTP(*address, local_hostname="rio.example", timeout=GUARD)
        with pytest.raises(SMTPException) as left:
            smtp.sendmail(ANA, [KENJI], b"Subject: x\r\n\r\nhi\r\n")
        smtp.close()
    assert left.value.receipt and left.value.receipt.unknown == [KENJI]


def test_an_option_about_the_body_is_said_once() -> None:
    heard = list[bytes]()

    def play(sock: socket.socket, said: Any) -> None:
        sock.sendall(b"220 mx\r\n")
        for line in said:
            heard.append(line)
            sock.sendall(b"250-mx\r\n250 8BITMIME\r\n" if line.startswith(b"ehlo") else b"550 no\r\n")

    from email import message_from_bytes

    message = message_from_bytes(b"From: ana@rio.example\nTo: kenji@tokyo.example\n\nGr\xc3\xbc\xc3\x9fe\n")
    with server(play) as address:
        smtp = compat.SMTP(*address, local_hostname="rio.example", timeout=GUARD)
        with pytest.raises(SMTPException):
            smtp.send_message(message, mail_options=["BODY=8BITMIME"])
        smtp.close()
    assert [line.count(b"BODY=") for line in heard if line.lower().startswith(b"mail")] == [1]


def test_the_first_piece_that_was_refused_says_why() -> None:
    """LMTP, and a message in several chunks: 452 to the first, and 503 to those that had left already."""
    def play(sock: socket.socket, said: Any) -> None:
        sock.sendall(b"220 mx\r\n")
        pieces = 0
        for line in said:
            verb, _, rest = line.partition(b" ")
            if verb == b"BDAT":
                said.read(int(rest.split()[0]))
                pieces += 1
                answer = b"452 4.3.1 no room now\r\n" if pieces == 1 else b"503 5.5.1 what for\r\n"
                sock.sendall(answer * len(rest.split()))           # LAST has one for each
            else:
                sock.sendall(b"250-mx\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 CHUNKING\r\n"
                             if verb == b"LHLO" else b"250 2.0.0 ok\r\n")

    with server(play) as address:
        with Client(*address, lmtp=True, timeout=GUARD, extensions=client_extensions()) as smtp:
            receipt = smtp.transact(Envelope(ANA, [KENJI, YUI]), [b"x" * 998 + b"\r\n"] * 3000)
    assert {address: reply.code for address, reply in receipt.refused.items()} == {KENJI: 452, YUI: 452}
