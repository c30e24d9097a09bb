"""The server at the front door, assembled from the chapters."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Self

from smtp_from_scratch.conversation import Closing, Conversation, Disconnected, Timeout
from smtp_from_scratch.ehlo import Extension, ExtensionSet
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.server import Places, ThreadedServer
from smtp_from_scratch.session import Deliver, Limits, Policy, Session, serve
from smtp_from_scratch.smtp.bridge import AnyDeliver, AnyPolicy, Bridge
from smtp_from_scratch.smtp.sets import EVERYTHING, Extensions, joined, server_extensions, server_security
from smtp_from_scratch.status import CodedSession
from smtp_from_scratch.transcript import Tap
from smtp_from_scratch.unix import address_of

if TYPE_CHECKING:
    import asyncio
    import ssl
    from email.message import EmailMessage

    from smtp_from_scratch.passwords import Users
    from smtp_from_scratch.submission import Submission

# What only some servers need is imported where they need it: the loop, LMTP, TLS, asyncio, and the parser of `email`.

MAX_SIZE = 200_000_000                          # octets of a message


def threads() -> type[ThreadedServer]:
    """A stage with a thread for each caller."""
    return ThreadedServer


def loop() -> type[ThreadedServer]:
    """A stage with one thread for all callers."""
    from smtp_from_scratch.loop import LoopServer

    return LoopServer


STAGES: dict[str, Callable[[], type[ThreadedServer]]] = {"threads": threads, "loop": loop}


@dataclass(frozen=True, slots=True, repr=False)
class ReceivedMessage:
    """A message that a server took in: its envelope, and its octets as they came, line ends CR LF."""

    envelope: Envelope
    data: bytes

    @property
    def message(self) -> EmailMessage:
        """The message, parsed; line ends are `\n` in it, as in an EmailMessage that somebody has written."""
        from email import message_from_bytes, policy

        return message_from_bytes(self.data.replace(b"\r\n", b"\n"), policy=policy.default)

    @property
    def subject(self) -> str:
        """The subject, decoded, or as it came where it cannot be; empty without one."""
        from email import policy
        from email.parser import BytesHeaderParser

        header = self.data.partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n")       # a body may be long
        try:
            return str(BytesHeaderParser(policy=policy.default).parsebytes(header).get("Subject", ""))
        except Exception:                      # what the library's parser raises for a stranger's header varies
            return str(BytesHeaderParser().parsebytes(header).get("Subject", ""))

    @property
    def text(self) -> str:
        """The text for reading, of type text/plain; empty if there is none."""
        return self._body("plain")

    @property
    def html(self) -> str:
        """The same as text/html, alone or beside the other; empty if there is none."""
        return self._body("html")

    def _body(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        return "" if part is None else str(part.get_content())

    def __repr__(self) -> str:
        to = ", ".join(f"<{recipient}>" for recipient in self.envelope.recipients)
        return f"<message from <{self.envelope.sender}> to {to}, {self.subject!r}, {len(self.data)} octets>"


class Inbox:
    """Where a server without `deliver` keeps messages."""

    at_once = 0                                 # a list in memory: the loop keeps nobody waiting for it

    def __init__(self) -> None:
        self.messages: list[ReceivedMessage] = []
        self.arrival = threading.Condition()

    def __call__(self, envelope: Envelope, body: IO[bytes]) -> None:
        with self.arrival:
            self.messages.append(ReceivedMessage(envelope, body.read()))
            self.arrival.notify_all()

    def clear(self) -> None:
        """Forget the messages."""
        with self.arrival:
            self.messages.clear()

    def wait_for(self, count: int, timeout: float = 10.0) -> list[ReceivedMessage]:
        """The messages, as soon as there are `count`; raises TimeoutError after `timeout` seconds."""
        with self.arrival:
            if not self.arrival.wait_for(lambda: len(self.messages) >= count, timeout):
                raise TimeoutError(f"{len(self.messages)} of {count} messages after {timeout} seconds")
            return list(self.messages)


class Running:
    """A server that starts, stops, and keeps what came in."""

    def __init__(self, stage: ThreadedServer, inbox: Inbox, bridge: Bridge) -> None:
        self._stage, self._inbox, self._bridge, self._begun = stage, inbox, bridge, threading.Event()
        self.address = stage.address

    @property
    def messages(self) -> list[ReceivedMessage]:
        """What came in, without `deliver`."""
        return self._inbox.messages

    def wait_for(self, count: int, timeout: float = 10.0) -> list[ReceivedMessage]:
        """The messages, as soon as there are `count`; raises TimeoutError after `timeout` seconds."""
        return self._inbox.wait_for(count, timeout)

    def start(self) -> None:
        """Begin to answer, once: RuntimeError for a second time. TypeError for async functions: see `serve_forever`."""
        self._begin(None)

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> None:
        check_first(self._stage, self._begun)
        try:
            self._bridge.open(loop)
        except TypeError:
            self.stop(0.0)
            raise
        begin(self._stage, self._begun)

    def stop(self, grace: float = 10.0) -> None:
        """Take no more calls, let transactions in hand finish for `grace` seconds, then cut them off."""
        stop(self._stage, grace, self._bridge.holds_up_sessions())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def serve_forever(self) -> None:
        """Serve until the task is canceled; async functions run in its event loop, as in `async with`."""
        import asyncio

        async with self:
            await asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        import asyncio

        self._begin(asyncio.get_running_loop())
        return self

    async def __aexit__(self, *_: object) -> None:
        import asyncio

        try:
            await asyncio.to_thread(self.stop)  # meanwhile the loop goes on with what sessions wait for
        finally:
            self._bridge.cancel()


def stop(stage: ThreadedServer, grace: float, busy: bool) -> None:
    """Stop a stage and wait for it, unless `deliver` or a policy asks: theirs is one of the transactions in hand.

    `busy`: this thread has an event loop in which such functions run.
    """
    loop, here = getattr(stage, "loop", None), threading.current_thread()
    ours = {*(loop.worker.threads if loop else ()), *(caller.thread for caller in stage.callers.copy().values())}
    if busy or here in ours:
        threading.Thread(target=stage.stop, args=[grace], name="stop", daemon=True).start()
    else:
        stage.stop(grace)


def check_first(stage: ThreadedServer, begun: threading.Event) -> None:
    """RuntimeError for a stage that has been stopped, or started, before."""
    if stage.stopping:
        raise RuntimeError("this server has been stopped: make another one")
    if begun.is_set():
        raise RuntimeError("this server answers already: it is started once")


def begin(stage: ThreadedServer, begun: threading.Event) -> None:
    """Start a stage, and note it; RuntimeError as above."""
    check_first(stage, begun)
    stage.start()
    begun.set()


class Talking(Running):
    """What is said to a caller."""

    hostname: str
    extensions: ExtensionSet | None
    _handlers: tuple[Deliver, Policy | None, Policy | None]
    _limits: Limits
    _implicit: ssl.SSLContext | None
    _kind: type[CodedSession]

    def _conversation(self, peer: str) -> Conversation[None]:
        if self.extensions is None:
            return serve(Session(self.hostname, *self._handlers, peer=peer, limits=self._limits))
        session = self.session(peer)
        conversation = self.talk(session)
        return conversation if self._implicit is None else sealed(session, self._implicit, conversation)

    def session(self, peer: str) -> CodedSession:
        """A session for a caller from `peer`."""
        assert self.extensions is not None
        return self._kind(self.hostname, *self._handlers, peer=peer, limits=self._limits, extensions=self.extensions)

    def talk(self, session: CodedSession) -> Conversation[None]:
        """What is played with a caller, once TLS is up where it begins at once."""
        return serve(session)


class Server(Talking):
    """A server in threads of its own: `with Server() as server:` listens until the block ends.

    Port 0 lets the system choose; `address` tells. `deliver(envelope, body)` returns a Reply, or None for 250, or
    {recipient: Reply}, of which LMTP says all, and SMTP one for all: a temporary refusal, else any refusal. `body` is
    an open file. Without it messages are kept in `messages`. `accept_sender(address, envelope)` and
    `accept_recipient(address, envelope)` return a Reply to refuse, or None. `extensions` are objects such as
    `Pipelining()`; by default everything that the other arguments allow; None: none, as in 1982.
    `tls`: a context with a certificate, for STARTTLS, or with `implicit_tls` from the first octet on (port 465).
    `users`: a store, for AUTH, under TLS only unless `insecure_auth`; `require_auth` turns strangers away. These take
    effect beside `extensions`, too; ValueError where they cannot. `submission` makes it a user's first server.
    A session ends with 421 after more than `max_errors` commands that make no sense, `max_idle_commands` that lead
    nowhere, `max_refused` refused recipients. Beyond `max_connections`, and beyond `max_connections_per_address` (of
    IPv6, per network of 64 bits), callers hear 421. `timeout` (seconds) caps every wait, and `session_timeout` is for
    a session as a whole. `stage`: "threads", one for each caller, or "loop", one for all of them, in which policies
    must answer at once, and one more for `deliver`, or as many as its attribute `at_once` says (0: it never blocks, and
    needs none); letters for what `together.in_steps` has decorated are kept together. `lmtp`: what is spoken is LMTP,
    with a reply for each recipient. `host` may be a path, `"unix:/run/lmtp"`, or a socket that listens. In an
    `async with`, `deliver` and policies may be async. Raises TypeError for what cannot be called here, OSError when
    the address cannot be had.
    """

    def __init__(self, host: str | socket.socket = "127.0.0.1", port: int = 0, *, deliver: AnyDeliver | None = None,
                 hostname: str = "", accept_sender: AnyPolicy | None = None, accept_recipient: AnyPolicy | None = None,
                 max_size: int = MAX_SIZE, max_recipients: int = 1000, max_errors: int = 20,
                 max_idle_commands: int = 100, max_refused: int = 100, max_connections: int = 1000,
                 max_connections_per_address: int = 500, timeout: float = 300.0, session_timeout: float = 14_400.0,
                 tap: Tap | None = None, extensions: Extensions = EVERYTHING, submission: Submission | None = None,
                 tls: ssl.SSLContext | None = None, implicit_tls: bool = False, users: Users | None = None,
                 require_auth: bool = False, insecure_auth: bool = False, stage: str = "threads",
                 lmtp: bool = False) -> None:
        if stage not in STAGES:
            raise ValueError(f"stage is one of {', '.join(STAGES)}, not {stage!r}")
        if not one_word(hostname) or not (isinstance(port, int) and 0 <= port <= 65_535):
            raise ValueError(f"a host name is one word in ASCII, a port at most 65535, not {hostname!r} and {port!r}")
        positive(max_connections=max_connections, max_connections_per_address=max_connections_per_address,
                 timeout=timeout, session_timeout=session_timeout)
        inbox, bridge = Inbox(), Bridge(stage)
        self.hostname = hostname or (name if one_word(name := socket.gethostname()) and name else "localhost")
        self._handlers = handlers(bridge, self.hostname, inbox if deliver is None else deliver, accept_sender,
                                  accept_recipient, submission)
        self._limits = Limits(max_size, max_recipients, max_errors, max_idle_commands, max_refused)
        if implicit_tls and (tls is None or extensions is None):
            raise ValueError("implicit_tls needs a context with a certificate, tls=…, and a list of extensions, if an "
                             "empty one: in 1982 there was no TLS")
        asked = server_security(None if implicit_tls else tls, False, users, require_auth, insecure_auth)
        self._kind = session_kind(lmtp)
        self.extensions = server_set(extensions, asked, implicit_tls, users is None or insecure_auth, lmtp)
        asked_for = port if isinstance(host, str) else address_of(host)[1]
        if lmtp and (submission is not None or asked_for == 25):
            raise ValueError("LMTP is not for port 25, nor for submission (RFC 2033 §5)")
        self._implicit = tls if implicit_tls else None
        several = {"workers": workers_for(deliver)} if stage == "loop" else {}
        place = STAGES[stage]()(self._conversation, host, port, tap=tap,
                                places=Places(max_connections, max_connections_per_address), **several)
        place.longest_wait, place.longest_session = timeout, session_timeout
        super().__init__(place, inbox, bridge)


def workers_for(deliver: object) -> int:
    """How many threads a loop has for deliveries; ValueError for fewer than none."""
    count = getattr(deliver, "at_once", 1)
    if not isinstance(count, int):              # of a Mock, say
        return 1
    if count < 0:
        raise ValueError(f"at_once is how often deliver may be called at a time, not {count}")
    return count or 1


def one_word(name: str) -> bool:
    """Whether a line of SMTP can have it as a word; also if it is empty."""
    return name.isascii() and name.isprintable() and " " not in name


def positive(**numbers: float) -> None:
    """ValueError for a number that is not above 0."""
    for name, number in numbers.items():
        if not (isinstance(number, int | float) and number > 0):
            raise ValueError(f"{name} is a number above 0, not {number!r}")


def session_kind(lmtp: bool) -> type[CodedSession]:
    """What a session with extensions is an instance of."""
    if lmtp:
        from smtp_from_scratch.lmtp import LmtpSession

        return LmtpSession
    return CodedSession


def server_set(extensions: Extensions, asked: list[Extension], implicit_tls: bool,
               open_login: bool, lmtp: bool) -> ExtensionSet | None:
    """The extensions of a server. ValueError where arguments contradict each other, and for users without TLS."""
    found = joined(extensions, server_extensions, asked)
    if not (open_login or implicit_tls or any(e.keyword == "STARTTLS" for e in found or ())):
        raise ValueError("users log in under TLS only: give tls=…, or insecure_auth=True")
    if lmtp:
        from smtp_from_scratch.lmtp import LmtpSet

        return LmtpSet(found or ())
    return None if found is None else ExtensionSet(found)


def anyone(address: str, envelope: Envelope) -> None:
    """The policy of a server that refuses nobody."""


def handlers(bridge: Bridge, hostname: str, deliver: AnyDeliver, accept_sender: AnyPolicy | None,
             accept_recipient: AnyPolicy | None,
             submission: Submission | None) -> tuple[Deliver, Policy | None, Policy | None]:
    """What a session does with a message, a sender, a recipient; TypeError for what it cannot call."""
    keep = bridge.plain("deliver", deliver)
    sender, recipient = bridge.plain("accept_sender", accept_sender), bridge.plain("accept_recipient", accept_recipient)
    if submission is None:
        return keep, sender, recipient
    from smtp_from_scratch.submission import Submission

    if not isinstance(submission, Submission):
        raise TypeError(f"submission is a role, Submission(…), and not {submission!r}")
    role = replace(submission, may_send=bridge.plain("may_send", submission.may_send))
    return (role.deliver(keep, hostname), role.accept_sender(anyone if sender is None else sender),
            role.accept_recipient(anyone if recipient is None else recipient))


def sealed(session: CodedSession, context: ssl.SSLContext, conversation: Conversation[None]) -> Conversation[None]:
    """A session that shakes hands before the greeting (RFC 8314 §3.3)."""
    from smtp_from_scratch.starttls import secure_server

    try:
        ready = yield from secure_server(session, context)
    except (Timeout, Disconnected, Closing):
        return
    if ready:
        yield from conversation
