"""`serve`: take in mail, into Maildirs, and into a queue for others."""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from smtp_from_scratch.cli.common import (
    OK,
    UNREACHABLE,
    USAGE,
    complain,
    count,
    host_port,
    host_port_or_path,
    octets,
    seconds,
    until_told,
    where,
)
from smtp_from_scratch.cli.identity import add_identity_options, checked
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.maildir import Maildir
from smtp_from_scratch.smtp import Server, server_extensions
from smtp_from_scratch.smtp.server import STAGES
from smtp_from_scratch.smtp.sets import leave_out
from smtp_from_scratch.unix import path_of
from smtp_from_scratch.wire import Reply

if TYPE_CHECKING:                               # TLS, users and processes are imported for those who ask for them
    import ssl

    from smtp_from_scratch.cli import processes
    from smtp_from_scratch.cli.outgoing import Outgoing
    from smtp_from_scratch.passwords import Users
    from smtp_from_scratch.submission import Submission


def add_options(serve: argparse.ArgumentParser) -> None:
    """The options."""
    serve.description = "Takes in mail, into Maildirs."
    serve.add_argument("--smtp", type=host_port, metavar="HOST:PORT",
                       help="take in mail from anywhere, as on port 25 (without any of the four: 127.0.0.1:2525; "
                       "port 0: the system chooses)")
    serve.add_argument("--submission", type=host_port, metavar="HOST:PORT",
                       help="take in mail from users, as on port 587: STARTTLS, then AUTH")
    serve.add_argument("--submissions", type=host_port, metavar="HOST:PORT",
                       help="the same with TLS from the first octet on, as on port 465")
    serve.add_argument("--lmtp", type=host_port_or_path, metavar="HOST:PORT",
                       help="take in mail from a server of this machine, by LMTP; unix:PATH for a socket with a path")
    serve.add_argument("--maildir", metavar="DIR", default="Maildir",
                       help="keep messages here, a Maildir for each recipient (default ./Maildir)")
    serve.add_argument("--domain", action="append", metavar="D", default=[],
                       help="refuse recipients of other domains, but not from users; may be repeated")
    add_onward_options(serve)
    add_identity_options(serve)
    serve.add_argument("--hostname", metavar="NAME", default="", help="what the server calls itself")
    serve.add_argument("--tls-cert", metavar="F", help="the server's certificates, in PEM form")
    serve.add_argument("--tls-key", metavar="F", help="its private key, unless that is in the same file")
    serve.add_argument("--users", metavar="FILE", help="who may log in; see `user add`")
    serve.add_argument("--insecure-auth", action="store_true", help="let users log in without TLS, too")
    serve.add_argument("--without", action="append", metavar="KEYWORD", default=[],
                       help="do not offer an extension; may be repeated")
    serve.add_argument("--max-size", type=octets, metavar="N", default=200_000_000, help="octets a message may have")
    add_bounds(serve, "at each of the four (default 1000); the others hear 421")
    serve.add_argument("--processes", type=count, metavar="N", default=1,
                       help="processes that share the work, each with the limits above (default 1)")
    serve.add_argument("--verbose", action="store_true", help="a line for each transaction, on standard error")
    serve.set_defaults(run=run)


def add_bounds(parser: argparse.ArgumentParser, places: str) -> None:
    """Those about callers, for a server of any protocol."""
    parser.add_argument("--max-connections", type=count, metavar="N", default=1000,
                        help=f"callers at a time, {places}")
    parser.add_argument("--max-connections-per-address", type=count, metavar="N", default=100,
                        help="of these from one address; of IPv6, from one network of 64 bits (default 100)")
    parser.add_argument("--session-timeout", type=seconds, metavar="S", default=14_400.0,
                        help="seconds for a session as a whole (default 14400, four hours)")
    parser.add_argument("--stage", choices=list(STAGES), default="loop",
                        help="loop: one thread for all callers; threads: one for each (default loop)")


def add_onward_options(serve: argparse.ArgumentParser) -> None:
    """Those about mail for others."""
    serve.add_argument("--queue", metavar="FILE", help="keep mail from users for other domains here, until "
                       "--next-host takes it, or with --relay their servers do; see `queue`")
    serve.add_argument("--next-host", type=host_port, metavar="HOST:PORT", help="the server that takes such mail")
    serve.add_argument("--relay", action="store_true", help="or: ask the DNS for the servers of each domain")
    serve.add_argument("--next-tls", action="store_true", help="it must offer STARTTLS, and its certificate be right")


