"""A server for the tests of a program that sends mail: it keeps what it is sent, and fails when it is told to."""

from __future__ import annotations

import functools
import re
import ssl
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from .conversation import Conversation, Disconnected
from .dialogue import Dialogue, Dialogues
from .envelope import Envelope
from .printable import printable
from .session import Deliver, Verb, path_argument, serve
from .smtp import MAX_SIZE, ReceivedMessage, Server, server_extensions
from .smtp.server import Inbox
from .status import CodedSession
from .wire import Command, Reply

if TYPE_CHECKING:
    from .passwords import Users

__all__ = ["FakeServer"]

DEFAULTS = {
    "CONNECT": "421 4.3.2 no service now", "EHLO": "502 5.5.1 no such command", "AUTH": "535 5.7.8 wrong password",
    "MAIL": "550 5.7.1 sender refused", "RCPT": "550 5.1.1 no such mailbox", "END": "554 5.6.0 message refused",
}
STEPS = ("CONNECT", "EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "END", "RSET", "NOOP", "VRFY", "QUIT")
ADDRESSED = ("MAIL", "RCPT", "DATA", "END")
_REPLY = re.compile(r"([45]\d\d)(?:[ -]([45]\.\d{1,3}\.\d{1,3}))?(?: (.*))?", re.DOTALL)


def refusal_of(text: str | Reply) -> Reply:
    """`"550 5.1.1 no such mailbox"` as a reply; ValueError for what refuses nothing (RFC 5321 §4.2.1)."""
    if isinstance(text, Reply):
        text = f"{text.code} {text.enhanced} {text.text}".replace("  ", " ")
    found = _REPLY.fullmatch(text) if isinstance(text, str) else None
    if not found or (found[2] and found[2][0] != found[1][0]):
        raise ValueError(f"a refusal is 4yz or 5yz, perhaps an enhanced code, and a text, not {text!r}")
    return Reply(int(found[1]), found[3] or "refused", found[2] or "")


def matches(pattern: str, *texts: str) -> bool:
    """Whether one of the texts is as in `pattern`, in which `*` and `?` stand for anything; case does not count."""
    pattern = pattern.lower().replace("[", "[[]")          # "[Shop] Your order" means what it says
    return any(fnmatchcase(text.lower(), pattern) for text in texts)


@dataclass(eq=False, slots=True)
class Rule:
    """What happens at a step: a refusal, a wait, the end of the line; `left` times, or for ever (None)."""

    step: str
    pattern: str
    refusal: Reply | None = None
    seconds: float = 0.0
    hang_up: bool = False
    left: int | None = None


@dataclass(eq=False, slots=True)
class Script:
    """The rules of a test, in the order in which they were given."""

    rules: list[Rule] = field(default_factory=list)
    tries: Counter[tuple[str, str]] = field(default_factory=Counter)       # by sender and recipient
    tries_refused: int = 0                                                 # greylisting
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, step: str, pattern: str, once: bool, **what: Any) -> None:
        """One more rule; ValueError for a step that does not exist, or has no address to compare."""
        step = step.upper()
        if step not in STEPS:
            raise ValueError(f"no such step: {step!r}; there are {', '.join(STEPS)}")
        if pattern != "*" and step not in ADDRESSED:
            raise ValueError(f"{step} is about nobody: leave the pattern {pattern!r} out")
        with self.lock:
            self.rules.append(Rule(step, pattern, left=1 if once else None, **what))

    def due(self, step: str, addresses: Iterable[str]) -> Iterator[Rule]:
        """The rules for this step; each is used up by one more."""
        with self.lock:
            found = [rule for rule in self.rules if rule.step == step and rule.left != 0
                     and (rule.pattern == "*" or matches(rule.pattern, *addresses))]
            for rule in found:
                if rule.left:
                    rule.left -= 1
                yield rule
                if rule.refusal or rule.hang_up:
                    break                      # rules after this one are for another time

    def play(self, step: str, *addresses: str) -> Reply | None:
        """Wait, refuse, or hang up (raises Disconnected), as the rules for this step say."""
        for rule in list(self.due(step, addresses)):
            if rule.seconds:
                self.stopped.wait(rule.seconds)
            if rule.hang_up:
                raise Disconnected
            if rule.refusal:
                return rule.refusal
        return None

    def greylisted(self, sender: str, recipient: str) -> Reply | None:
        """451 the first times that somebody writes to somebody (RFC 6647)."""
        with self.lock:
            self.tries[sender, recipient] += 1
            if self.tries[sender, recipient] <= self.tries_refused:
                return Reply(451, "greylisted, please try again later", "4.7.1")
        return None

    def clear(self) -> None:
        """Forget all rules."""
        with self.lock:
            self.rules.clear()
            self.tries.clear()
            self.tries_refused = 0


