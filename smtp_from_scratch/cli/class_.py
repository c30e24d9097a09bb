"""`class`: one mail server for a room, and a page for its projector."""

from __future__ import annotations

import argparse
import contextlib
import secrets
import threading
from collections.abc import Mapping

from smtp_from_scratch.auth import Auth
from smtp_from_scratch.classroom.state import Room
from smtp_from_scratch.classroom.web import Switches, routes
from smtp_from_scratch.cli.common import OK, UNREACHABLE, USAGE, complain, host_port, until_told, where
from smtp_from_scratch.cli.inbox import Anybody
from smtp_from_scratch.ehlo import Extension, ExtensionSet
from smtp_from_scratch.session import STAY, Verb, saying
from smtp_from_scratch.smtp import Server, server_extensions
from smtp_from_scratch.smtp.sets import leave_out
from smtp_from_scratch.starttls import server_context
from smtp_from_scratch.web import WebServer


class Page(Extension):
    """HELP says where the room's page is: how a notebook finds it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def verbs(self) -> Mapping[str, Verb]:
        here = saying(214, f"this room has a page at port {self.port}")
        return {"HELP": Verb(here, STAY, "HELP", now=True, idle=True)}


def add_options(room: argparse.ArgumentParser) -> None:
    """The options."""
    room.description = ("Takes in the mail of a room, keeps it in memory, and shows on a page who has come how far. "
                        "Nothing leaves the room.")
    room.add_argument("--smtp", type=host_port, metavar="HOST:PORT", default=("127.0.0.1", 2525),
                      help="take in mail here (default 127.0.0.1:2525; 0.0.0.0:2525 for a room)")
    room.add_argument("--http", type=host_port, metavar="HOST:PORT", default=("127.0.0.1", 8080),
                      help="the page (default 127.0.0.1:8080; 0.0.0.0:8080 for a room)")
    room.add_argument("--tls-cert", metavar="F", help="certificates and key, in PEM form, for STARTTLS")
    room.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    room, key = Room(), secrets.token_urlsafe(9)
    with contextlib.ExitStack() as stack:
        try:
            tls = server_context(options.tls_cert) if options.tls_cert else None
        except (OSError, ValueError) as error:
            return complain(f"cannot use {options.tls_cert}: {error}", USAGE)
        try:
            everything: list[Extension] = server_extensions(tls=tls)
            everything.append(Auth(Anybody(), insecure=True))
            switches = Switches([e.keyword for e in everything], lambda off: offer(off))
            web = stack.enter_context(WebServer(options.http, routes(room, switches, key)))
            page = Page(web.address[1])
            smtp = Server(*options.smtp, deliver=room, accept_sender=room.accept_sender, tap=room.tap,
                          hostname="class.example", extensions=[*everything, page], max_size=1_000_000,
                          max_connections_per_address=100)
        except (OSError, OverflowError) as error:
            return complain(f"cannot serve at {where(options.smtp)} and {where(options.http)}: {error}", UNREACHABLE)

        def offer(off: set[str]) -> None:
            smtp.extensions = ExtensionSet([*leave_out(everything, off), page])

        stack.enter_context(smtp)
        threading.Thread(target=web.serve_forever, name="room page", daemon=True).start()
        stack.callback(web.shutdown)
        with until_told():
            print(f"mail:           {where(smtp.address)}  (learners: SMTP_CLASS=HOST:{smtp.address[1]})")
            print(f"projector:      http://{where(web.address)}/")
            print(f"you, privately: http://{where(web.address)}/#key={key}", flush=True)
    return OK
