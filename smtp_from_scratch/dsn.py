"""What became of a letter: wishes on its envelope (RFC 3461), and the delivery report that answers them (RFC 3464)."""
# Exported from notebooks/16_dsn.ipynb; edit the notebook.

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, message_from_string
from email import policy as email_policy
from email.message import EmailMessage, Message, MIMEPart
from email.utils import format_datetime, localtime, make_msgid
from typing import IO, Any

from .ehlo import ClientSession, ExtendedSession, Extension, Letter, Parameter, Step, decode_xtext, encode_xtext
from .envelope import Envelope
from .session import Deliver, reply_for_each
from .wire import Reply

__all__ = [
    "EVENTS", "parse_notify", "parse_ret", "parse_envid", "parse_orcpt", "judged", "ON_MAIL", "ON_RCPT", "Dsn",
    "encode_orcpt", "seven_bit", "request", "RETURN_LIMIT", "AS_IS", "returned", "build_report", "Send", "reporting",
    "RecipientStatus", "DeliveryReport", "parse_report",
]


# %% notify
EVENTS = ("SUCCESS", "FAILURE", "DELAY")


def parse_notify(value: str) -> frozenset[str]:
    """The events that a report is wanted for; none for NEVER, which stands alone; ValueError (RFC 3461 §4.1)."""
    words = value.upper().split(",")
    if words == ["NEVER"]:
        return frozenset()
    if not value.isascii() or not set(words) <= set(EVENTS):
        raise ValueError(f"NOTIFY= takes NEVER alone, or any of {', '.join(EVENTS)}, not {value[:80]!r}")
    return frozenset(words)


# %% ret-envid
_PRINTABLE = re.compile(r"[\t -~]+")           # a line end in one of these would end a line of the report


def parse_ret(value: str) -> str:
    """FULL or HDRS: how much of the letter comes back; ValueError (RFC 3461 §4.3)."""
    if value.upper() not in ("FULL", "HDRS") or not value.isascii():
        raise ValueError(f"RET= takes FULL or HDRS, not {value[:80]!r}")
    return value.upper()


def parse_envid(value: str) -> str:
    """What the sender calls this letter, out of its xtext; ValueError (RFC 3461 §4.4)."""
    envid = decode_xtext(value)
    if len(value) > 100 or not _PRINTABLE.fullmatch(envid):
        raise ValueError("ENVID= takes at most 100 characters, which stand for printable ASCII")
    return envid


# %% orcpt
_ORCPT = re.compile(r"([!#$%&'*+/0-9?A-Z^_`a-z{|}~-]+);(.+)")


def parse_orcpt(value: str) -> tuple[str, str]:
    """The type of the address that the sender wrote, and the address; ValueError (RFC 3461 §4.2, RFC 6533 §3)."""
    match = _ORCPT.fullmatch(value)
    if not match or len(value) > 500:
        raise ValueError(f"ORCPT= takes a type, a semicolon and an address, in 500 characters, not {value[:80]!r}")
    kind, coded = match[1], match[2]
    address = coded if kind.lower() == "utf-8" and coded.isprintable() else decode_xtext(coded)
    if kind.lower() != "utf-8" and not _PRINTABLE.fullmatch(address):
        raise ValueError(f"the address in ORCPT= stands for printable ASCII, not {address[:80]!r}")
    return kind, address


# %% judged
def judged(parse: Callable[[str], Any], example: str) -> Parameter:
    """A parameter whose value this function can read; else 501, never a refusal for its sake (RFC 3461 §5.1)."""

    def judge(session: ExtendedSession, value: str | None) -> Reply | None:
        try:
            parse(value or "")
        except ValueError as error:
            return Reply(501, str(error) if value else f"a value is missing: {example}", "5.5.4")
        return None

    return judge


# %% dsn
ON_MAIL: dict[str, Parameter] = {"RET": judged(parse_ret, "RET=HDRS"), "ENVID": judged(parse_envid, "ENVID=QQ314159")}
ON_RCPT: dict[str, Parameter] = {"NOTIFY": judged(parse_notify, "NOTIFY=FAILURE,DELAY"),
                                 "ORCPT": judged(parse_orcpt, "ORCPT=rfc822;yui@tokyo.example")}