@dataclass(slots=True, eq=False)
class ScriptedSession(CodedSession):
    """A session that looks into the script before a command is dispatched, and before a message is taken."""

    script: Script = field(default_factory=Script)
    lost: bool = False                         # hang up in place of the next reply

    def objection(self, command: Command) -> Reply | None:
        verb = self.verbs.get(command.verb)
        refusal = CodedSession.objection(self, command)
        if refusal or verb is None or self.state not in verb.moves or verb.misused(command):
            return refusal
        step = "DATA" if command.verb == "BDAT" and not self.resources else command.verb
        addresses = [self.envelope.sender, *self.envelope.recipients]
        if step in ("MAIL", "RCPT"):
            found = path_argument(command.argument, "FROM:" if step == "MAIL" else "TO:")
            if isinstance(found, Reply):
                return None                    # the command will be refused for what is wrong with it
            addresses = [found[0].mailbox]
        refusal = self.script.play(step, *addresses)
        if step == "RCPT" and not refusal:
            return self.script.greylisted(self.envelope.sender, addresses[0])
        return refusal

    def take(self, deliver: Deliver, envelope: Envelope, body: IO[bytes]) -> Any:
        """The end of a message: deliver it, unless the script has something to say."""
        try:
            refusal = self.script.play("END", envelope.sender, *envelope.recipients)
        except Disconnected:
            self.lost = True
            return deliver(envelope, body)     # it was taken, and the client will never know
        return refusal or deliver(envelope, body)

    def reply(self, reply: Reply, verb: Verb | None = None) -> Reply:
        if self.lost:
            raise Disconnected
        return CodedSession.reply(self, reply, verb)


def scripted(script: Script, conversation: Conversation[None]) -> Conversation[None]:
    """A session, unless the script has something to say in place of its greeting."""
    try:
        refusal = script.play("CONNECT")
    except Disconnected:
        return
    if refusal:
        yield refusal
    else:
        yield from conversation


LINES = 8                                      # of a call that brought nothing, which an error shows
LETTER = 12                                    # lines of a letter that are shown


def lines_of(dialogue: Dialogue) -> list[str]:
    """What was said in a call, `C: …` and `S: …`; of letters the first lines."""
    lines, body = [], 0
    for row in dialogue.rows:
        body = body + 1 if row["kind"] in ("body", "note") else 0
        if body <= LETTER:
            lines.append(f"{row['role']}: {printable(row['text'])}".rstrip() if row["role"] else row["text"])
        elif body == LETTER + 1:
            lines.append("C: …")
    return lines


def fruitless(dialogue: Dialogue) -> bool:
    """Whether a call brought no message, or heard a refusal."""
    return not dialogue.taken or any(row["role"] == "S" and row["text"][:1] in "45" for row in dialogue.rows)


