"""How SMTP grows: EHLO, and extensions as objects with two ends (RFC 5321 §2.2, RFC 1870, RFC 6152)."""
# Exported from notebooks/09_ehlo.ipynb; edit the notebook.

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from .client import SMTPNotSupportedError
from .conversation import Conversation, Line
from .envelope import Envelope, Path
from .known import KnownLines
from .rules import about, by_verb
from .session import EXPECTED, TO_READY, UNKNOWN, VERBS, Session, Verb, helo, note_recipient, note_sender, path_argument
from .wire import Command, Reply

if TYPE_CHECKING:
    from .transaction import ClientSession, Plan

__all__ = [
    "ehlo", "protocol", "read_parameters", "Parameter", "one_of", "check_parameters", "Extension", "rcpt",
    "EXTENDED_VERBS", "check_requirements", "ExtensionSet", "ExtendedSession", "Size", "EightBitMime", "read_offers",
]


# %% ehlo
def ehlo(session: ExtendedSession, argument: str) -> Reply:
    """EHLO: who is calling, and what is offered here, a line each (RFC 5321 §4.1.1.1). HELO: as in 1982."""
    reply = helo(session, argument)
    if not reply.positive:
        return Reply(reply.code, reply.text.replace("HELO", session.verb))
    session.extended = session.verb != "HELO"
    if not session.extended:
        return reply
    offers = (extension.advertise(session) for extension in session.extensions.extensions)
    return Reply(250, "\n".join([session.hostname, *filter(None, offers), "HELP"]))    # HELP: §4.5.1


def protocol(session: ExtendedSession) -> str:
    """What `with` in Received says about how the message came (RFC 3848, RFC 6531 §4.3)."""
    if not session.extended:
        return "SMTP"
    name = "UTF8SMTP" if "SMTPUTF8" in session.envelope.parameters else "ESMTP"
    return name + "S" * session.secure + "A" * bool(session.user)


# %% parameters
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+))?")


def read_parameters(text: str) -> dict[str, str | None] | Reply:
    """What follows a path, `{NAME: value or None}`, or the reply that says what is wrong (RFC 5321 §4.1.2)."""
    found: dict[str, str | None] = {}
    if text and not text.startswith(" "):
        return Reply(501, f"a space must stand before parameters: {text[:80]!r}", "5.5.4")
    for word in filter(None, text.split(" ")):
        match = _PARAMETER.fullmatch(word)
        if not match:
            return Reply(501, f"not a parameter: {word[:80]!r}", "5.5.4")
        if match[1].upper() in found:
            return Reply(501, f"{match[1].upper()} is given twice", "5.5.4")
        found[match[1].upper()] = match[2]
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """A parameter of a command: `check` refuses a value or returns None; `octets`: what it adds to the line."""

    check: Callable[[ExtendedSession, str | None], Reply | None]
    octets: int = 0


# %% check-parameters
def one_of(*values: str, octets: int = 0) -> Parameter:
    """A parameter that takes one of these values."""

    def check(session: ExtendedSession, value: str | None) -> Reply | None:
        if value is not None and value.isascii() and value.upper() in values:
            return None
        return Reply(501, f"no such value here: {value}", "5.5.4")

    return Parameter(check, octets)


def check_parameters(session: ExtendedSession, verb: str, given: Mapping[str, str | None]) -> Reply | None:
    """A refusal of the first parameter that is unknown (555, RFC 5321 §4.1.1.11) or has an unknown value."""
    known = session.extensions.parameters.get(verb, {}) if session.extended else {}
    for name, value in given.items():
        if name not in known:
            return Reply(555, f"no such parameter here: {name}", "5.5.4")
        verdicts = [parameter.check(session, value) for parameter in known[name]]
        if None not in verdicts:
            return verdicts[0]
    return None


# %% extension
class Extension:
    """One RFC that extends SMTP, at both ends (RFC 5321 §2.2.2): a keyword, which may need others."""

    keyword: ClassVar[str] = ""
    requires: ClassVar[frozenset[str]] = frozenset()

    def advertise(self, session: ExtendedSession) -> str | None:
        """Server: its line in the reply to EHLO; None hides it."""
        return self.keyword or None

    def verbs(self) -> Mapping[str, Verb]:
        """Server: rows for the table of verbs."""
        return {}

    def parameters(self) -> Mapping[str, Mapping[str, Parameter]]:
        """Server: parameters by verb, `{"MAIL": {"SIZE": Parameter(…)}}`; several extensions may share one."""
        return {}

    @about()
    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        """Server: a refusal before a command is dispatched, or None."""
        return None

    def after_hello(self, client: ClientSession) -> Conversation[None]:
        """Client: what to do once EHLO was answered."""
        yield from ()

    def plan(self, plan: Plan) -> None:
        """Client: change what a transaction will say."""