class Dsn(Extension):
    """DSN: the sender says which reports it wants; every hop passes that on, unchanged (RFC 3461)."""

    keyword = "DSN"
    line_limits = {"MAIL": 117, "RCPT": 537}   # a little more than RFC 3461 §5.4 asks for

    def mail_parameters(self) -> Mapping[str, Parameter]:
        return ON_MAIL

    def rcpt_parameters(self) -> Mapping[str, Parameter]:
        return ON_RCPT

    def plan(self, client: ClientSession, letter: Letter, steps: list[Step]) -> None:
        """Say what the envelope asks for; where DSN is not offered, nobody asks us (RFC 3461 §5.2.1, §5.2.2)."""
        envelope = letter.envelope
        for step in steps:
            wishes = envelope.parameters if step.verb == "MAIL" else envelope.options.get(step.about, {})
            names = ON_MAIL if step.verb == "MAIL" else ON_RCPT
            step.parameters |= {name: value for name, value in wishes.items() if name in names}


# %% encode
def encode_notify(events: str) -> str:
    """The events in one order, each once (RFC 3461 §4.1)."""
    asked = parse_notify(events)
    return ",".join(event for event in EVENTS if event in asked) or "NEVER"


def encode_envid(envid: str) -> str:
    """What we call a letter, in xtext (RFC 3461 §4.4)."""
    value = encode_xtext(envid)
    parse_envid(value)
    if len("ENVID=" + value) > 100:            # what everybody must take (§5.4); we take a little more
        raise ValueError("ENVID may have 100 characters, its name and its xtext included")
    return value


# %% encode-orcpt
def encode_orcpt(address: str) -> str:
    """An address with its type, in xtext; rfc822, or what stands before a semicolon (RFC 3461 §4.2)."""
    kind, semicolon, rest = address.partition(";")
    if not semicolon or "@" in kind:
        kind, rest = "rfc822" if address.isascii() else "utf-8", address
    value = f"{kind};{encode_xtext(rest) if rest.isascii() else seven_bit(rest)}"
    parse_orcpt(value)
    if len("ORCPT=" + value) > 500:
        raise ValueError("ORCPT may have 500 characters, its name and its xtext included")
    return value


def seven_bit(address: str) -> str:
    """An address beyond ASCII, in ASCII (RFC 6533 §3)."""
    return "".join(c if "!" <= c <= "~" and c not in "+=\\" else f"\\x{{{ord(c):X}}}" for c in address)


# %% request
def request(envelope: Envelope, *, ret: str = "", envid: str = "", notify: str | Mapping[str, str] = "",
            orcpt: Mapping[str, str] | None = None) -> Envelope:
    """Put wishes on an envelope: `notify` for everybody, or by recipient; addresses and `envid` as they are.

    ValueError, and the envelope unchanged, for what no server would understand (RFC 3461 §4).
    """
    notify = dict.fromkeys(envelope.recipients, notify) if isinstance(notify, str) else notify
    if strangers := {*notify, *(orcpt or {})}.difference(envelope.recipients):
        raise ValueError(f"not among the recipients: {', '.join(sorted(strangers))}")
    mail: dict[str, str | None] = {"RET": parse_ret(ret)} if ret else {}
    if envid:
        mail["ENVID"] = encode_envid(envid)
    rcpt: dict[str, dict[str, str | None]] = {a: {"NOTIFY": encode_notify(n)} for a, n in notify.items() if n}
    for address, original in (orcpt or {}).items():
        rcpt.setdefault(address, {})["ORCPT"] = encode_orcpt(original)
    envelope.parameters |= mail
    for address, wishes in rcpt.items():
        envelope.options[address] = envelope.options.get(address, {}) | wishes
    return envelope


# %% fields
def printable(text: str) -> str:
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
    """The fields about the whole letter (RFC 3464 §2.2, RFC 3461 §6.3)."""
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
                  "Diagnostic-Code": f"smtp; {printable(str(reply))}" if remote_mta else ""})


