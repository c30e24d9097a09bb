"""What became of a message: delivery reports, written and read (RFC 3464)."""
# Exported from notebooks/20_report.ipynb; edit the notebook.

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email import message_from_string
from email.message import EmailMessage, Message, MIMEPart
from email.utils import format_datetime, localtime, make_msgid
from typing import IO, Any

from .dsn import parse_envid, parse_notify, parse_orcpt, parse_ret, seven_bit
from .envelope import Envelope
from .parts import AS_IS, RETURN_LIMIT, fields_of, octets_of, parts_of, read_part, returned, value_of
from .printable import logger
from .session import Deliver, reply_for_each
from .wire import Reply

__all__ = [
    "one_line", "typed", "group", "EVENT_OF", "wanted", "action_of", "build_report", "log", "Send", "report_to",
    "reporting", "RecipientStatus", "DeliveryReport", "recipient_status", "parse_report",
]


# %% fields
def one_line(text: str) -> str:
    """One line of printable ASCII, of at most 900 characters, whatever a stranger's server has said."""
    line = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    return "".join(c if " " <= c <= "~" else "?" for c in line)[:900]


def typed(address: str) -> str:
    """An address with its type (RFC 3464 §2.1.2)."""
    return f"rfc822; {address}" if address.isascii() else f"utf-8; {seven_bit(address)}"


def group(fields: Mapping[str, str]) -> str:
    """A group of fields; those without a value are left out."""
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


# %% status
def per_message(envelope: Envelope, reporting_mta: str) -> str:
    """The fields about the whole message (RFC 3464 §2.2, RFC 3461 §6.3)."""
    envid = envelope.parameters.get("ENVID")
    kind = "dns" if "." in reporting_mta and reporting_mta[0] != "[" else "x-local-hostname"
    return group({"Original-Envelope-Id": parse_envid(envid) if envid else "",
                  "Reporting-MTA": f"{kind}; {reporting_mta}"})


def per_recipient(envelope: Envelope, recipient: str, action: str, reply: Reply, remote_mta: str) -> str:
    """The fields about one recipient (RFC 3464 §2.3, RFC 3461 §6.3)."""
    orcpt = envelope.options.get(recipient, {}).get("ORCPT")
    kind, original = parse_orcpt(orcpt) if orcpt else ("", "")
    original = original if original.isascii() else seven_bit(original)
    return group({"Original-Recipient": f"{kind}; {original}" if orcpt else "",
                  "Final-Recipient": typed(recipient),
                  "Action": action,
                  "Status": reply.enhanced or f"{reply.code // 100}.0.0",
                  "Remote-MTA": f"dns; {remote_mta}" if remote_mta else "",
                  "Diagnostic-Code": f"smtp; {one_line(str(reply))}" if remote_mta else ""})


# %% explain
SENTENCES = {
    "failed": "The message could not be delivered, and will not be tried again.",
    "delayed": "The message could not be delivered yet. Further attempts follow.",
    "delivered": "The message was put into the mailbox. Nobody knows whether it is read.",
    "relayed": "The message was handed to a server that sends no reports.",
    "expanded": "The message was handed on to the addresses that this one stands for.",
}


def explain(reports: Mapping[str, tuple[str, Reply]], reporting_mta: str) -> str:
    """The part for people."""
    lines = [f"This is the mail system of {reporting_mta}, about a message of yours."]
    for recipient, (action, reply) in reports.items():
        lines += ["", f"<{recipient}>", f"    {SENTENCES[action]}"]
        if not reply.positive:
            lines.append(f"    The reason given: {one_line(str(reply))}")
    return "\n".join(lines) + "\n"


# %% wanted
EVENT_OF = {"delivered": "SUCCESS", "relayed": "SUCCESS", "expanded": "SUCCESS", "failed": "FAILURE",
            "delayed": "DELAY"}                # actions of RFC 3464 §2.3.3


def wanted(envelope: Envelope, recipient: str, action: str) -> bool:
    """Whether the sender is to hear of it: failure and delay, or what NOTIFY says (RFC 3461 §5.2)."""
    notify = envelope.options.get(recipient, {}).get("NOTIFY")
    return EVENT_OF[action] in (parse_notify(notify) if notify else {"FAILURE", "DELAY"})


def action_of(reply: Reply, success: str = "delivered", give_up: bool = False) -> str:
    """What a reply means for a message: 4yz is a delay, until the last attempt has failed."""
    return success if reply.positive else "failed" if reply.permanent or give_up else "delayed"


# %% head
def head(envelope: Envelope, reports: Mapping[str, tuple[str, Reply]], reporting_mta: str,
         now: datetime | None) -> EmailMessage:
    """The report's own header (RFC 3464 §2, RFC 3834 §5)."""
    actions = ", ".join(sorted({action for action, _ in reports.values()}))
    report = EmailMessage(AS_IS)
    report["From"] = f"Mail Delivery System <mailer-daemon@{reporting_mta}>"
    report["To"] = envelope.sender
    report["Subject"] = f"Your message: {actions}"
    report["Date"] = format_datetime(now or localtime())
    report["Message-ID"] = make_msgid(domain=reporting_mta)
    report["Auto-Submitted"] = "auto-replied"
    report["MIME-Version"] = "1.0"
    report["Content-Type"] = 'multipart/report; report-type="delivery-status"'
    return report


