"""`check`: does a server conform?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from smtp_from_scratch.cli import examine, stages
from smtp_from_scratch.cli.common import (
    DEFERRED,
    OK,
    UNREACHABLE,
    USAGE,
    complain,
    first_line,
    host_or_port,
    mailbox,
    mailbox_or_null,
    octets,
    patience,
    sentence,
    trusting,
)
from smtp_from_scratch.conversation import Interruption
from smtp_from_scratch.printable import printable

if TYPE_CHECKING:
    from smtp_from_scratch.conformance.notation import Dialogue
    from smtp_from_scratch.conformance.server.runner import Outcome, Target


def add_options(check: argparse.ArgumentParser) -> None:
    """The options."""
    check.usage = ("smtp-from-scratch check [options] HOST:PORT\n"
                   "       smtp-from-scratch check --stages [options] -- COMMAND… (with {port} in it)")
    check.description = "Plays dialogues from the RFCs at a server, and says where it differs."
    check.add_argument("target", nargs="*", metavar="HOST:PORT",
                       help="the server; HOST alone: its port 25. With --stages, it may be a command after --")
    check.add_argument("--stages", action="store_true", help=stages.HELP)
    examine.add_choice(check, "say which dialogues there are, and how much of the RFCs they prove; play none")
    check.add_argument("--user", metavar="U", default="", help="a user of the server, for AUTH")
    check.add_argument("--password-file", metavar="F", help="a file with the user's password in its first line")
    check.add_argument("--ca-file", metavar="F", help="certificates to trust; without it none is verified")
    check.add_argument("--implicit-tls", action="store_true", help="TLS from the first octet on, as on port 465")
    check.add_argument("--submission", action="store_true",
                       help="it takes messages from its users only, as on port 587")
    check.add_argument("--lmtp", action="store_true", help="it speaks LMTP, not SMTP")
    check.add_argument("--sender", type=mailbox, metavar="A", default="sender@example.org")
    check.add_argument("--recipient", type=mailbox, metavar="A",
                       help="somebody it has a mailbox for (default: postmaster@example.org, or of its own domain)")
    check.add_argument("--refused-recipient", type=mailbox_or_null, metavar="A", default="", help="somebody it refuses")
    check.add_argument("--patience", type=patience, metavar="S", default=10.0, help="seconds for a reply (default 10)")
    check.add_argument("--at-once", type=octets, metavar="N", default=8, help="connections at a time (default 8)")
    examine.add_report(check)
    check.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Play dialogues at a server; 1 when it breaks a MUST."""
    from smtp_from_scratch.conformance import report, requirements
    from smtp_from_scratch.conformance import stages as road
    from smtp_from_scratch.conformance.server import runner, scout

    dialogues = examine.chosen(options, "server")
    if options.list:
        print(*([road.listing("server")] if options.stages else
                [report.listing(dialogues), requirements.coverage_table(options.rfc)]), sep="\n\n")
        return OK
    try:
        address, words = address_or_command(options)
    except (argparse.ArgumentTypeError, ValueError) as error:
        return complain(str(error), USAGE)
    if not dialogues:
        return complain(examine.none_chosen(options), USAGE)
    where = "{}:{}".format(*address)
    try:
        target = runner.Target(*address, refused=options.refused_recipient, sender=options.sender, user=options.user,
                               password=first_line(options.password_file), context=trusting(options.ca_file),
                               implicit_tls=options.implicit_tls, submission=options.submission, lmtp=options.lmtp,
                               patience=options.patience)
        target.recipient = options.recipient or target.recipient
    except (OSError, ValueError) as error:
        return complain(f"cannot use {options.password_file or options.ca_file}: {error}", USAGE)
    if options.stages:
        return stages.servers_road(options, words, target)
    try:
        for told in scout.explore(target, bool(options.recipient)):
            print(f"{where}: {printable(told)}", file=sys.stderr)
    except (OSError, Interruption, ValueError) as error:
        return complain(f"no SMTP server at {where}: {sentence(error)}", UNREACHABLE)
    return judge(options, dialogues, target, where)


def judge(options: argparse.Namespace, dialogues: list[Dialogue], target: Target, where: str) -> int:
    """Play dialogues at a server that is there, and tell the outcomes; what it did not take is no verdict."""
    from smtp_from_scratch.conformance.server import runner

    missed: list[Outcome] = []

    def noting(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        for outcome in outcomes:
            missed.extend([outcome] if outcome.reason.startswith(runner.NO_CALL) else [])
            yield outcome

    def told(sentence: str) -> None:
        print(f"{where}: it {printable(sentence)}", file=sys.stderr)

    outcomes = runner.check(target, dialogues, options.at_once, told)
    status = examine.tell(noting(outcomes), len(dialogues), where, options)
    if reason := target.gone():
        return complain(f"{where} is gone ({reason}), and what was not played proves nothing", UNREACHABLE)
    if missed:
        told(f"did not take {len(missed)} calls, and these dialogues prove nothing: let it take more calls from here, "
             "or choose fewer dialogues, such as --rfc 5321")
    return DEFERRED if missed and status == OK else status


def address_or_command(options: argparse.Namespace) -> tuple[tuple[str, int], tuple[str, ...]]:
    """Where the server is, and the command that starts it, if it has one; raises ValueError, ArgumentTypeError."""
    words = tuple(options.target)
    if not words:
        raise ValueError("check needs HOST:PORT (or --list)")
    if options.stages and (wrong := stages.combined(options)):
        raise ValueError(wrong)
    if any("{port}" in word for word in words):
        if not options.stages:
            raise ValueError("a command is for `check --stages`; without it, start the server and give HOST:PORT")
        return ("127.0.0.1", 0), words
    if len(words) > 1:
        raise ValueError("expected one HOST:PORT, or, with --stages, a command with {port} where its port belongs")
    return host_or_port(words[0]), ()
