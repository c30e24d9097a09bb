"""`check`: does a server conform?"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from smtp_from_scratch.cli import stages
from smtp_from_scratch.cli.common import (
    OK,
    REFUSED,
    UNREACHABLE,
    USAGE,
    complain,
    first_line,
    host_or_port,
    mailbox,
    mailbox_or_null,
    octets,
    trusting,
)
from smtp_from_scratch.conversation import Interruption

if TYPE_CHECKING:
    from smtp_from_scratch.conformance.server.runner import Outcome


def add_parser(commands: Any) -> None:
    """The options."""
    check = commands.add_parser("check", help="does a server conform?", usage=(
        "smtp-from-scratch check [options] HOST:PORT\n       smtp-from-scratch check --stages [options] -- COMMAND… "
        "(with {port} in it)"), description="Plays dialogues from the RFCs at a server, and says where it differs.")
    check.add_argument("target", nargs="*", metavar="HOST:PORT",
                       help="the server; HOST alone: its port 25. With --stages, it may be a command after --")
    check.add_argument("--stages", action="store_true", help=stages.HELP)
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
    check.add_argument("--strict", action="store_true", help="a broken SHOULD counts as a broken MUST does")
    check.add_argument("--patience", type=float, metavar="S", default=10.0, help="seconds for a reply (default 10)")
    check.add_argument("--at-once", type=octets, metavar="N", default=8, help="connections at a time (default 8)")
    check.add_argument("--json", action="store_true", help="the outcomes as JSON on standard output")
    check.add_argument("--junit", metavar="F", help="write the outcomes to this file, as CI systems read them")
    check.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Play dialogues at a server; 1 when it breaks a MUST."""
    from smtp_from_scratch.conformance import report, requirements
    from smtp_from_scratch.conformance import stages as road
    from smtp_from_scratch.conformance.server import runner

    dialogues = [dialogue for dialogue in runner.all_dialogues()
                 if (not options.rfc or dialogue.rfc in options.rfc) and options.only.lower() in dialogue.title.lower()]
    if options.list:
        print(*([road.listing("server")] if options.stages else
                [report.listing(dialogues), requirements.coverage_table(options.rfc)]), sep="\n\n")
        return OK
    try:
        address, words = address_or_command(options)
    except (argparse.ArgumentTypeError, ValueError) as error:
        return complain(str(error), USAGE)
    dialogues = [dialogue for dialogue in dialogues if dialogue.end == "server"]
    if not dialogues:
        return complain("no dialogue is called that; --list shows them all", USAGE)
    where = "{}:{}".format(*address)
    try:
        target = runner.Target(*address, options.recipient, options.refused_recipient, options.sender, options.user,
                               first_line(options.password_file), trusting(options.ca_file),
                               options.implicit_tls, options.submission, options.lmtp, patience=options.patience)
    except (OSError, ValueError) as error:
        return complain(f"cannot use {options.password_file or options.ca_file}: {error}", USAGE)
    if options.stages:
        return stages.servers_road(options, words, target)
    try:
        runner.probe(target)
    except (OSError, Interruption, ValueError) as error:
        return complain(f"no SMTP server at {where}: {error or type(error).__name__}", UNREACHABLE)
    return tell(runner.check(target, dialogues, options.at_once), len(dialogues), where, options)


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


def tell(played: Iterable[Outcome], count: int, where: str, options: argparse.Namespace) -> int:
    """Report what came of dialogues, as the options say; returns the exit code."""
    from smtp_from_scratch.conformance import report
    from smtp_from_scratch.conformance.server import runner

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
    counted = ("MUST", "SHOULD") if options.strict else ("MUST",)
    return REFUSED if any(outcome.dialogue.level in counted for outcome in failed) else OK