# %% mail
def path_and_parameters(session: ExtendedSession, verb: str,
                        argument: str) -> tuple[Path, dict[str, str | None]] | Reply:
    """The path of MAIL or RCPT and the parameters after it, or what is wrong with them (RFC 5321 §4.1.1.2)."""
    found = path_argument(argument, "FROM:" if verb == "MAIL" else "TO:")
    if isinstance(found, Reply):
        return found
    path, rest = found
    if not rest: return path, {}                               # nearly every RCPT
    parameters = read_parameters(rest)
    if isinstance(parameters, Reply):
        return parameters
    return check_parameters(session, verb, parameters) or (path, parameters)


def mail(session: ExtendedSession, argument: str) -> Reply:
    """MAIL with parameters (RFC 5321 §4.1.1.2)."""
    found = path_and_parameters(session, "MAIL", argument)
    if isinstance(found, Reply):
        return found
    path, session.envelope.parameters = found
    session.envelope.protocol, session.envelope.user = protocol(session), session.user
    reply = note_sender(session, path)
    if not reply.positive:
        session.envelope.parameters = {}
    return reply


# %% rcpt
def rcpt(session: ExtendedSession, argument: str) -> Reply:
    """RCPT with parameters (RFC 5321 §4.1.1.3)."""
    found = path_and_parameters(session, "RCPT", argument)
    if isinstance(found, Reply):
        return found
    path, parameters = found
    reply = note_recipient(session, path)
    if parameters and reply.positive:
        session.envelope.options[path.mailbox] = parameters
    return reply


EXTENDED_VERBS: dict[str, Verb] = {
    "EHLO": Verb(ehlo, TO_READY, "EHLO your.host.name", now=True),
    "HELO": replace(VERBS["HELO"], handler=ehlo),
    "MAIL": replace(VERBS["MAIL"], handler=mail),
    "RCPT": replace(VERBS["RCPT"], handler=rcpt),
}


# %% requirements
def check_requirements(extensions: Iterable[Extension]) -> tuple[Extension, ...]:
    """The extensions, if each has what it needs and none is there twice; ValueError says what to add."""
    extensions = tuple(extensions)
    keywords = [extension.keyword for extension in extensions if extension.keyword]
    for extension in extensions:
        missing = sorted(extension.requires.difference(keywords))
        if missing:
            raise ValueError(f"{extension.keyword} needs {' and '.join(missing)}: add it, or leave "
                             f"{extension.keyword} out")
        if keywords.count(extension.keyword) > 1:
            raise ValueError(f"{extension.keyword} is in the list twice")
    return extensions


# %% extension-set
class ExtensionSet:
    """What a server offers: extensions put together once, and shared by all its sessions."""

    def __init__(self, extensions: Iterable[Extension] = ()) -> None:
        self.extensions = check_requirements(extensions)
        self.keywords, self.known = frozenset(e.keyword for e in self.extensions), KnownLines()
        self.verbs: dict[str, Verb] = VERBS | EXTENDED_VERBS
        self.parameters: dict[str, dict[str, tuple[Parameter, ...]]] = {}
        for extension in self.extensions:
            self.verbs |= extension.verbs()
            for verb, parameters in extension.parameters().items():
                known = self.parameters.setdefault(verb, {})
                for name, parameter in parameters.items():
                    known[name] = (*known.get(name, ()), parameter)
        self.checks = by_verb([extension.check for extension in self.extensions], self.verbs)
        self.limits = {verb: row.limit + self._octets(verb) for verb, row in self.verbs.items()}
        longest = max(self.limits.values())
        self.busy_line, self.idle_line = Line(longest), Line(longest, idle=True)

    def _octets(self, verb: str) -> int:
        """What the parameters of a verb add to its line (RFC 5321 §4.1.1.11)."""
        return sum(max(p.octets for p in several) for several in self.parameters.get(verb, {}).values())

    def misformed(self, line: bytes, command: Command) -> Reply | None:
        """What is wrong with a line itself (RFC 5321 §4.2.4, §4.5.3.1.4); a good one is known from then on."""
        if 0 in line or not (line.isascii() or "SMTPUTF8" in self.keywords):      # octet 0, NUL
            return Reply(501, "a command is 7-bit ASCII, without NUL", "5.5.2")
        limit = self.limits.get(command.verb)
        if limit is None:
            return Reply(500, f"no such command; I know {' '.join(self.verbs)}", "5.5.1")
        if len(line) + 2 > limit:
            return Reply(500, f"{command.verb} may have {limit} octets, CR LF included", "5.5.2")
        self.known.note(line, command)
        return None