# %% explain
SENTENCES = {
    "failed": "The letter could not be delivered, and will not be tried again.",
    "delayed": "The letter could not be delivered yet. Further attempts follow.",
    "delivered": "The letter was put into the mailbox. Nobody knows whether it is read.",
    "relayed": "The letter was handed to a server that sends no reports.",
    "expanded": "The letter was handed to all the addresses behind this one.",
}


def explain(reports: Mapping[str, tuple[str, Reply]], reporting_mta: str) -> str:
    """The part for people."""
    lines = [f"This is the mail system of {reporting_mta}, about a letter of yours."]
    for recipient, (action, reply) in reports.items():
        lines += ["", f"<{recipient}>", f"    {SENTENCES[action]}"]
        if not reply.positive:
            lines.append(f"    The reason given: {printable(str(reply))}")
    return "\n".join(lines) + "\n"


# %% returned
RETURN_LIMIT = 100_000                         # octets that come back at most (RFC 3461 §6.2)
AS_IS = email_policy.SMTP.clone(refold_source="none")      # strangers' header lines stay as they are


def returned(original: bytes, full: bool) -> MIMEPart:
    """The letter for the third part: whole, or its header only when that is wanted, or safer (RFC 3461 §6.2)."""
    part = MIMEPart(AS_IS)
    if full and len(original) <= RETURN_LIMIT:
        part["Content-Type"] = "message/rfc822"
        part.set_payload([message_from_bytes(original, policy=AS_IS)])
        with contextlib.suppress(UnicodeError, LookupError):
            part.as_bytes(policy=AS_IS.clone(cte_type="7bit"))         # the next hop may be one of 1982
            return part
        part = MIMEPart(AS_IS)
    header = re.split(rb"\r?\n\r?\n", original[:RETURN_LIMIT], maxsplit=1)[0].replace(b"\r\n", b"\n")
    part.set_content(header.decode("utf-8", "replace") + "\n", subtype="rfc822-headers")
    return part


# %% wanted
EVENT_OF = {"delivered": "SUCCESS", "relayed": "SUCCESS", "expanded": "SUCCESS", "failed": "FAILURE",
            "delayed": "DELAY"}                # actions of RFC 3464 §2.3.3


def wanted(envelope: Envelope, recipient: str, action: str) -> bool:
    """Whether the sender is to hear of this: failure and delay, unless NOTIFY says otherwise (RFC 3461 §5.2)."""
    notify = envelope.options.get(recipient, {}).get("NOTIFY")
    return EVENT_OF[action] in (parse_notify(notify) if notify else {"FAILURE", "DELAY"})


def action_of(reply: Reply, success: str = "delivered", give_up: bool = False) -> str:
    """What a reply means for a letter: 4yz is a delay, until the last attempt has failed."""
    return success if reply.positive else "failed" if reply.permanent or give_up else "delayed"


# %% head
def head(envelope: Envelope, reports: Mapping[str, tuple[str, Reply]], reporting_mta: str,
         now: datetime | None) -> EmailMessage:
    """The report's own header (RFC 3464 §2, RFC 3834 §5)."""
    actions = ", ".join(sorted({action for action, _ in reports.values()}))
    report = EmailMessage(AS_IS)
    report["From"] = f"Mail Delivery System <mailer-daemon@{reporting_mta}>"
    report["To"] = envelope.sender
    report["Subject"] = f"Your letter: {actions}"
    report["Date"] = format_datetime(now or localtime())
    report["Message-ID"] = make_msgid(domain=reporting_mta)
    report["Auto-Submitted"] = "auto-replied"
    report["MIME-Version"] = "1.0"
    report["Content-Type"] = 'multipart/report; report-type="delivery-status"'
    return report


