"""The command line: `smtp-from-scratch serve`, `send`, `talk`."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import io
import logging
import select
import shutil
import signal
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from smtp_from_scratch import __version__
from smtp_from_scratch.auth import Users, saslprep
from smtp_from_scratch.client import (
    Receipt,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from smtp_from_scratch.conversation import Connection, Conversation, Interruption, read_reply
from smtp_from_scratch.dsn import request
from smtp_from_scratch.ehlo import Letter
from smtp_from_scratch.envelope import BadPath, Envelope, parse_path
from smtp_from_scratch.maildir import Maildir
from smtp_from_scratch.scram import BadUserFile, UserFile
from smtp_from_scratch.smtp import Client, Server, client_extensions, leave_out, letter_for, server_extensions
from smtp_from_scratch.starttls import server_context, unverified
from smtp_from_scratch.submission import Submission
from smtp_from_scratch.wire import Reply, WireError, printable

if TYPE_CHECKING:
    from smtp_from_scratch.conformance.runner import Outcome

OK, REFUSED, USAGE, UNREACHABLE, DEFERRED = 0, 1, 2, 69, 75     # exit codes; the last two are sysexits.h's


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code."""
    options = parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")      # what this terminal has no sign for is no reason to fail
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141


def parser() -> argparse.ArgumentParser:
    """The grammar of the command line."""
    top = argparse.ArgumentParser("smtp-from-scratch", description="A mail system whose source code is a course.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="take in mail", description="Takes in mail, into Maildirs.")
    serve.add_argument("--smtp", type=host_port, metavar="HOST:PORT",
                       help="take in mail from anywhere, as on port 25 (without any of the three: 127.0.0.1:2525; "
                       "port 0: the system chooses)")
    serve.add_argument("--submission", type=host_port, metavar="HOST:PORT",
                       help="take in mail from users, as on port 587: STARTTLS, then AUTH")
    serve.add_argument("--submissions", type=host_port, metavar="HOST:PORT",
                       help="the same with TLS from the first octet on, as on port 465")
    serve.add_argument("--maildir", metavar="DIR", default="Maildir",
                       help="keep letters here, a Maildir for each recipient (default ./Maildir)")
    serve.add_argument("--domain", action="append", metavar="D", default=[],
                       help="refuse recipients of other domains, but not from users; may be repeated")
    serve.add_argument("--hostname", metavar="NAME", default="", help="what the server calls itself")
    serve.add_argument("--tls-cert", metavar="F", help="the server's certificates, in PEM form")
    serve.add_argument("--tls-key", metavar="F", help="its private key, unless that is in the same file")
    serve.add_argument("--users", metavar="FILE", help="who may log in; see `user add`")
    serve.add_argument("--insecure-auth", action="store_true", help="let users log in without TLS, too")
    serve.add_argument("--without", action="append", metavar="KEYWORD", default=[],
                       help="do not offer an extension; may be repeated")
    serve.add_argument("--max-size", type=octets, metavar="N", default=200_000_000, help="octets a letter may have")
    serve.add_argument("--max-connections", type=count, metavar="N", default=1000,
                       help="callers at a time, at each of the three (default 1000); the others hear 421")
    serve.add_argument("--max-connections-per-address", type=count, metavar="N", default=100,
                       help="of these from one address; of IPv6, from one network of 64 bits (default 100)")
    serve.add_argument("--session-timeout", type=seconds, metavar="S", default=14_400.0,
                       help="seconds for a session as a whole (default 14400, four hours)")
    serve.add_argument("--stage", choices=["threads"], default="threads", help="what plays the sessions")
    serve.add_argument("--verbose", action="store_true", help="a line for each transaction, on standard error")
    serve.set_defaults(run=run_serve)

    send = commands.add_parser("send", help="send letters", description="Sends letters from files, as they are.")
    send.add_argument("--server", type=host_port, metavar="HOST:PORT", required=True)
    send.add_argument("--from", dest="sender", type=mailbox_or_null, metavar="A", required=True,
                      help="the envelope's sender; <> for none")
    send.add_argument("--to", dest="recipients", action="append", type=mailbox, metavar="B", required=True,
                      help="a recipient; may be repeated")
    send.add_argument("--hostname", metavar="NAME", default="", help="what to call ourselves in EHLO")
    send.add_argument("--user", metavar="U", default="", help="log in as U; never without TLS")
    send.add_argument("--password-file", metavar="F", help="a file with U's password in its first line")
    sealed = send.add_mutually_exclusive_group()
    sealed.add_argument("--starttls", action="store_true", help="no mail without TLS, and to nobody unverified "
                        "(default: TLS where it is offered; with --user as if this was given)")
    sealed.add_argument("--implicit-tls", action="store_true", help="TLS from the first octet on, as on port 465")
    send.add_argument("--ca-file", metavar="F", help="certificates to trust, in place of the system's")
    send.add_argument("--notify", metavar="EVENTS", default="", help="report on these events: NEVER, or some of "
                      "SUCCESS,FAILURE,DELAY; to servers without DSN nothing is said of it")
    send.add_argument("--ret", choices=["FULL", "HDRS"], default="", help="how much of the letter a report returns")
    send.add_argument("--envid", metavar="ID", default="", help="what reports shall call the letter")
    send.add_argument("--orcpt", metavar="A", default="", help="the address that was first written to, if it is "
                      "another than that of --to, such as rfc822;list@oslo.example")
    send.add_argument("--without", action="append", metavar="KEYWORD", default=[],
                      help="make no use of an extension; may be repeated")
    send.add_argument("--eager", action="store_true", help="let small bodies fly along with the envelope, where "
                      "CHUNKING is offered: only to servers that you know")
    send.add_argument("--timeout", type=float, metavar="S", default=None, help="seconds that any wait may take")
    send.add_argument("--show", action="store_true", help="the dialogue, on standard error")
    send.add_argument("files", nargs="+", metavar="FILE", help="a letter; - is standard input")
    send.set_defaults(run=run_send)

    check = commands.add_parser("check", help="does a server conform?",
                                description="Plays dialogues from the RFCs at a server, and says where it differs.")
    check.add_argument("address", type=host_port, metavar="HOST:PORT", nargs="?")
    check.add_argument("--rfc", action="append", metavar="N", default=[], help="only this RFC; may be repeated")
    check.add_argument("--only", metavar="TITLE", default="", help="only dialogues with this in their title")
    check.add_argument("--list", action="store_true", help="say which dialogues there are, and play none")
    check.add_argument("--user", metavar="U", default="", help="a user of the server, for AUTH")
    check.add_argument("--password-file", metavar="F", help="a file with the user's password in its first line")
    check.add_argument("--ca-file", metavar="F", help="certificates to trust; without it none is verified")
    check.add_argument("--implicit-tls", action="store_true", help="TLS from the first octet on, as on port 465")
    check.add_argument("--submission", action="store_true", help="it takes letters from its users only, as on port 587")
    check.add_argument("--lmtp", action="store_true", help="it speaks LMTP, not SMTP")
    check.add_argument("--sender", type=mailbox, metavar="A", default="sender@example.org")
    check.add_argument("--recipient", type=mailbox, metavar="A", default="postmaster@example.org",
                       help="somebody it has a mailbox for (default postmaster@example.org)")
    check.add_argument("--refused-recipient", type=mailbox_or_null, metavar="A", default="", help="somebody it refuses")
    check.add_argument("--patience", type=float, metavar="S", default=10.0, help="seconds for a reply (default 10)")
    check.add_argument("--at-once", type=octets, metavar="N", default=8, help="connections at a time (default 8)")
    check.add_argument("--json", action="store_true", help="the outcomes as JSON on standard output")
    check.add_argument("--junit", metavar="F", help="write the outcomes to this file, as CI systems read them")
    check.set_defaults(run=run_check)

    client = commands.add_parser("check-client", help="does a client conform?", usage=(
        "smtp-from-scratch check-client [options] -- COMMAND… (with {host} and {port} in it)"),
        description="Plays the server's part of dialogues from the RFCs at a command that sends mail. In COMMAND, "
        "{host}, {port}, {sender}, {recipient}, {recipients} (repeated, with the option before it), {recipients,}, "
        "{file} (the letter), {user}, {password}, {password_file}, {ca_file} and others are filled in; words between "
        "[ and ] are left out when a dialogue has no use for what stands in braces there.")
    client.add_argument("command", nargs="*", metavar="COMMAND", help="after --: a command that sends a letter")
    client.add_argument("--rfc", action="append", metavar="N", default=[], help="only this RFC; may be repeated")
    client.add_argument("--only", metavar="TITLE", default="", help="only dialogues with this in their title")
    client.add_argument("--list", action="store_true", help="say which dialogues there are, and play none")
    client.add_argument("--stdin", action="store_true", help="the command reads the letter from standard input")
    client.add_argument("--patience", type=float, metavar="S", default=10.0,
                        help="seconds for the client's next line (default 10)")
    client.add_argument("--at-once", type=octets, metavar="N", default=4, help="commands at a time (default 4)")
    client.add_argument("--json", action="store_true", help="the outcomes as JSON on standard output")
    client.add_argument("--junit", metavar="F", help="write the outcomes to this file, as CI systems read them")
    client.set_defaults(run=run_check_client)

    talk = commands.add_parser("talk", help="type SMTP by hand",
                               description="A telnet that ends lines with CR LF, and shows the octets.")
    talk.add_argument("address", type=host_port, metavar="HOST:PORT")
    talk.add_argument("--starttls", action="store_true", help="say EHLO and STARTTLS first")
    talk.add_argument("--implicit-tls", action="store_true", help="TLS from the first octet on")
    talk.add_argument("--ca-file", metavar="F", help="certificates to trust; without it none is verified")
    talk.set_defaults(run=run_talk)
    add_user_commands(commands)
    return top


# --- arguments ---------------------------------------------------------------------------------------------------


def host_port(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[::1]:PORT`."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise argparse.ArgumentTypeError(f"write an IPv6 address in brackets: [{host}]:{port}")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65_536):
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, got {text!r}")
    return host, int(port)


def octets(text: str) -> int:
    """A number of octets, above 0."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a number of octets, got {text!r}")
    return int(text)


def count(text: str) -> int:
    """How many, at least one."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """A time in seconds, above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"expected a number of seconds, got {text!r}")
    return number


def mailbox(text: str) -> str:
    """An address, with or without angle brackets."""
    bare = text[1:-1] if text.startswith("<") and text.endswith(">") else text
    try:
        path, rest = parse_path(f"<{bare}>")
    except BadPath as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if rest or not path.mailbox:
        raise argparse.ArgumentTypeError(f"expected an address, got {text!r}")
    return bare


def mailbox_or_null(text: str) -> str:
    """An address, or `<>` or nothing for the null path."""
    return "" if text in ("", "<>") else mailbox(text)


# --- serve -------------------------------------------------------------------------------------------------------


def run_serve(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C, then finish the transactions in hand."""
    if options.verbose:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    roles = {role: address for role in ROLES if (address := getattr(options, role))}
    roles = roles or {"smtp": ("127.0.0.1", 2525)}
    try:
        tls = server_context(options.tls_cert, options.tls_key) if options.tls_cert else None
        users = user_file(options.users) if options.users else None
        if missing := lacking(roles, options):
            return complain(missing, USAGE)
        leave_out([], options.without)
    except (OSError, ValueError) as error:
        return complain(f"cannot use {options.users or options.tls_cert}: {error}", USAGE)
    with contextlib.ExitStack() as stack:
        servers = []
        for role, address in roles.items():
            try:
                servers.append((role, server_for(role, address, options, tls, users)))
            except (OSError, OverflowError) as error:
                where = "{}:{}".format(*address)
                return complain(f"cannot serve on {where} into {options.maildir}: {error}", UNREACHABLE)
            except ValueError as error:        # such as --without what --submission requires
                return complain(f"cannot be a server for {role}: {error}", USAGE)
        over = threading.Event()
        for name in ("SIGTERM", "SIGINT"):
            signal.signal(getattr(signal, name), lambda *_: over.set())
        stack.callback(stop_together, [server for _, server in servers])
        for role, server in servers:
            server.start()
            host, port = server.address
            print(f"listening on {f'[{host}]' if ':' in host else host}:{port} ({role})", flush=True)
        while not over.wait(3600):
            pass
    return OK


def stop_together(servers: Iterable[Server]) -> None:
    """Stop all servers at once: the transactions in hand have one grace, not one after another."""
    threads = [threading.Thread(target=server.stop) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def user_file(name: str) -> Users:
    """The users in a file. Raises OSError, ValueError."""
    try:
        return UserFile(name)
    except BadUserFile as error:
        raise ValueError(str(error)) from None


ROLES = ("smtp", "submission", "submissions")


def lacking(roles: Iterable[str], options: argparse.Namespace) -> str:
    """What the roles need and nobody gave, as a sentence; empty when there is nothing."""
    if "submission" in roles or "submissions" in roles:
        if not options.users:
            return "submission is for users: --users FILE says who they are (`user add FILE NAME` makes one)"
        if not options.tls_cert and ("submissions" in roles or not options.insecure_auth):
            return "passwords travel under TLS only: --tls-cert FILE (or, for --submission, --insecure-auth)"
    if options.tls_key and not options.tls_cert:
        return "--tls-key needs --tls-cert"
    return ""


def server_for(role: str, address: tuple[str, int], options: argparse.Namespace, tls: ssl.SSLContext | None,
               users: Users | None) -> Server:
    """A server in one of its roles (RFC 8314, RFC 6409); raises OSError."""
    hostname, implicit, private = options.hostname or socket.gethostname(), role == "submissions", role != "smtp"
    extensions = server_extensions(
        max_size=options.max_size, tls=None if implicit else tls,
        require_tls=private and not (implicit or options.insecure_auth),
        users=users, require_auth=private, insecure_auth=options.insecure_auth, without=options.without)
    return Server(*address, deliver=Maildir(options.maildir, hostname), hostname=hostname, max_size=options.max_size,
                  max_connections=options.max_connections, session_timeout=options.session_timeout,
                  max_connections_per_address=options.max_connections_per_address,
                  accept_recipient=only(options.domain), tls=tls if implicit else None, implicit_tls=implicit,
                  extensions=[*extensions, Submission()] if private else extensions)


def only(domains: Sequence[str]) -> Any:
    """A policy that takes recipients of these domains, and all when there are none."""
    ours = {domain.lower() for domain in domains}

    def accept_recipient(address: str, envelope: Envelope) -> Reply | None:
        domain = address.rpartition("@")[2].lower() if "@" in address else ""
        if not ours or not domain or domain in ours or envelope.user:
            return None
        return Reply(550, f"{domain} is not served here, and I do not relay", "5.7.1")

    return accept_recipient


# --- send --------------------------------------------------------------------------------------------------------


def run_send(options: argparse.Namespace) -> int:
    """Send each file; a line for each recipient on standard output."""
    with contextlib.ExitStack() as stack:
        try:
            files = [sys.stdin.buffer if name == "-" else stack.enter_context(open(name, "rb"))
                     for name in options.files]
        except OSError as error:
            return complain(f"cannot read {error.filename}: {error.strerror}", USAGE)
        show = None
        if options.show:
            from smtp_from_scratch.lab.transcript import Transcript

            show = Transcript()
        try:
            envelope_for(options)
        except ValueError as error:
            return complain(str(error), USAGE)
        try:
            smtp = client_for(options, show)
        except (OSError, UnicodeError) as error:
            return complain(f"cannot use {options.password_file or options.ca_file}: {error}", USAGE)
        except ValueError as error:            # such as --user without --password-file
            return complain(str(error), USAGE)
        results: list[Receipt] = []
        try:
            host, port = options.server
            smtp.whole_session(host, port, lambda: letters(smtp, options, files), results)
            return tell_receipts(results)
        except SMTPResponseException as error:
            tell_receipts(results)
            return complain(str(error), DEFERRED if error.reply.temporary else REFUSED)
        except SMTPServerDisconnected as error:
            tell_receipts(results)
            return complain(str(error), DEFERRED)
        except (OSError, ValueError) as error:
            tell_receipts(results)
            where = "{}:{}".format(*options.server)
            return complain(f"cannot talk to {where}: {error}", UNREACHABLE)
        finally:
            if show is not None:
                print(*map(printable, str(show).split("\n")), sep="\n", file=sys.stderr)


def client_for(options: argparse.Namespace, tap: Any) -> Client:
    """The client that the options ask for. Raises OSError for files that cannot be read, ValueError."""
    verified = ssl.create_default_context(cafile=options.ca_file)
    required = options.starttls or bool(options.user)
    offered = verified if required or options.ca_file else unverified()
    extensions = client_extensions(
        tls=None if options.implicit_tls else offered, require_tls=required, user=options.user,
        password=first_line(options.password_file), eager=options.eager, without=options.without)
    return Client(local_hostname=options.hostname, timeout=options.timeout, tap=tap, extensions=extensions,
                  tls=verified if options.implicit_tls else None, implicit_tls=options.implicit_tls)


def envelope_for(options: argparse.Namespace) -> Envelope:
    """The envelope, with what was asked for of reports (RFC 3461). Raises ValueError."""
    envelope = Envelope(options.sender, list(dict.fromkeys(options.recipients)))
    orcpt = dict.fromkeys(envelope.recipients, options.orcpt) if options.orcpt else {}
    return request(envelope, ret=options.ret, envid=options.envid, notify=options.notify, orcpt=orcpt)


def letters(smtp: Client, options: argparse.Namespace, files: Iterable[IO[bytes]]) -> Iterator[Letter]:
    """A letter for each file."""
    for file in files:
        yield letter_for(smtp.session, envelope_for(options), rereadable(file))


def rereadable(file: IO[bytes]) -> IO[bytes]:
    """The file, or a copy of a stream that can be read only once."""
    if file.seekable():
        return file
    copy: IO[bytes] = tempfile.TemporaryFile()
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return copy


def tell_receipts(receipts: Iterable[Receipt]) -> int:
    """A line for each recipient; returns the exit code."""
    codes = [OK]
    for receipt in receipts:
        refused = receipt.refused              # a 2yz may be among them: it was no answer to what was asked
        decided = {a: reply for a, reply in receipt.recipients.items() if a not in receipt.unknown}
        for address, reply in decided.items():
            unasked = f"{receipt.refused_by}: " if address in refused and reply.positive else ""
            print(f"{address}: {unasked}{reply}", flush=True)
        for address in receipt.unknown:
            print(f"{address}: unknown: the line broke before the server had answered for this letter", flush=True)
        later = refused or receipt.unknown
        codes.append(REFUSED if any(not reply.temporary for reply in refused.values()) else DEFERRED if later else OK)
    return max(codes, key=[OK, DEFERRED, REFUSED].index)


# --- check -------------------------------------------------------------------------------------------------------


def run_check(options: argparse.Namespace) -> int:
    """Play dialogues at a server; 1 when it breaks a MUST."""
    from smtp_from_scratch.conformance import report, requirements, runner

    dialogues = [dialogue for dialogue in runner.all_dialogues()
                 if (not options.rfc or dialogue.rfc in options.rfc) and options.only.lower() in dialogue.title.lower()]
    if options.list:
        print(report.listing(dialogues), requirements.coverage_table(options.rfc), sep="\n\n")
        return OK
    if not options.address:
        return complain("check needs HOST:PORT (or --list)", USAGE)
    dialogues = [dialogue for dialogue in dialogues if dialogue.end == "server"]
    if not dialogues:
        return complain("no dialogue is called that; --list shows them all", USAGE)
    where = "{}:{}".format(*options.address)
    try:
        host, port = options.address
        target = runner.Target(host, port, options.recipient, options.refused_recipient, options.sender, options.user,
                               first_line(options.password_file), trusting(options.ca_file),
                               options.implicit_tls, options.submission, options.lmtp, patience=options.patience)
    except (OSError, ValueError) as error:
        return complain(f"cannot use {options.password_file or options.ca_file}: {error}", USAGE)
    try:
        runner.probe(target)
    except (OSError, Interruption, ValueError) as error:
        return complain(f"no SMTP server at {where}: {error or type(error).__name__}", UNREACHABLE)
    return tell(runner.check(target, dialogues, options.at_once), len(dialogues), where, options)


def tell(played: Iterable[Outcome], count: int, where: str, options: argparse.Namespace) -> int:
    """Report what came of dialogues, as the options say; returns the exit code."""
    from smtp_from_scratch.conformance import report, runner

    outcomes = list(report.with_progress(played, count))
    failed = [outcome for outcome in outcomes if outcome.status == runner.FAILED]
    if options.json:
        print(report.as_json(outcomes, where))
    else:
        for outcome in failed:
            print(report.failure(outcome), end="\n\n")
        print(report.table(outcomes))
    if options.junit:
        with open(options.junit, "w", encoding="utf-8") as file:
            file.write(report.as_junit(outcomes, where))
    return REFUSED if any(outcome.dialogue.level == "MUST" for outcome in failed) else OK


def run_check_client(options: argparse.Namespace) -> int:
    """Play the server's part at a command; 1 when it breaks a MUST."""
    from smtp_from_scratch.conformance import client_runner, report, runner, tasks

    dialogues = [dialogue for dialogue in runner.all_dialogues() if dialogue.end == "client"
                 and (not options.rfc or dialogue.rfc in options.rfc)
                 and options.only.lower() in dialogue.title.lower()]
    if options.list:
        print(report.listing(dialogues))
        return OK
    if not dialogues:
        return complain("no dialogue is called that; --list shows them all", USAGE)
    try:
        tasks.check_command(options.command)
    except tasks.BadCommand as error:
        return complain(str(error), USAGE)
    words = tuple(options.command)
    target = client_runner.ClientTarget(client_runner.Command(words, options.stdin), words, options.stdin,
                                        patience=options.patience)
    try:
        client_runner.probe(target)
    except OSError as error:
        return complain(f"cannot examine {words[0]}: {error}", UNREACHABLE)
    return tell(client_runner.check(target, dialogues, options.at_once), len(dialogues), " ".join(words), options)


def first_line(name: str | None) -> str:
    """The first line of a file: a password; raises OSError."""
    if not name:
        return ""
    with open(name, encoding="utf-8") as file:
        return file.readline().rstrip("\r\n")


def trusting(name: str | None) -> ssl.SSLContext | None:
    """A TLS context that trusts the certificates in a file; None without one. Raises OSError."""
    return ssl.create_default_context(cafile=name) if name else None


# --- talk --------------------------------------------------------------------------------------------------------


def run_talk(options: argparse.Namespace) -> int:
    """Lines from standard input go out with CR LF; what comes back is shown octet by octet."""
    where = "{}:{}".format(*options.address)
    try:
        sock = socket.create_connection(options.address, 30)
        if options.starttls or options.implicit_tls:
            sock = sealed_line(sock, options)
    except (OSError, WireError, Interruption) as error:
        return complain(f"cannot connect to {where}: {error or type(error).__name__}", UNREACHABLE)
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


# --- user --------------------------------------------------------------------------------------------------------


def add_user_commands(commands: Any) -> None:
    """`user add`, `user remove`, `user list`."""
    user = commands.add_parser("user", help="who may log in", description="Keeps a file of users for `serve --users`: "
                               "their names, and keys for SCRAM-SHA-256 in place of their passwords.")
    actions = user.add_subparsers(title="what to do", required=True, metavar="ACTION")
    for action, what in (("add", "add a user, or give one another password, which is asked for, or read from the "
                          "first line of standard input"), ("remove", "take a user out"), ("list", "say who is in it")):
        one = actions.add_parser(action, help=what, description=what.capitalize() + ".")
        one.add_argument("file", metavar="FILE", help="the file of users; `add` creates it")
        if action != "list":
            one.add_argument("name", metavar="NAME", help="the user's name, such as ana@rio.example")
        one.set_defaults(run=run_user, action=action)


def run_user(options: argparse.Namespace) -> int:
    """Change or show a file of users."""
    try:
        users = UserFile(options.file, create=options.action == "add")
        if options.action == "add":
            users.add(saslprep(options.name), ask_password(options.name))
        elif options.action == "remove":
            users.remove(options.name)
        else:
            print(*map(printable, users.names()), sep="\n", end="\n" * bool(users.names()))
    except KeyError:
        return complain(f"{options.file} has no user {options.name!r}", REFUSED)
    except (OSError, ValueError, BadUserFile) as error:
        return complain(f"cannot {options.action} anybody: {error}", USAGE)
    return OK


def ask_password(name: str) -> str:
    """A password, asked for twice, or from a line of standard input; raises ValueError."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(f"Password for {name}: ")
    if getpass.getpass("Once more: ") != password:
        raise ValueError("these were two different passwords")
    return password


def complain(text: str, code: int) -> int:
    """Say on standard error what is wrong, and return the exit code."""
    print(f"smtp-from-scratch: {printable(text)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