# %% extended-session
@dataclass(slots=True, eq=False)
class ExtendedSession(Session):
    """A session whose verbs and parameters come from what is offered; TLS makes it begin anew."""

    service: ClassVar[str] = "ESMTP"
    extensions: ExtensionSet = field(default_factory=ExtensionSet)
    known: Mapping[bytes, Command] = field(init=False)     # type: ignore[misc]
    extended: bool = False                     # the client said EHLO
    secure: bool = False                       # TLS is up
    user: str = ""                             # who the client has proved to be
    notes: dict[str, Any] = field(default_factory=dict)    # what extensions remember, by keyword

    def __post_init__(self) -> None:
        self.verbs, self.known = self.extensions.verbs, self.extensions.known

    def line(self) -> Line:
        return self.extensions.idle_line if self.state in ("start", "ready") else self.extensions.busy_line

    def restart(self) -> None:
        """Forget all that the client has said: the session begins anew (RFC 3207 §4.2)."""
        self.release()
        self.envelope, self.state, self.notes = Envelope(peer=self.peer), "start", {}
        self.extended, self.user = False, ""

    def refuse(self, line: bytes, command: Command) -> Reply | None:
        """As before; and extensions have a say, even out of a command's turn (RFC 3207 §4, RFC 4954 §6)."""
        verb = self.verbs.get(command.verb, UNKNOWN)
        if line not in self.known and (refusal := self.extensions.misformed(line, command)):
            return self.closing(f"cannot go on: {refusal.text}") if verb.counts_octets else refusal
        objection = None if verb.counts_octets else self.objection(command)     # a chunk is read, then refused
        if self.state not in verb.moves and not (objection and objection.code == 530):
            return Reply(503, EXPECTED[self.state].replace("HELO", "EHLO"), "5.5.1")
        return objection or verb.misused(command)

    def objection(self, command: Command) -> Reply | None:
        """The first refusal that an extension has for a command; a 530 comes before all others."""
        found = None
        for check in self.extensions.checks.get((command.verb, command.argument.isascii()), ()):
            if (no := check(self, command)) and (not found or no.code == 530 and found.code != 530): found = no
        return found


# %% size
class Size(Extension):
    """SIZE: how large a message may be, and how large this one is, before it is sent (RFC 1870)."""

    keyword = "SIZE"

    def advertise(self, session: ExtendedSession) -> str:
        return f"SIZE {session.limits.max_size or 0}"      # 0: no fixed limit (§3)

    def parameters(self) -> Mapping[str, Mapping[str, Parameter]]:
        return {"MAIL": {"SIZE": Parameter(self.check_size, octets=26)}}       # §3

    def check_size(self, session: ExtendedSession, value: str | None) -> Reply | None:
        """MAIL … SIZE=n: too large is refused before a byte of it was sent (§6.1)."""
        limit, size = session.limits.max_size, self.number(value or "")
        if size is None:
            return Reply(501, "SIZE= takes a number of octets", "5.5.4")
        if limit and size > limit:
            return Reply(552, f"a message may have {limit} octets", "5.3.4")
        return None

    def plan(self, plan: Plan) -> None:
        """Say how large it is; do not even try what is too large."""
        size, limit = plan.message.size, self.number(plan.client.offered["SIZE"].strip())
        if size is None:
            return
        if limit and size > limit:
            raise SMTPNotSupportedError(f"the message has {size} octets; the server takes {limit}")
        plan.mail.parameters["SIZE"] = str(size)

    @staticmethod
    def number(text: str) -> int | None:
        """A number of at most twenty digits (§4); None for anything else."""
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


# %% eight-bit
class EightBitMime(Extension):
    """8BITMIME: bodies may have octets beyond ASCII, when the client says so (RFC 6152)."""

    keyword = "8BITMIME"

    def parameters(self) -> Mapping[str, Mapping[str, Parameter]]:
        return {"MAIL": {"BODY": one_of("7BIT", "8BITMIME", octets=17)}}

    def plan(self, plan: Plan) -> None:
        """Announce what needs it."""
        if "8BITMIME" in plan.needs:
            plan.mail.parameters["BODY"] = "8BITMIME"
            plan.needs.discard("8BITMIME")


# %% offers
def read_offers(reply: Reply) -> dict[str, str]:
    """What EHLO's reply offers: `{KEYWORD: the rest of its line}`; AUTH=… joins AUTH (RFC 5321 §4.1.1.1)."""
    offers: dict[str, str] = {}
    for line in reply.lines[1:]:
        if line.upper().startswith("AUTH="):
            line = line.replace("=", " ", 1)
        keyword, _, rest = line.partition(" ")
        if keyword.upper() == "AUTH":                      # mechanisms, each once
            rest = " ".join(dict.fromkeys(f"{offers.get('AUTH', '')} {rest}".split()))
        offers[keyword.upper()] = rest
    return offers