def waits_in_a_loop() -> bool:
    """Whether an event loop stands still while this thread waits."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Calls:
    """What was said to the server, as far as it explains that a message is missing."""

    address: tuple[str, int]
    _dialogues: Dialogues

    def calls(self) -> str:
        """All that was said since the latest `clear`, call by call; passwords masked, of letters the first lines."""
        return "\n\n".join("\n".join(lines_of(dialogue)) for dialogue in self._dialogues.all())

    def _went_wrong(self) -> list[str]:
        """What else may explain that a message is missing: nobody called, or a call that brought none."""
        calls = self._dialogues.all()
        vain = [lines_of(dialogue) for dialogue in calls if fruitless(dialogue)]
        told = [] if calls else ["  nobody has called {}:{}".format(*self.address)]
        if vain:
            told += [f"  calls that brought none, or heard a refusal: {len(vain)}; the end of the latest:",
                     *(f"    {line}" for line in vain[-1][-LINES:])]
        if waits_in_a_loop():
            told += ["  an event loop stood still meanwhile: await asyncio.to_thread(server.assert_sent, …)"]
        return told


class Search(Calls):
    """The messages that came, and how to look for one."""

    _inbox: Inbox

    def sent(self, *, to: str = "*", sender: str = "*", subject: str = "*") -> list[ReceivedMessage]:
        """The messages to a recipient (of the envelope), from a sender, with a subject; `*` and `?` match anything."""
        for name, pattern in (("to", to), ("sender", sender), ("subject", subject)):
            if not isinstance(pattern, str):
                raise TypeError(f"{name} is one pattern, such as 'kenji@*', not {pattern!r}")
        return [one for one in list(self._inbox.messages) if not differences(one, to, sender, subject)]

    def assert_sent(self, *, to: str = "*", sender: str = "*", subject: str = "*", count: int | None = None,
                    timeout: float = 5.0) -> ReceivedMessage:
        """The first message of this kind, after at most `timeout` seconds; AssertionError says what came instead.

        `count`: there must be so many of this kind, and no more. In an async test: `await asyncio.to_thread(…)`.
        """
        __tracebackhide__ = True               # pytest shows the line that called us
        if count is not None and not (isinstance(count, int) and count > 0):
            raise ValueError(f"count is a number above 0, not {count!r}; for none there is assert_not_sent")
        with self._inbox.arrival:
            self._inbox.arrival.wait_for(
                lambda: len(self.sent(to=to, sender=sender, subject=subject)) >= (count or 1), timeout)
            found = self.sent(to=to, sender=sender, subject=subject)
        if len(found) == count or (found and count is None):
            return found[0]
        how_many = "no message" if not found else f"{len(found)} of {count} messages" if len(found) < (
            count or 1) else f"{len(found)} messages, and not {count},"
        messages = list(self._inbox.messages)
        raise AssertionError("\n".join([f"{how_many} ({asked(to, sender, subject)}); {len(messages)} came",
                                        *came(messages, to, sender, subject), *self._went_wrong()]))

    def assert_not_sent(self, *, to: str = "*", sender: str = "*", subject: str = "*", timeout: float = 0.0) -> None:
        """No message of this kind has come, nor comes within `timeout` seconds; AssertionError says which did."""
        __tracebackhide__ = True
        with self._inbox.arrival:
            self._inbox.arrival.wait_for(lambda: self.sent(to=to, sender=sender, subject=subject), timeout)
            found = self.sent(to=to, sender=sender, subject=subject)
        if found:
            raise AssertionError("\n".join([f"a message ({asked(to, sender, subject)}) was sent",
                                            *(f"  {number}. {line_of(one)}" for number, one in enumerate(found, 1))]))


def came(messages: Iterable[ReceivedMessage], to: str, sender: str, subject: str) -> list[str]:
    """A line for each message: what it is, and how it differs."""
    return [f"  {number}. {line_of(one)}: {' and '.join(differences(one, to, sender, subject)) or 'as asked'}"
            for number, one in enumerate(messages, 1)]


def asked(to: str, sender: str, subject: str) -> str:
    """What a message should be like."""
    wanted = {"to": to, "from": sender, "subject": subject}
    return ", ".join(f"{name} {value!r}" for name, value in wanted.items() if value != "*") or "any"


def line_of(received: ReceivedMessage) -> str:
    """A message in a line."""
    envelope = received.envelope
    return f"from <{envelope.sender}> to {', '.join(f'<{r}>' for r in envelope.recipients)}, {received.subject!r}"


def differences(received: ReceivedMessage, to: str, sender: str, subject: str) -> list[str]:
    """Which of the wishes a message does not meet."""
    envelope = received.envelope
    met = {"another recipient": to == "*" or matches(to, *envelope.recipients),
           "another sender": matches(sender, envelope.sender),
           "another subject": subject == "*" or matches(subject, received.subject)}
    return [difference for difference, fine in met.items() if not fine]


class Certificate:
    """A certificate for localhost, 127.0.0.1 and ::1, by an authority of its own; files as long as it lives."""

    def __init__(self) -> None:
        try:
            import trustme
        except ImportError:
            raise ImportError("TLS in tests needs trustme: pip install 'smtp-from-scratch[testing]'") from None
        from pathlib import Path
        from tempfile import TemporaryDirectory

        authority = trustme.CA(organization_name="SMTP from Scratch, for tests")
        issued = authority.issue_cert("localhost", "127.0.0.1", "::1")
        self._folder = TemporaryDirectory()
        self.ca_file = str(Path(self._folder.name, "ca.pem"))
        authority.cert_pem.write_to_path(self.ca_file)
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        issued.configure_cert(self.server)
        self.client = ssl.create_default_context(cafile=self.ca_file)


@functools.cache
def certificate() -> Certificate:
    """The one of this process."""
    return Certificate()


class Access:
    """Where a server can be reached, in the forms that programs want it."""

    address: tuple[str, int]
    _certificate: Certificate | None
    _implicit_tls: bool
    _login: tuple[str, str]

    @property
    def host(self) -> str:
        """`"127.0.0.1"`."""
        return self.address[0]

    @property
    def port(self) -> int:
        """The port, which the system chose."""
        return self.address[1]

    @property
    def url(self) -> str:
        """`"smtp://user:password@127.0.0.1:2525"`; `smtps` with TLS from the first octet on."""
        login = "{}:{}@".format(*(quote(part, safe="") for part in self._login)) if self._login[0] else ""
        return f"smtp{'s' * self._implicit_tls}://{login}{self.host}:{self.port}"

    @property
    def context(self) -> ssl.SSLContext | None:
        """A TLS context for a client that trusts this server; None for a server without TLS."""
        return self._certificate.client if self._certificate else None

    @property
    def ca_file(self) -> str | None:
        """The authority's certificate, a PEM file; None for a server without TLS."""
        return self._certificate.ca_file if self._certificate else None

    def settings(self) -> dict[str, str | int | bool]:
        """Settings as values: Django's (EMAIL_…), for `override_settings`, and Flask-Mail's (MAIL_…)."""
        user, password = self._login
        start, wrapped = bool(self._certificate and not self._implicit_tls), self._implicit_tls
        return {"EMAIL_HOST": self.host, "EMAIL_PORT": self.port, "EMAIL_HOST_USER": user,
                "EMAIL_HOST_PASSWORD": password, "EMAIL_USE_TLS": start, "EMAIL_USE_SSL": wrapped,
                "MAIL_SERVER": self.host, "MAIL_PORT": self.port, "MAIL_USERNAME": user,
                "MAIL_PASSWORD": password, "MAIL_USE_TLS": start, "MAIL_USE_SSL": wrapped}

    def env(self) -> dict[str, str]:
        """The same as variables of an environment, all of them strings, and SMTP_HOST, SMTP_URL, … for others.

        With TLS, SSL_CERT_FILE is among them: with it Python trusts this server's certificate, and no other. With
        NODE_EXTRA_CA_CERTS so does Node.js, besides all others.
        """
        user, password = self._login
        found = {name: str(value) for name, value in self.settings().items()}
        found |= {"SMTP_HOST": self.host, "SMTP_PORT": str(self.port), "SMTP_USER": user, "SMTP_PASSWORD": password,
                  "SMTP_URL": self.url}
        trusted = {"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"} if self._certificate else ()
        return found | dict.fromkeys(trusted, self.ca_file or "")


