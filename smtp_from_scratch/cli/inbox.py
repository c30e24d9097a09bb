"""`inbox`: take in mail from a program that is being written, and show it on a page."""

from __future__ import annotations

import argparse
import contextlib
import threading

from smtp_from_scratch.auth import Auth
from smtp_from_scratch.cli.common import OK, UNREACHABLE, complain, count, host_port, octets, until_told, where
from smtp_from_scratch.inbox.letters import Letters
from smtp_from_scratch.inbox.web import routes
from smtp_from_scratch.smtp import Server, server_extensions
from smtp_from_scratch.web import WebServer


class Anybody:
    """A store of users in which every name has every password; CRAM-MD5 and SCRAM would have to know one."""

    knows = frozenset({"verify"})

    def verify(self, user: str, password: str) -> bool:
        """Yes."""
        return True

    def secret(self, user: str) -> None:
        """Not asked for."""

    def scram_keys(self, user: str) -> None:
        """Not asked for."""


def add_options(inbox: argparse.ArgumentParser) -> None:
    """The options."""
    inbox.description = "Takes in mail from a program that is being written, delivers none, and shows it on a page."
    inbox.add_argument("--smtp", type=host_port, metavar="HOST:PORT", default=("127.0.0.1", 1025),
                       help="take in mail here (default 127.0.0.1:1025; port 0: the system chooses)")
    inbox.add_argument("--http", type=host_port, metavar="HOST:PORT", default=("127.0.0.1", 8025),
                       help="show it here (default 127.0.0.1:8025)")
    inbox.add_argument("--max-messages", type=count, metavar="N", default=500, help="keep the latest N (default 500)")
    inbox.add_argument("--max-octets", type=octets, metavar="N", default=200_000_000,
                       help="octets of all together (default 200000000)")
    inbox.add_argument("--max-size", type=octets, metavar="N", default=50_000_000,
                       help="octets a message may have (default 50000000)")
    inbox.add_argument("--without", action="append", metavar="KEYWORD", default=[],
                       help="do not offer an extension; may be repeated")
    inbox.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    letters = Letters(options.max_messages, options.max_octets)
    with contextlib.ExitStack() as stack:
        try:
            extensions = server_extensions(without=options.without)
            extensions.append(Auth(Anybody(), insecure=True))
            smtp = Server(*options.smtp, deliver=letters, tap=letters.tap, extensions=extensions,
                          max_size=options.max_size)
            stack.enter_context(smtp)
            web = stack.enter_context(WebServer(options.http, routes(letters)))
        except ValueError as error:
            return complain(str(error), 2)
        except (OSError, OverflowError) as error:
            return complain(f"cannot serve at {where(options.smtp)} and {where(options.http)}: {error}", UNREACHABLE)
        threading.Thread(target=web.serve_forever, name="inbox page", daemon=True).start()
        stack.callback(web.shutdown)
        with until_told():
            print(f"mail:    {where(smtp.address)}  (any name and password is good, none is needed)")
            print(f"to read: http://{where(web.address)}/  (JSON: /api/messages)", flush=True)
    return OK
