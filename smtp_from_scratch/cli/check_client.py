"""`check-client`: does a client conform?"""

from __future__ import annotations

import argparse
import sys

from smtp_from_scratch.cli import examine, stages
from smtp_from_scratch.cli.common import OK, UNREACHABLE, USAGE, complain, octets, patience
from smtp_from_scratch.printable import printable


def add_options(client: argparse.ArgumentParser) -> None:
    """The options."""
    client.usage = "smtp-from-scratch check-client [options] -- COMMAND… (with {host} and {port} in it)"
    client.description = (
        "Plays the server's part of dialogues from the RFCs at a command that sends mail. In COMMAND, "
        "{host}, {port}, {sender}, {recipient}, {recipients} (repeated, with the option before it), {recipients,}, "
        "{file} (the message), {user}, {password}, {password_file}, {ca_file} and others are filled in: "
        "smtp_from_scratch/conformance/GRAMMAR.md has them all. Words between [ and ] are left out when a dialogue has "
        "no use for what stands in braces there.")
    client.add_argument("command", nargs="*", metavar="COMMAND", help="after --: a command that sends a message")
    client.add_argument("--stages", action="store_true", help=stages.HELP_CLIENT)
    examine.add_choice(client, "say which dialogues there are, and play none")
    client.add_argument("--stdin", action="store_true", help="the command reads the message from standard input")
    client.add_argument("--patience", type=patience, metavar="S", default=10.0,
                        help="seconds for the client's next line (default 10)")
    client.add_argument("--at-once", type=octets, metavar="N", default=4, help="commands at a time (default 4)")
    examine.add_report(client)
    client.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Play the server's part at a command; 1 when it breaks a MUST."""
    from smtp_from_scratch.conformance import report
    from smtp_from_scratch.conformance import stages as road
    from smtp_from_scratch.conformance.client import runner as client_runner
    from smtp_from_scratch.conformance.client import scout, tasks

    dialogues = examine.chosen(options, "client")
    if options.list:
        print(road.listing("client") if options.stages else report.listing(dialogues))
        return OK
    if not dialogues:
        return complain(examine.none_chosen(options), USAGE)
    try:
        tasks.check_command(options.command)
        if options.stages and (wrong := stages.combined(options)):
            raise ValueError(wrong)
    except ValueError as error:
        return complain(str(error), USAGE)
    words = tuple(options.command)
    target = client_runner.ClientTarget(client_runner.Command(words, options.stdin), words, options.stdin,
                                        patience=options.patience)
    try:
        for sentence in scout.explore(target):
            print(f"{words[0]}: {printable(sentence)}", file=sys.stderr)
    except OSError as error:
        return complain(f"cannot examine {words[0]}: {error}", UNREACHABLE)
    if options.stages:
        return stages.clients_road(options, target)
    played = client_runner.check(target, dialogues, options.at_once)
    return examine.tell(played, len(dialogues), " ".join(words), options)
