"""What became of a letter: wishes on its envelope (RFC 3461), and the delivery report that answers them (RFC 3464)."""
# Exported from notebooks/16_dsn.ipynb; edit the notebook.

from __future__ import annotations

import base64
import contextlib
import inspect
import quopri
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, message_from_string
from email import policy as email_policy
from email.header import decode_header, make_header
from email.message import EmailMessage, Message, MIMEPart
from email.parser import BytesHeaderParser
from email.utils import format_datetime, localtime, make_msgid
from typing import IO, Any, NamedTuple

from .ehlo import ClientSession, ExtendedSession, Extension, Letter, Parameter, Step, decode_xtext, encode_xtext
from .envelope import Envelope
from .session import Deliver, reply_for_each
from .wire import Reply, logger

__all__ = [
    "EVENTS", "parse_notify", "parse_ret", "parse_envid", "parse_orcpt", "judged", "ON_MAIL", "ON_RCPT", "Dsn",
    "encode_orcpt", "seven_bit", "request", "RETURN_LIMIT", "AS_IS", "returned", "build_report", "reporting",
    "RecipientStatus", "DeliveryReport", "octets_of", "parse_report",
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


# %% letter-in
FIELD_LIMIT = 2_000                            # octets of a field that the library may look into
_FIELD = re.compile(rb"^[!-9;-~]+[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*", re.MULTILINE)
_OLD = email_policy.compat32                   # it parses no field before it must


def has_long_field(letter: bytes) -> bool:
    """Whether `email` would need long for a letter: its parser is quadratic in the length of a field."""
    return any(len(field[0]) > FIELD_LIMIT for field in _FIELD.finditer(letter))


def letter_in(octets: bytes) -> Message:
    """A stranger's letter; its body is not looked into where that takes long, or breaks the parser."""
    parts: list[Message] = []
    with contextlib.suppress(Exception):       # of every kind
        if not has_long_field(octets):
            parts = list(message_from_bytes(octets, EmailMessage, policy=_OLD).walk())
    parts = parts or [BytesHeaderParser(EmailMessage, policy=_OLD).parsebytes(octets)]
    for part in parts:
        part.policy = email_policy.default     # the fields in Unicode, for whoever reads one
    return parts[0]


# %% returned
RETURN_LIMIT = 100_000                         # octets that come back at most (RFC 3461 §6.2)
AS_IS = email_policy.SMTP.clone(refold_source="none")      # strangers' header lines stay as they are


def returned(original: bytes, full: bool) -> MIMEPart:
    """The letter for the third part: whole, or its header only when that is wanted, or safer (RFC 3461 §6.2)."""
    part = MIMEPart(AS_IS)
    if full and len(original) <= RETURN_LIMIT:
        part["Content-Type"] = "message/rfc822"
        if original.isascii():
            part.set_payload(original.decode())
            return part
        if not has_long_field(original):
            part.set_payload([letter_in(original)])
            with contextlib.suppress(Exception):
                part.as_bytes(policy=AS_IS.clone(cte_type="7bit"))     # the next hop may be one of 1982
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


# %% report-to
log = logger(__name__)
Send = Callable[[EmailMessage, Envelope], Any]


def report_to(send: Send, hostname: str, envelope: Envelope, outcomes: Mapping[str, Reply], body: IO[bytes]) -> None:
    """Send the report that is owed, if any. What goes wrong is logged: the letter is delivered by now."""
    try:
        body.seek(0)
        report = build_report(envelope, outcomes, body.read(RETURN_LIMIT + 1), hostname)
        if report:
            send(report, Envelope("", [envelope.sender], options={envelope.sender: {"NOTIFY": "NEVER"}}))
    except Exception as error:
        about = printable(f"no report to <{envelope.sender}>: {type(error).__name__}: {error}")
        log.error("%s: %s", envelope.peer, about)
        log.debug("how it came to that", exc_info=True)


# %% reporting
def reporting(deliver: Deliver, hostname: str, send: Send) -> Deliver:
    """The same delivery, but senders hear of it: `send(report, envelope)` gets what they are owed (RFC 3461 §5.2.3).

    Once somebody has the letter, 250 is the answer, and those who cannot have it are reported. As long as any
    recipient is to be tried again, the client keeps the letter, and nothing is reported. A report that fails is
    logged. TypeError for an async function.
    """
    if any(map(inspect.iscoroutinefunction, (deliver, type(deliver).__call__))):
        raise TypeError("reporting needs a `deliver` that answers at once, not an async function")

    def deliver_and_report(envelope: Envelope, body: IO[bytes]) -> Any:
        outcome = deliver(envelope, body)
        outcomes = reply_for_each(envelope.recipients, outcome)
        if any(r.temporary for r in outcomes.values()) or not any(r.positive for r in outcomes.values()):
            return outcome
        report_to(send, hostname, envelope, outcomes, body)
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


# %% read-fields
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')


def fields_of(header: bytes) -> dict[str, str]:
    """The fields of a header by name in lower case, each in one line; the first of each name."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in header.decode("utf-8", "replace").split("\n"):
        if line[:1] not in (" ", "\t"):
            name, _, line = line.partition(":")
            lines = found.setdefault(name.strip().lower(), []) if name.strip().lower() not in found else []
        lines.append(line.strip())
    return {name: " ".join(filter(None, lines)) for name, lines in found.items()}


def content_type(value: str) -> tuple[str, dict[str, str]]:
    """The value of Content-Type: type, and parameters (RFC 2045 §5.1)."""
    parameters: dict[str, str] = {}
    for name, quoted, bare in _PARAMETER.findall(value):
        parameters.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) or bare)
    return value.partition(";")[0].strip().lower() or "text/plain", parameters


# %% read-part
class Part(NamedTuple):
    """A message, or a part of one: what its header says about the content, and the content, as it came."""

    kind: str
    parameters: dict[str, str]
    coding: str
    content: bytes

    @property
    def decoded(self) -> bytes:
        """The content, out of base64 or quoted-printable (RFC 2045 §6)."""
        with contextlib.suppress(ValueError):
            if self.coding == "base64":
                return base64.b64decode(self.content + b"==")
        return quopri.decodestring(self.content) if self.coding == "quoted-printable" else self.content


def read_part(octets: bytes) -> Part:
    """Split a message, or a part, into header and content."""
    end = re.search(rb"(?:\A|\n)\r?\n", octets)
    fields = fields_of(octets[: end.start()] if end else octets)
    coding = fields.get("content-transfer-encoding", "").lower()
    return Part(*content_type(fields.get("content-type", "")), coding, octets[end.end() :] if end else b"")


# %% parse-fields
def value_of(fields: Mapping[str, str], name: str, bare: bool = False) -> str:
    """A field's value, printable; `bare`: without the type before its semicolon. Empty if it is missing."""
    value = fields.get(name.lower(), "")
    if "=?" in value and len(value) <= FIELD_LIMIT:
        with contextlib.suppress(Exception):   # no encoded word after all (RFC 3464 §2.1.1)
            value = str(make_header(decode_header(value)))
    value = "".join(c if c.isprintable() else "?" for c in value).strip()
    kind, semicolon, rest = value.partition(";")
    return rest.strip() if bare and semicolon else value


def recipient_status(fields: Mapping[str, str]) -> RecipientStatus:
    """One group of fields, as a value; ValueError when one that is due is missing (RFC 3464 §2.3)."""
    for name in ("Final-Recipient", "Action", "Status"):
        if not value_of(fields, name):
            raise ValueError(f"the report has a group without {name}")
    return RecipientStatus(value_of(fields, "Final-Recipient", True), value_of(fields, "Action").lower(),
                           value_of(fields, "Status").split()[0], value_of(fields, "Original-Recipient", True),
                           value_of(fields, "Remote-MTA", True), value_of(fields, "Diagnostic-Code", True))


# %% parts
def parts_of(message: Part) -> list[Part]:
    """What a message consists of: what stands between the lines of its delimiter (RFC 2046 §5.1.1)."""
    delimiter, parts = b"--" + message.parameters.get("boundary", "").encode(), list[list[bytes]]()
    for line in message.content.splitlines(keepends=True) if len(delimiter) > 2 else ():
        if line.startswith(delimiter) and line.rstrip() in (delimiter, delimiter + b"--"):
            if line.rstrip() != delimiter:
                break
            parts.append([])
        elif parts:
            parts[-1].append(line)
    return [read_part(b"".join(part).removesuffix(b"\n").removesuffix(b"\r")) for part in parts]


def text_of(part: Part) -> str:
    """The text of a part for people, as well as it can be read."""
    return part.decoded.decode("utf-8", "replace").replace("\r\n", "\n")


def returned_in(part: Part) -> Message | None:
    """The letter in a report's last part, or its header."""
    kinds = ("message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers")
    return letter_in(part.decoded) if part.kind in kinds else None


# %% parse-report
def octets_of(message: Message) -> bytes:
    """A message as it would travel; ValueError if it cannot."""
    try:
        return message.as_bytes(policy=AS_IS)
    except Exception as error:                 # the library's, of many kinds
        raise ValueError(f"no delivery report: {printable(repr(error))}") from None


def parse_report(message: Message | bytes) -> DeliveryReport:
    """Read a delivery report; ValueError when a message is none. Anybody can forge one: believe it accordingly."""
    top = read_part(message if isinstance(message, bytes) else octets_of(message))
    if top.kind != "multipart/report" or top.parameters.get("report-type", "").lower() != "delivery-status":
        raise ValueError("no delivery report: it would be multipart/report; report-type=delivery-status")
    parts = parts_of(top)
    groups = [fields_of(group) for part in parts[1:] if part.kind.endswith("/delivery-status")
              for group in re.split(rb"(?:\r?\n){2,}", part.decoded) if b":" in group]
    if len(groups) < 2:
        raise ValueError("the report has no part that says what became of anybody: message/delivery-status")
    about, *recipients = groups
    return DeliveryReport(value_of(about, "Reporting-MTA", True), value_of(about, "Original-Envelope-Id"),
                          tuple(map(recipient_status, recipients)), text_of(parts[0]), returned_in(parts[-1]))