class Instructions:
    """What a test tells a server to do."""

    _script: Script

    def refuse(self, pattern: str = "*", reply: str | Reply = "", *, at: str = "RCPT", once: bool = False) -> None:
        """Refuse at a step: `refuse("nobody@*")`, `refuse("*@spam.example", "550 5.7.1 no", at="MAIL")`.

        Steps are CONNECT, the verbs, DATA (BDAT, too) and END, after the message. The pattern is compared with the
        sender at MAIL, with the recipient at RCPT, with all of them at DATA and END; `*` and `?` in it stand for
        anything. Without a reply it is the usual one of the step, as in DEFAULTS. ValueError for what is neither.
        """
        step = at.upper()
        refusal = refusal_of(reply or DEFAULTS.get(step, "451 4.3.0 not now"))
        self._script.add(step, pattern, once, refusal=refusal)

    def delay(self, seconds: float, *, at: str = "END", pattern: str = "*", once: bool = False) -> None:
        """Let the client wait for the reply at a step: `delay(30)` after a message, for a program's own timeout."""
        if not (isinstance(seconds, int | float) and seconds > 0):
            raise ValueError(f"a delay takes some seconds, not {seconds!r}")
        self._script.add(at, pattern, once, seconds=seconds)

    def disconnect(self, *, after: str = "END", pattern: str = "*", once: bool = False) -> None:
        """Hang up once a step has arrived, without a reply: after END, nobody knows whether the message was taken."""
        self._script.add(after, pattern, once, hang_up=True)

    def greylist(self, tries: int = 1) -> None:
        """Refuse a recipient for now (451), the first `tries` times that a sender writes to it (RFC 6647)."""
        if not (isinstance(tries, int) and tries >= 0):
            raise ValueError(f"tries is a number of tries, and not {tries!r}")
        self._script.tries_refused = tries