Beside = Callable[[], contextlib.AbstractContextManager[None]]      # runs in each process


def listening(role: str, address: tuple[str, int]) -> None:
    """Say where a server is."""
    print(f"listening on {where(address)} ({role})", flush=True)


def show_log() -> None:
    """Log to standard error, a line with its time for each event."""
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C, then finish the transactions in hand."""
    if options.verbose:
        show_log()
    roles = {role: address for role in ROLES if (address := getattr(options, role))}
    roles = roles or {"smtp": ("127.0.0.1", 2525)}
    try:
        tls = certificate(options.tls_cert, options.tls_key) if options.tls_cert else None
        users = user_file(options.users) if options.users else None
        if missing := lacking(roles, options):
            return complain(missing, USAGE)
        leave_out([], options.without)
        outgoing = outgoing_of(options)
    except ValueError as error:
        return complain(str(error), USAGE)

    def make(role: str, address: tuple[str | socket.socket, int]) -> Server:
        try:
            return server_for(role, address, options, tls, users, outgoing)
        except (OSError, OverflowError) as error:
            place = f"{where(roles[role])} into {options.maildir}"
            raise Trouble(f"cannot serve on {place}: {error}", UNREACHABLE) from None
        except ValueError as error:            # such as --without what --submission requires
            raise Trouble(f"cannot be a server for {role}: {error}", USAGE) from None

    try:
        beside = outgoing.running if outgoing else contextlib.nullcontext
        if options.processes > 1:
            return serve_by_many(make, roles, options.processes, beside)
        return serve_alone(make, roles, beside=beside)
    except Trouble as trouble:
        return complain(*trouble.args)


class Startable(Protocol):
    """A server, of any protocol."""

    address: Any

    def start(self) -> Any: ...
    def stop(self) -> None: ...


class Trouble(Exception):
    """Why there can be no server: a sentence, and an exit status."""


def serve_alone(make: Callable[..., Startable], roles: Mapping[str, tuple[str | socket.socket, int]],
                over: threading.Event | None = None, say: Callable[[str, tuple[str, int]], None] = listening,
                beside: Beside = contextlib.nullcontext) -> int:
    """Serve in this process until SIGTERM, Ctrl-C, or `over`, and do something beside; Trouble before it begins."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(beside())
        servers: dict[str, Startable] = {}
        stack.callback(stop_together, servers.values())
        for role, address in roles.items():
            servers[role] = make(role, address)
        with until_told(over):
            for role, server in servers.items():
                server.start()
                say(role, server.address)
    return OK


def serve_by_many(make: Callable[..., Server], roles: Mapping[str, tuple[str, int]], count: int,
                  beside: Beside = contextlib.nullcontext) -> int:
    """Serve in so many processes; raises as `serve_alone` does."""
    from smtp_from_scratch.cli import processes

    if not processes.possible():
        raise Trouble("--processes needs fork and SO_REUSEPORT, as Linux and macOS have them: leave it out here", USAGE)
    if paths := [host for host, _ in roles.values() if path_of(host)]:
        raise Trouble(f"{paths[0]} is for one process: with --processes, give HOST:PORT", USAGE)
    for role in roles:
        make(role, ("127.0.0.1", 0)).stop(0.0)  # what is wrong is said once, and here

    def work(listeners: processes.Listeners, over: threading.Event) -> int:
        return serve_alone(make, {role: (sock, 0) for role, sock in listeners.items()}, over, lambda *_: None,
                           beside)

    try:
        family = processes.family(work, roles, count)
    except (OSError, OverflowError) as error:
        raise Trouble(f"cannot serve on {' and '.join(map(where, roles.values()))}: {error}", UNREACHABLE) from None
    for role, address in family.addresses.items():
        listening(role, address)
    return family.run()


