"""`talk`: type SMTP by hand, and see the octets."""

from __future__ import annotations

import argparse
import contextlib
import select
import socket
import ssl
import sys
import threading

from smtp_from_scratch.cli.common import OK, UNREACHABLE, complain, host_port, sentence, trusting
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import Conversation, Interruption, read_reply
from smtp_from_scratch.printable import printable
from smtp_from_scratch.starttls import unverified
from smtp_from_scratch.wire import Reply, WireError


def add_options(talk: argparse.ArgumentParser) -> None:
    """The options."""
    talk.description = "A telnet that ends lines with CR LF, and shows the octets."
    talk.add_argument("address", type=host_port, metavar="HOST:PORT")
    talk.add_argument("--starttls", action="store_true", help="say EHLO and STARTTLS first")
    talk.add_argument("--implicit-tls", action="store_true", help="TLS from the first octet on")
    talk.add_argument("--ca-file", metavar="F", help="certificates to trust; without it none is verified")
    talk.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Lines from standard input go out with CR LF; what comes back is shown octet by octet."""
    where = "{}:{}".format(*options.address)
    try:
        sock = socket.create_connection(options.address, 30)
        if options.starttls or options.implicit_tls:
            sock = sealed_line(sock, options)
    except (OSError, WireError, Interruption, UnicodeError) as error:      # UnicodeError: a name that DNS cannot have
        return complain(f"cannot connect to {where}: {sentence(error)}", UNREACHABLE)
    with sock:
        sock.settimeout(None)
        turn = threading.Lock()                # a TLS line is read and written by one at a time
        listener = threading.Thread(target=show_octets, args=(sock, turn), daemon=True)
        listener.start()
        with contextlib.suppress(OSError):
            for line in sys.stdin.buffer:
                with turn:
                    sock.sendall(line.rstrip(b"\r\n") + b"\r\n")
                if not listener.is_alive():
                    break
            if isinstance(sock, ssl.SSLSocket):
                listener.join(2.0)             # TLS has no half a hang-up: leave time for the last reply
            sock.shutdown(socket.SHUT_WR)
        listener.join()
    return OK


def sealed_line(sock: socket.socket, options: argparse.Namespace) -> ssl.SSLSocket:
    """The line under TLS; with --starttls, after what must be said before. Raises OSError, WireError."""
    if options.starttls:
        def ask_for_tls() -> Conversation[Reply]:
            yield from read_reply(30.0)
            yield b"EHLO localhost\r\n"
            yield from read_reply(30.0)
            yield b"STARTTLS\r\n"
            return (yield from read_reply(30.0))

        reply = Connection(sock, "C").play(ask_for_tls())
        print(f"STARTTLS: {printable(str(reply))}", flush=True)
        if reply.code != 220:
            raise OSError("the server does not start TLS")
    context = trusting(options.ca_file) or unverified()
    return context.wrap_socket(sock, server_hostname=options.address[0])


def show_octets(sock: socket.socket, turn: threading.Lock) -> None:
    """Print what the server says, CR and LF visible, until it hangs up."""
    with contextlib.suppress(OSError, ValueError):
        while True:
            if not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
                select.select([sock], [], [])
            with turn:
                data = sock.recv(65_536)
            if not data:
                return
            print(octets_shown(data), end="", flush=True)


def octets_shown(data: bytes) -> str:
    """What came, printable, with CR as ␍, and LF as ␊ at the end of a line."""
    lines = data.decode("utf-8", "backslashreplace").split("\n")
    return "␊\n".join("␍".join(map(printable, line.split("\r"))) for line in lines)