# %% build-report
def build_report(envelope: Envelope, outcomes: Mapping[str, Reply], original: bytes | Message,
                 reporting_mta: str, *, remote_mta: str = "", success: str = "delivered", give_up: bool = False,
                 now: datetime | None = None) -> EmailMessage | None:
    """The report that a sender is owed about these outcomes, or None: nobody asked, or the sender is `<>`.

    `remote_mta`: the host that gave the replies, if it was another. `success`: what 2yz means, delivered,
    relayed or expanded. `give_up`: 4yz was the last word. Send it from `<>` to the sender (RFC 3461 §5.2, §6).
    """
    actions = {a: (action_of(reply, success, give_up), reply) for a, reply in outcomes.items()}
    reports = {a: about for a, about in actions.items() if wanted(envelope, a, about[0])}
    if not reports or not envelope.sender:     # never a report about a report (RFC 3461 §5.2)
        return None
    failed = any(action == "failed" for action, _ in reports.values())
    full = failed and parse_ret(envelope.parameters.get("RET") or "HDRS") == "FULL"
    status = [per_message(envelope, reporting_mta)]
    status += [per_recipient(envelope, a, *about, remote_mta) for a, about in reports.items()]
    report = head(envelope, reports, reporting_mta, now)
    text = MIMEPart(AS_IS)
    text.set_content(explain(reports, reporting_mta))
    fields = message_from_string("Content-Type: message/delivery-status\n\n" + "\n".join(status), policy=AS_IS)
    report.set_payload([text, fields, returned(octets_of(original), full)])
    return report


# %% report-to
log = logger(__name__)
Send = Callable[[EmailMessage, Envelope], Any]


def report_to(send: Send, hostname: str, envelope: Envelope, outcomes: Mapping[str, Reply],
              body: IO[bytes]) -> None:
    """Send the report that is owed, if any. What goes wrong is logged: the message is delivered by now."""
    try:
        body.seek(0)
        report = build_report(envelope, outcomes, body.read(RETURN_LIMIT + 1), hostname)
        if report:
            send(report, Envelope("", [envelope.sender], options={envelope.sender: {"NOTIFY": "NEVER"}}))
    except Exception as error:
        about = one_line(f"no report to <{envelope.sender}>: {type(error).__name__}: {error}")
        log.error("%s: %s", envelope.peer, about)
        log.debug("how it came to that", exc_info=True)


# %% reporting
def reporting(deliver: Deliver, hostname: str, send: Send) -> Deliver:
    """The same delivery, but senders hear of it: `send(report, envelope)` gets the reports (RFC 3461 §5.2.3).

    Once somebody has the message, 250 is the answer, and those who cannot have it are reported. As long as
    any recipient is to be tried again, the client keeps the message, and nothing is reported. A report that
    fails is logged. TypeError for an async function.
    """
    if any(map(inspect.iscoroutinefunction, (deliver, type(deliver).__call__))):
        raise TypeError("reporting needs a `deliver` that answers at once, not an async function")

    def deliver_and_report(envelope: Envelope, body: IO[bytes]) -> Any:
        outcome = deliver(envelope, body)
        outcomes = reply_for_each(envelope.recipients, outcome)
        if any(r.temporary for r in outcomes.values()) or not any(r.positive for r in outcomes.values()):
            return outcome
        report_to(send, hostname, envelope, outcomes, body)
        return Reply(250, "the message is ours now")

    return deliver_and_report


# %% report-class
@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """What a report says of one recipient (RFC 3464 §2.3)."""

    recipient: str                             # as the reporting server knew it
    action: str                                # failed, delayed, delivered, relayed or expanded
    status: str                                # an enhanced status code
    original: str = ""                         # as the sender wrote it
    remote_mta: str = ""
    diagnostic: str = ""                       # what the remote server said


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """A delivery report, read (RFC 3464)."""

    reporting_mta: str
    envelope_id: str
    recipients: tuple[RecipientStatus, ...]
    text: str = ""                             # the part for people
    returned: Message | None = None            # the message, or its header


# %% parse-fields
def recipient_status(fields: Mapping[str, str]) -> RecipientStatus:
    """One group of fields, as a value; ValueError when one that is due is missing (RFC 3464 §2.3)."""
    for name in ("Final-Recipient", "Action", "Status"):
        if not value_of(fields, name):
            raise ValueError(f"the report has a group without {name}")
    return RecipientStatus(value_of(fields, "Final-Recipient", True), value_of(fields, "Action").lower(),
                           value_of(fields, "Status").split()[0], value_of(fields, "Original-Recipient", True),
                           value_of(fields, "Remote-MTA", True), value_of(fields, "Diagnostic-Code", True))


# %% parse-report
def parse_report(message: Message | bytes) -> DeliveryReport:
    """Read a delivery report; ValueError when the message is not one. Anybody can forge one."""
    top = read_part(octets_of(message))
    if top.kind != "multipart/report" or top.parameters.get("report-type", "").lower() != "delivery-status":
        raise ValueError("no delivery report: it would be multipart/report; report-type=delivery-status")
    parts = parts_of(top)
    groups = [fields_of(group) for part in parts[1:] if part.kind.endswith("/delivery-status")
              for group in re.split(rb"(?:\r?\n){2,}", part.decoded) if b":" in group]
    if len(groups) < 2:
        raise ValueError("the report has no part that says what became of anybody: message/delivery-status")
    about, *recipients = groups
    return DeliveryReport(value_of(about, "Reporting-MTA", True), value_of(about, "Original-Envelope-Id"),
                          tuple(map(recipient_status, recipients)), parts[0].text, parts[-1].message)