# %% build-report
def build_report(envelope: Envelope, outcomes: Mapping[str, Reply], original: bytes | Message, reporting_mta: str, *,
                 remote_mta: str = "", success: str = "delivered", give_up: bool = False,
                 now: datetime | None = None) -> EmailMessage | None:
    """The report that a sender is owed about these outcomes, or None: nobody asked, or the sender is `<>`.

    `remote_mta`: the host that gave the replies, if it was another. `success`: what 2yz means: delivered, relayed,
    expanded. `give_up`: 4yz was the last word. Send it from `<>` to the envelope's sender (RFC 3461 §5.2, §6).
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
    octets = original if isinstance(original, bytes) else original.as_bytes()
    report.set_payload([text, fields, returned(octets, full)])
    return report


# %% reporting
Send = Callable[[EmailMessage, Envelope], Any]


def reporting(deliver: Deliver, hostname: str, send: Send) -> Deliver:
    """The same delivery, but senders hear of it: `send(report, envelope)` gets what they are owed (RFC 3461 §5.2.3).

    Once somebody has the letter, 250 is the answer, and those who cannot have it are reported. As long as any
    recipient is to be tried again, the client keeps the letter, and nothing is reported.
    """

    def deliver_and_report(envelope: Envelope, body: IO[bytes]) -> Any:
        outcome = deliver(envelope, body)
        outcomes = reply_for_each(envelope.recipients, outcome)
        if any(r.temporary for r in outcomes.values()) or not any(r.positive for r in outcomes.values()):
            return outcome
        body.seek(0)
        report = build_report(envelope, outcomes, body.read(RETURN_LIMIT + 1), hostname)
        if report:
            send(report, Envelope("", [envelope.sender], options={envelope.sender: {"NOTIFY": "NEVER"}}))
        return Reply(250, "the letter is ours now")

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
    returned: Message | None = None            # the letter, or its header


# %% parse-fields
def value_of(fields: Message, name: str, bare: bool = False) -> str:
    """A field's value in one line; `bare`: without the type before its semicolon. Empty if it is missing."""
    value = re.sub(r"\s*[\r\n]+\s*", " ", str(fields.get(name, ""))).strip()
    kind, semicolon, rest = value.partition(";")
    return rest.strip() if bare and semicolon else value


def recipient_status(fields: Message) -> RecipientStatus:
    """One group of fields, as a value; ValueError when one that is due is missing (RFC 3464 §2.3)."""
    for name in ("Final-Recipient", "Action", "Status"):
        if not value_of(fields, name):
            raise ValueError(f"the report has a group without {name}")
    return RecipientStatus(value_of(fields, "Final-Recipient", True), value_of(fields, "Action").lower(),
                           value_of(fields, "Status").split()[0], value_of(fields, "Original-Recipient", True),
                           value_of(fields, "Remote-MTA", True), value_of(fields, "Diagnostic-Code", True))


# %% parts
def parts_of(message: Message) -> list[Message]:
    """What a message consists of; the groups of fields, for message/delivery-status."""
    payload = message.get_payload()
    return [part for part in payload if isinstance(part, Message)] if isinstance(payload, list) else []


def text_of(part: Message) -> str:
    """The text of a part for people, as well as it can be read."""
    octets = part.get_payload(decode=True)
    return octets.decode("utf-8", "replace").replace("\r\n", "\n") if isinstance(octets, bytes) else ""


def returned_in(part: Message) -> Message | None:
    """The letter in a report's last part, or its header."""
    if part.get_content_type() in ("message/rfc822", "message/global"):
        return next(iter(parts_of(part)), None)
    if part.get_content_type() in ("text/rfc822-headers", "message/global-headers"):
        return message_from_string(text_of(part), policy=email_policy.default)
    return None


# %% parse-report
def parse_report(message: Message | bytes) -> DeliveryReport:
    """Read a delivery report; ValueError when a message is none. Anybody can forge one: believe it accordingly."""
    message = message_from_bytes(message, policy=email_policy.default) if isinstance(message, bytes) else message
    parts, kind = parts_of(message), str(message.get_param("report-type", "")).lower()
    if message.get_content_type() != "multipart/report" or kind != "delivery-status":
        raise ValueError("no delivery report: it would be multipart/report; report-type=delivery-status")
    groups = [group for part in parts[1:] if part.get_content_type().endswith("/delivery-status")
              for group in parts_of(part) if group.keys()]
    if len(groups) < 2:
        raise ValueError("the report has no part that says what became of anybody: message/delivery-status")
    about, *recipients = groups
    return DeliveryReport(value_of(about, "Reporting-MTA", True), value_of(about, "Original-Envelope-Id"),
                          tuple(map(recipient_status, recipients)), text_of(parts[0]), returned_in(parts[-1]))