def stop_together(servers: Collection[Startable]) -> None:
    """Stop all servers at once: the transactions in hand have one grace, not one after another."""
    threads = [threading.Thread(target=server.stop) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def certificate(name: str, key: str | None) -> ssl.SSLContext:
    """The server's TLS settings. ValueError for files that cannot be used."""
    import ssl

    from smtp_from_scratch.starttls import server_context

    try:
        return server_context(name, key)
    except OSError as error:                    # ssl.SSLError is one
        no_key = isinstance(error, ssl.SSLError) and not key
        hint = "; a private key in a file of its own is named by --tls-key" if no_key else ""
        raise ValueError(f"cannot use {f'{name} with the key {key}' if key else name}: {error}{hint}") from None


def user_file(name: str) -> Users:
    """The users in a file. ValueError if they cannot be read."""
    from smtp_from_scratch.users import BadUserFile, UserFile

    try:
        return UserFile(name)
    except (OSError, BadUserFile) as error:
        raise ValueError(f"cannot use {name}: {error}") from None


ROLES = ("smtp", "submission", "submissions", "lmtp")
PRIVATE = ("submission", "submissions")


def lacking(roles: Mapping[str, tuple[str, int]], options: argparse.Namespace) -> str:
    """What the roles need and nobody gave, or cannot be, as a sentence; empty when there is nothing."""
    if "lmtp" in roles and roles["lmtp"][1] == 25:
        return "--lmtp cannot be at port 25, where SMTP is spoken (RFC 2033 §5): name another port"
    if "submission" in roles or "submissions" in roles:
        if not options.users:
            return "submission is for users: --users FILE says who they are (`user add FILE NAME` makes one)"
        if not options.tls_cert and ("submissions" in roles or not options.insecure_auth):
            return "passwords travel under TLS only: --tls-cert FILE (or, for --submission, --insecure-auth)"
    if options.users and not (options.tls_cert or options.insecure_auth):
        return "users log in under TLS only: --tls-cert FILE, or --insecure-auth"
    if options.relay and (options.next_host or options.next_tls):
        return "--relay finds the next hosts: leave --next-host and --next-tls out"
    onward = bool(options.next_host or options.relay)
    if bool(options.queue) != onward or (options.next_tls and not options.queue):
        return "--queue FILE and --next-host HOST:PORT (and --next-tls), or --relay, belong together"
    if options.queue and not options.domain:
        return "--queue is for mail of other domains: --domain says which are yours (else strangers could use it)"
    if options.sign and not ("submission" in roles or "submissions" in roles):
        return "--sign is for what users write: --submission or --submissions HOST:PORT"
    if options.verify_senders and "smtp" not in roles:
        return "--verify-senders is for letters from strangers: --smtp HOST:PORT"
    if options.tls_key and not options.tls_cert:
        return "--tls-key needs --tls-cert"
    return ""


def server_for(role: str, address: tuple[str | socket.socket, int], options: argparse.Namespace,
               tls: ssl.SSLContext | None, users: Users | None, outgoing: Outgoing | None = None) -> Server:
    """A server in one of its roles (RFC 8314, RFC 6409); raises OSError."""
    hostname, implicit, private = options.hostname or socket.gethostname(), role == "submissions", role in PRIVATE
    extensions = server_extensions(
        tls=None if implicit else tls,
        require_tls=private and not (implicit or options.insecure_auth),
        users=users, require_auth=private, insecure_auth=options.insecure_auth, without=options.without)
    deliver = checked(outgoing or Maildir(options.maildir, hostname), role, options, hostname)
    return Server(*address, deliver=deliver, hostname=hostname, max_size=options.max_size,
                  max_connections=options.max_connections, session_timeout=options.session_timeout,
                  max_connections_per_address=options.max_connections_per_address,
                  accept_recipient=only(options.domain), tls=tls if implicit else None, implicit_tls=implicit,
                  extensions=extensions, submission=submission() if private else None, stage=options.stage,
                  lmtp=role == "lmtp")


def outgoing_of(options: argparse.Namespace) -> Outgoing | None:
    """What becomes of mail for others; None without a queue. ValueError for a file that cannot be one."""
    if not options.queue:
        return None
    from smtp_from_scratch.cli.outgoing import Outgoing

    hostname = options.hostname or socket.gethostname()
    outgoing = Outgoing(options, hostname, ours(options.domain), Maildir(options.maildir, hostname))
    outgoing.open().close()                     # what is wrong is said now
    return outgoing


def submission() -> Submission:
    """The role of a user's first server (RFC 6409)."""
    from smtp_from_scratch.submission import Submission

    return Submission()


def only(domains: Sequence[str]) -> Any:
    """A policy that takes recipients of these domains, and all when there are none."""
    is_ours = ours(domains)

    def accept_recipient(address: str, envelope: Envelope) -> Reply | None:
        if not domains or is_ours(address) or envelope.user:
            return None
        return Reply(550, f"{address.rpartition('@')[2].lower()} is not served here, and I do not relay", "5.7.1")

    return accept_recipient


def ours(domains: Sequence[str]) -> Callable[[str], bool]:
    """Whether an address is in one of these domains, or in none, as `postmaster` is."""
    known = {domain.lower() for domain in domains} | {""}
    return lambda address: (address.rpartition("@")[2].lower() if "@" in address else "") in known
