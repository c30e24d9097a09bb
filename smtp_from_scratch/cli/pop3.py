"""`pop3`: let users fetch their mail."""

from __future__ import annotations

import argparse

from smtp_from_scratch.cli.common import UNREACHABLE, USAGE, complain, host_port, where
from smtp_from_scratch.cli.serve import Trouble, add_bounds, certificate, serve_alone, show_log, user_file
from smtp_from_scratch.smtp.pop3 import Pop3Server


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
    add_bounds(pop3, "at each of the two (default 1000); the others hear -ERR")
    pop3.add_argument("--verbose", action="store_true", help="a line for each session, on standard error")
    pop3.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C, then end all sessions; what is only marked stays."""
    if options.verbose:
        show_log()
    roles = {role: address for role in ("pop3", "pop3s") if (address := getattr(options, role))}
    roles = roles or {"pop3": ("127.0.0.1", 1110)}
    if missing := lacking(options):
        return complain(missing, USAGE)
    try:
        tls = certificate(options.tls_cert, options.tls_key) if options.tls_cert else None
        users = user_file(options.users)
    except ValueError as error:
        return complain(str(error), USAGE)

    def make(role: str, address: tuple[str, int]) -> Pop3Server:
        try:
            return Pop3Server(options.maildir, users, *address, tls=tls, implicit_tls=role == "pop3s",
                              insecure_auth=options.insecure_auth, domain=options.domain, stage=options.stage,
                              max_connections=options.max_connections, session_timeout=options.session_timeout,
                              max_connections_per_address=options.max_connections_per_address)
        except (OSError, OverflowError) as error:
            raise Trouble(f"cannot serve on {where(address)}: {error}", UNREACHABLE) from None

    try:
        return serve_alone(make, roles)
    except Trouble as trouble:
        return complain(*trouble.args)


def lacking(options: argparse.Namespace) -> str:
    """What nobody gave, as a sentence; empty when there is nothing."""
    if options.pop3s and not options.tls_cert:
        return "--pop3s is TLS from the first octet on: --tls-cert FILE"
    if not (options.tls_cert or options.insecure_auth):
        return "users log in under TLS only: --tls-cert FILE, or --insecure-auth"
    return "--tls-key needs --tls-cert" if options.tls_key and not options.tls_cert else ""
