"""`check`: does a server conform?"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from smtp_from_scratch.cli.common import (
    OK,
    REFUSED,
    UNREACHABLE,
    USAGE,
    complain,
    first_line,
    host_port,
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
    check.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Play dialogues at a server; 1 when it breaks a MUST."""
    from smtp_from_scratch.conformance import report, requirements
    from smtp_from_scratch.conformance.server import runner

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
    return REFUSED if any(outcome.dialogue.level == "MUST" for outcome in failed) else OK
