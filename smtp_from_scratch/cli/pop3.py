"""`pop3`: let users fetch their mail."""

from __future__ import annotations

import argparse
import contextlib
import sys

from smtp_from_scratch.cli.common import OK, UNREACHABLE, USAGE, complain, count, host_port, seconds, until_told, where
from smtp_from_scratch.cli.serve import certificate, listening, stop_together, user_file
from smtp_from_scratch.smtp.pop3 import Pop3Server
from smtp_from_scratch.smtp.server import STAGES


def add_options(pop3: argparse.ArgumentParser) -> None:
    """The options."""
    pop3.description = "Lets users fetch the mail that `serve` has put into their Maildirs, by POP3."
    pop3.add_argument("--pop3", type=host_port, metavar="HOST:PORT",
                      help="as on port 110: STLS, then a password (without either of the two: 127.0.0.1:1110)")
    pop3.add_argument("--pop3s", type=host_port, metavar="HOST:PORT",
                      help="the same with TLS from the first octet on, as on port 995")
    pop3.add_argument("--maildir", metavar="DIR", default="Maildir",
                      help="where `serve` keeps messages, a Maildir for each recipient (default ./Maildir)")
    pop3.add_argument("--users", metavar="FILE", required=True, help="who may log in; see `user add`")
    pop3.add_argument("--domain", metavar="D", default="", help="of users whose names have none: kenji is kenji@D")
    pop3.add_argument("--tls-cert", metavar="F", help="the server's certificates, in PEM form")
    pop3.add_argument("--tls-key", metavar="F", help="its private key, unless that is in the same file")
    pop3.add_argument("--insecure-auth", action="store_true", help="let users log in without TLS, too")
    pop3.add_argument("--max-connections", type=count, metavar="N", default=1000,
                      help="callers at a time, at each of the two (default 1000); the others hear -ERR")
    pop3.add_argument("--max-connections-per-address", type=count, metavar="N", default=100,
                      help="of these from one address; of IPv6, from one network of 64 bits (default 100)")
    pop3.add_argument("--session-timeout", type=seconds, metavar="S", default=14_400.0,
                      help="seconds for a session as a whole (default 14400, four hours)")
    pop3.add_argument("--stage", choices=list(STAGES), default="loop",
                      help="loop: one thread for all callers; threads: one for each (default loop)")
    pop3.add_argument("--verbose", action="store_true", help="a line for each session, on standard error")
    pop3.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C, then end all sessions; what is only marked stays."""
    if options.verbose:
        import logging

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    roles = {role: address for role in ("pop3", "pop3s") if (address := getattr(options, role))}
    roles = roles or {"pop3": ("127.0.0.1", 1110)}
    if missing := lacking(options):
        return complain(missing, USAGE)
    try:
        tls = certificate(options.tls_cert, options.tls_key) if options.tls_cert else None
        users = user_file(options.users)
    except ValueError as error:
        return complain(str(error), USAGE)
    with contextlib.ExitStack() as stack:
        servers: dict[str, Pop3Server] = {}
        stack.callback(stop_together, servers.values())
        for role, address in roles.items():
            try:
                servers[role] = Pop3Server(
                    options.maildir, users, *address, tls=tls, implicit_tls=role == "pop3s",
                    insecure_auth=options.insecure_auth, domain=options.domain, stage=options.stage,
                    max_connections=options.max_connections, session_timeout=options.session_timeout,
                    max_connections_per_address=options.max_connections_per_address)
            except (OSError, OverflowError) as error:
                return complain(f"cannot serve on {where(address)}: {error}", UNREACHABLE)
        with until_told():
            for role, server in servers.items():
                server.start()
                listening(role, server.address)
    return OK


def lacking(options: argparse.Namespace) -> str:
    """What nobody gave, as a sentence; empty when there is nothing."""
    if options.pop3s and not options.tls_cert:
        return "--pop3s is TLS from the first octet on: --tls-cert FILE"
    if not (options.tls_cert or options.insecure_auth):
        return "users log in under TLS only: --tls-cert FILE, or --insecure-auth"
    return "--tls-key needs --tls-cert" if options.tls_key and not options.tls_cert else ""
