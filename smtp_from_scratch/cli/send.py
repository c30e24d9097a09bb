"""`send`: messages from files, as they are, or made on the spot."""

from __future__ import annotations

import argparse
import contextlib
import ssl
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from smtp_from_scratch.cli.common import (
    DEFERRED,
    OK,
    REFUSED,
    UNREACHABLE,
    USAGE,
    close_output,
    complain,
    first_line,
    host_port_or_path,
    mailbox,
    mailbox_or_null,
    patience,
    where,
)
from smtp_from_scratch.cli.letters import Body, letters
from smtp_from_scratch.client import Receipt, SMTPResponseException, SMTPServerDisconnected
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.printable import printable
from smtp_from_scratch.smtp import Client, client_extensions
from smtp_from_scratch.starttls import unverified
from smtp_from_scratch.transcript import Transcript


def add_options(send: argparse.ArgumentParser) -> None:
    """The options."""
    send.description = ("Sends messages from files, as they are, or one that is made of a subject, a text and "
                        "attachments.")
    send.add_argument("--server", type=host_port_or_path, metavar="HOST:PORT", required=True,
                      help="whom to call; unix:PATH for a socket with a path")
    send.add_argument("--from", dest="sender", type=mailbox_or_null, metavar="A",
                      help="the envelope's sender, <> for none (default: as the message's header says)")
    send.add_argument("--to", dest="recipients", action="append", type=mailbox, metavar="B", default=[],
                      help="a recipient; may be repeated (default: as To and Cc say)")
    send.add_argument("--subject", metavar="S", help="make a message with this subject")
    send.add_argument("--body", metavar="TEXT", help="make a message with this text")
    send.add_argument("--attach", action="append", metavar="F", default=[], help="attach a file; may be repeated")
    send.add_argument("--hostname", metavar="NAME", default="", help="what to call ourselves in EHLO")
    send.add_argument("--user", metavar="U", default="", help="log in as U; never without TLS")
    send.add_argument("--password-file", metavar="F", help="a file with U's password in its first line")
    sealed = send.add_mutually_exclusive_group()
    sealed.add_argument("--starttls", action="store_true", help="no mail without TLS, and to nobody unverified "
                        "(default: TLS where it is offered; with --user as if this was given)")
    sealed.add_argument("--implicit-tls", action="store_true", help="TLS from the first octet on, as on port 465")
    send.add_argument("--ca-file", metavar="F", help="certificates to trust, in place of the system's")
    send.add_argument("--lmtp", action="store_true", help="speak LMTP, not SMTP")
    send.add_argument("--notify", metavar="EVENTS", default="", help="report on these events: NEVER, or some of "
                      "SUCCESS,FAILURE,DELAY; to servers without DSN nothing is said of it")
    send.add_argument("--ret", choices=["FULL", "HDRS"], default="", help="how much of the message a report returns")
    send.add_argument("--envid", metavar="ID", default="", help="what reports shall call the message")
    send.add_argument("--orcpt", metavar="A", default="", help="the address that was first written to, if it is "
                      "another than that of --to, such as rfc822;list@oslo.example")
    send.add_argument("--without", action="append", metavar="KEYWORD", default=[],
                      help="make no use of an extension; may be repeated")
    send.add_argument("--eager", action="store_true", help="let small bodies fly along with the envelope, where "
                      "CHUNKING is offered: only to servers that you know")
    send.add_argument("--timeout", type=patience, metavar="S", default=None, help="seconds that any wait may take")
    send.add_argument("--show", action="store_true", help="the dialogue, on standard error")
    send.add_argument("files", nargs="*", metavar="FILE", help="a message; - is standard input")
    send.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Send each file; a line for each recipient on standard output."""
    with contextlib.ExitStack() as stack:
        try:
            files = [sys.stdin.buffer if name == "-" else stack.enter_context(open(name, "rb"))
                     for name in options.files]
        except OSError as error:
            return complain(f"cannot read {error.filename}: {error.strerror}", USAGE)
        show = Transcript() if options.show else None
        try:
            ready = letters(options, files)
        except (OSError, ValueError) as error:  # such as neither a file nor a subject
            return complain(str(error), USAGE)
        try:
            client = client_for(options, show)
        except (OSError, UnicodeError) as error:
            return complain(f"cannot use {options.password_file or options.ca_file}: {error}", USAGE)
        except ValueError as error:            # such as --user without --password-file
            return complain(str(error), USAGE)
        try:
            return send_all(client, options, ready)
        finally:
            if show is not None:
                print(*map(printable, str(show).split("\n")), sep="\n", file=sys.stderr)


def send_all(client: Client, options: argparse.Namespace, ready: Iterable[tuple[Envelope, Body]]) -> int:
    """A whole session; returns the exit code, once the receipts are told."""
    error: Exception | None = None
    receipts: list[Receipt] = []
    try:
        client.connect(*options.server)
        for receipt in client.send_all(ready, goodbye=True):
            receipts.append(receipt)
    except (OSError, ValueError) as failure:
        error = failure
    finally:
        client.close()
    tell_receipts(receipts)
    code = exit_code(receipts)
    match error:
        case None:
            return code
        case SMTPResponseException():
            return complain(str(error), DEFERRED if error.reply.temporary else REFUSED)
        case SMTPServerDisconnected():
            return complain(str(error), DEFERRED)
    return complain(f"cannot talk to {where(options.server)}: {error}", UNREACHABLE)


def client_for(options: argparse.Namespace, tap: Any) -> Client:
    """The client that the options ask for. Raises OSError for files that cannot be read, ValueError."""
    required = options.starttls or bool(options.user)
    verified = required or options.implicit_tls or options.ca_file
    tls = ssl.create_default_context(cafile=options.ca_file) if verified else unverified()
    extensions = client_extensions(
        tls=None if options.implicit_tls else tls, require_tls=required, user=options.user,
        password=first_line(options.password_file), eager=options.eager, without=options.without)
    return Client(local_hostname=options.hostname, timeout=options.timeout, tap=tap, extensions=extensions,
                  tls=tls if options.implicit_tls else None, implicit_tls=options.implicit_tls, lmtp=options.lmtp)


def tell_receipts(receipts: Sequence[Receipt]) -> None:
    """A line for each recipient; on standard error, where standard output takes none. Raises BrokenPipeError."""
    lines = [printable(line) for receipt in receipts for line in told(receipt)]
    try:
        for line in lines:
            print(line, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:                   # the exit code still says what became of the messages
        close_output()
        complain("\n".join([f"cannot write to standard output: {error}; this is what came of it:", *lines]), OK, True)


def told(receipt: Receipt) -> Iterator[str]:
    """What a receipt says of each recipient."""
    refused = receipt.refused                  # a 2yz may be among them: it was no answer to what was asked
    for address, reply in receipt.recipients.items():
        unasked = f"{receipt.refused_by}: " if address in refused and reply.positive else ""
        yield f"{address}: {unasked}{reply}"
    for address in receipt.unknown:
        yield f"{address}: unknown: the line broke before the server had answered"


def exit_code(receipts: Iterable[Receipt]) -> int:
    """OK, DEFERRED or REFUSED, whichever is the worst."""
    codes = [OK]
    for receipt in receipts:
        later = receipt.refused or receipt.unknown
        final = any(not reply.temporary for reply in receipt.refused.values())
        codes.append(REFUSED if final else DEFERRED if later else OK)
    return max(codes, key=[OK, DEFERRED, REFUSED].index)
