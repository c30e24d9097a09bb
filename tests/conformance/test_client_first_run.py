"""A look at a client before it is judged: what it wants first, what it cannot be told, and what then is no fault."""
from __future__ import annotations

import smtplib
import ssl
import sys
from collections.abc import Callable

import pytest

from smtp_from_scratch.conformance.client.runner import Authority, ClientTarget, InThread, check
from smtp_from_scratch.conformance.client.scout import explore
from smtp_from_scratch.conformance.client.tasks import Task
from smtp_from_scratch.conformance.report import failure
from smtp_from_scratch.conformance.server.runner import FAILED, PASSED
from tests.our_client import DIALOGUES, by_class

LETTER = "Subject: Bread\r\n\r\nat six\r\n"
Session = Callable[[smtplib.SMTP, Task], object]


def smtplib_that(work: Session, kind: type[smtplib.SMTP] = smtplib.SMTP) -> Callable[[str, int, Task], int]:
    """A client that does this, and exits with 0 or raises."""
    def client(host: str, port: int, task: Task) -> int:
        with kind(host, port, "client.example", timeout=10) as smtp:
            work(smtp, task)
        return 0

    return client


def target(client: Callable[[str, int, Task], int], authority: Authority, *words: str) -> ClientTarget:
    return ClientTarget(lambda host, port, task, folder: InThread(client, host, port, task),
                        (sys.executable, "{port}", *words), authority=authority, patience=3.0)


def send(smtp: smtplib.SMTP, task: Task) -> None:
    smtp.sendmail(task.sender, task.recipients, task.letter)


def send_its_own(smtp: smtplib.SMTP, task: Task) -> None:
    smtp.sendmail("app@oslo.example", ["team@oslo.example"], LETTER)


def seal(smtp: smtplib.SMTP, task: Task) -> None:
    smtp.starttls(context=ssl.create_default_context())
    send(smtp, task)


def log_in(smtp: smtplib.SMTP, task: Task) -> None:
    smtp.login("ana", "mango")
    send(smtp, task)


@pytest.mark.parametrize("client, advice", [
    (smtplib_that(seal), "[ --ca-file {ca_file} ]"), (smtplib_that(log_in), "[ --user {user}"),
    (smtplib_that(send, smtplib.SMTP_SSL), "{implicit_ca_file}"), (smtplib_that(send, smtplib.LMTP), "it speaks LMTP"),
    (lambda host, port, task: 3, "ended with status 3 and never called"),
])
def test_what_cannot_be_judged_is_told(client: Callable[[str, int, Task], int], advice: str,
                                       authority: Authority) -> None:
    with pytest.raises(OSError) as caught:
        explore(target(client, authority))
    assert advice in str(caught.value)


def test_a_command_that_can_be_told_everything_needs_no_word(authority: Authority) -> None:
    able = target(by_class, authority, "{sender}", "{recipient}", "{file}")
    assert explore(able) == [] and able.fixed == {}


def test_what_a_command_sends_of_its_own_is_no_fault(authority: Authority) -> None:
    """Its letter and its envelope are taken as they are; smtplib's own faults stay."""
    own = target(smtplib_that(send_its_own), authority)
    told = explore(own)
    assert [sentence.partition(" ")[2][:9] for sentence in told] == ["message i", "sender is", "always se"]
    assert own.fixed == {"letter": b"", "sender": "app@oslo.example", "recipients": ("team@oslo.example",)}
    wanted = [dialogue for dialogue in DIALOGUES if dialogue.rfc == "5321"]
    outcomes = list(check(own, wanted))
    assert [one.dialogue.title for one in outcomes if one.status == FAILED] == [
        "A server greets with 554: QUIT", "Codes that nobody knows"], [
        failure(one) for one in outcomes if one.status == FAILED]
    assert sum(one.status == PASSED for one in outcomes) > 40


def test_several_recipients_of_its_own_cannot_be_judged(authority: Authority) -> None:
    two = target(smtplib_that(lambda smtp, task: smtp.sendmail(task.sender, ["a@x.example", "b@x.example"], LETTER)),
                 authority, "{sender}", "{file}")
    with pytest.raises(OSError, match="several recipients"):
        explore(two)


def test_a_client_that_fails_is_judged(authority: Authority) -> None:
    """It calls, and neither TLS nor a login makes it send: a fault of its own."""
    silent = target(smtplib_that(lambda smtp, task: smtp.ehlo()), authority)
    [sentence] = explore(silent)
    assert sentence.startswith("a plain message does not get through: ")
