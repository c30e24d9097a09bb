"""What is counted and not timed: round trips, and memory."""
from __future__ import annotations

import smtplib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.bench.loads import LIMIT, idle
from tests.bench.servers import ROOT, running

RTT = 0.04                                      # seconds there and back: more than anything else takes


def message(recipients: int) -> Any:
    from email.message import EmailMessage

    message = EmailMessage()
    message["From"], message["Subject"] = "ana@rio.example", "round trips"
    message["To"] = ", ".join(f"reader{n}@tokyo.example" for n in range(recipients))
    message.set_content("hello\n")
    return message


@contextmanager
def far_away(sealed: bool) -> Iterator[tuple[Any, Any]]:
    """A line to a server of ours that delays each way and counts how often it waits; and what is trusted there."""
    from smtp_from_scratch import Server, lab
    from smtp_from_scratch.auth import Passwords

    certificates, users = lab.certificates("localhost"), Passwords({"ana": "tides"})
    with Server(tls=certificates.server if sealed else None, users=users if sealed else None) as server, \
            lab.count_turns(server.address, rtt=RTT) as line:
        yield line, certificates


def turns(messages: int, recipients: int, sealed: bool = False, **options: Any) -> int:
    """Round trips of our client, the dial included."""
    from smtp_from_scratch.auth import Plain
    from smtp_from_scratch.smtp import client_extensions
    from smtp_from_scratch.smtp import deliver as send

    with far_away(sealed) as (line, certificates):
        secret = {"tls": certificates.client, "user": "ana", "password": "tides"} if sealed else {}
        extensions = client_extensions(**secret, **options, mechanisms=[Plain()])
        receipts = send(("localhost", line.address[1]), [message(recipients)] * messages, extensions=extensions)
    assert all(len(receipt.accepted) == recipients for receipt in receipts)
    return int(line.round_trips)


def turns_of_smtplib(messages: int, recipients: int, sealed: bool = False) -> int:
    """The same, of smtplib."""
    with far_away(sealed) as (line, certificates):
        with smtplib.SMTP("localhost", line.address[1], timeout=LIMIT) as smtp:
            if sealed:
                smtp.starttls(context=certificates.client)
                smtp.login("ana", "tides")
            for _ in range(messages):
                smtp.send_message(message(recipients))
    return int(line.round_trips)


def round_trips() -> Iterator[tuple[str, int, int | None, int]]:
    """What, ours, smtplib's where it can do that, and the goal."""
    for recipients in (1, 50):
        smtplibs = turns_of_smtplib(1, recipients)
        yield (f"one message by DATA, {recipients} recipients", turns(1, recipients, without=["CHUNKING"]), smtplibs, 5)
        yield f"one message by BDAT, {recipients} recipients", turns(1, recipients), None, 5
        yield f"the same, eager, {recipients} recipients", turns(1, recipients, eager=True), None, 4
    yield "with STARTTLS and AUTH PLAIN", turns(1, 1, sealed=True), turns_of_smtplib(1, 1, sealed=True), 8
    yield "the same, eager", turns(1, 1, sealed=True, eager=True), None, 7
    yield "ten messages", turns(10, 1), turns_of_smtplib(10, 1), 14
    yield "ten messages, eager", turns(10, 1, eager=True), None, 4


# --- memory ----------------------------------------------------------------------------------------------------------

SEND = """
import smtplib, sys
from smtp_from_scratch import Client
def peak():                                     # not ru_maxrss, which may be that of the process that started this one
    with open("/proc/self/status") as status:
        return int(status.read().partition("VmHWM:")[2].split()[0]) / 1024
kind = {"ours": Client, "smtplib": smtplib.SMTP}[sys.argv[3]]
with kind("127.0.0.1", int(sys.argv[1])) as smtp:
    smtp.sendmail("ana@rio.example", "kenji@tokyo.example", b"small")
    before = peak()
    with open(sys.argv[2], "rb") as file:
        smtp.sendmail("ana@rio.example", "kenji@tokyo.example", file if kind is Client else file.read())
    print(peak() - before)
"""


@contextmanager
def large_file() -> Iterator[str]:
    """100 MB in lines."""
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(100):
            file.write((b"x" * 76 + b"\r\n") * 12_820)
        file.flush()
        yield file.name


def client_memory(port: int, file: str, client: str) -> float:
    """MiB on top of the idle client, for a letter from this file."""
    done = subprocess.run([sys.executable, "-c", SEND, str(port), file, client], check=True, capture_output=True,
                          text=True, cwd=ROOT, timeout=LIMIT)
    return float(done.stdout)


def server_memory(name: str, file: str, times: int = 3) -> float:
    """MiB on top of the idle server, which is a fresh one, for the same letter.

    The least of three: the system's peak is up to 4 MiB too high now and then, of a bare loop of `recv`, too.
    """
    return min(server_peak(name, file) for _ in range(times))


def server_peak(name: str, file: str) -> float:
    """MiB, once."""
    with running(name) as served:
        Path(f"/proc/{served.pid}/clear_refs").write_text("5")       # the most that it has had is what it has now
        before = served.status("VmHWM")
        client_memory(served.port, file, "ours")
        return (served.status("VmHWM") - before) / 1024


def idle_memory(name: str, connections: int) -> float:
    """KiB that a connection takes which has heard its greeting and says nothing; of a fresh server."""
    with ExitStack() as stack, running(name) as served:              # which ends before they hang up, all at once
        def hold(count: int) -> None:
            for sock in idle(served.port, count):
                stack.enter_context(sock)

        hold(10)                                # what the first ones bring with them
        before = served.status("VmRSS")
        hold(connections)
        return (served.status("VmRSS") - before) / connections