def counting(deliver: Deliver, dialogues: Dialogues) -> Deliver:
    """A `deliver`, and a note in the dialogue that it took one more message."""
    def take(envelope: Envelope, body: IO[bytes]) -> Any:
        reply = deliver(envelope, body)
        dialogues.here().taken += 1
        return reply

    return take


def store(users: Mapping[str, str]) -> Users:
    """A store of these users and passwords."""
    from .passwords import Passwords

    return Passwords(users)


class FakeServer(Access, Search, Instructions, Server):
    """A real server on a free port of this machine, which a test can look into, and which fails on demand.

    `tls`: STARTTLS, or with `implicit_tls` TLS from the first octet on, with a certificate made here (needs trustme);
    `context` trusts it. `users`: `{name: password}`, who then must log in, unless `require_auth=False`. `without`:
    keywords of extensions that it does not offer. ValueError for what contradicts itself.
    """

    def __init__(self, *, tls: bool = False, implicit_tls: bool = False, users: Mapping[str, str] | None = None,
                 require_auth: bool | None = None, max_size: int = MAX_SIZE, without: Iterable[str] = ()) -> None:
        if not isinstance(users, Mapping | None):
            raise TypeError(f"users is a mapping, {{name: password}}, and not {users!r}")
        self._implicit_tls, self._login = implicit_tls, next(iter((users or {}).items()), ("", ""))
        self._certificate = certificate() if tls or implicit_tls else None
        self._script, self._dialogues = Script(), Dialogues()
        context = self._certificate.server if self._certificate else None
        extensions = server_extensions(
            tls=None if implicit_tls else context, users=store(users) if users else None,
            require_auth=bool(users) if require_auth is None else require_auth,
            insecure_auth=bool(users) and not context, without=without)
        super().__init__(max_size=max_size, extensions=extensions, hostname="test.example", tap=self._dialogues,
                         tls=context if implicit_tls else None, implicit_tls=implicit_tls)
        self._built = True

    def __setattr__(self, name: str, value: object) -> None:
        if getattr(self, "_built", False):
            raise AttributeError(f"{name!r} cannot be set: refuse(…), delay(…), disconnect(…) and greylist(…) say what "
                                 "this server shall do")
        super().__setattr__(name, value)

    def session(self, peer: str) -> CodedSession:
        """A session that plays by the script."""
        assert self.extensions is not None
        session = ScriptedSession(self.hostname, *self._handlers, peer=peer, limits=self._limits,
                                  extensions=self.extensions, script=self._script)
        session.deliver = functools.partial(session.take, counting(session.deliver, self._dialogues))
        return session

    def talk(self, session: CodedSession) -> Conversation[None]:
        """From the greeting to the goodbye."""
        return scripted(self._script, serve(session))

    def clear(self) -> None:
        """Forget the messages, and all that this server was told to do."""
        self._script.clear()
        self._inbox.clear()
        self._dialogues.clear()

    def stop(self, grace: float = 10.0) -> None:
        """Stop at once where the script is waiting."""
        self._script.stopped.set()
        super().stop(grace)
