"""TLS on a line that began in the clear (RFC 3207), or from the first octet on (RFC 8314)."""
# Exported from notebooks/14_starttls.ipynb; edit the notebook.

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .channel import Channel, Layer
from .client import SMTPNotSupportedError, SMTPResponseException
from .conversation import FLUSH, NOT_YET, Conversation, Interruption, NotYet, Want
from .ehlo import ExtendedSession, Extension
from .printable import logger
from .session import Verb
from .transaction import ClientSession, hello
from .wire import Command, Reply

__all__ = [
    "ANSWERS_LIMIT", "ending", "TLSLayer", "Upgrade", "server_context", "unverified", "log", "secure_server",
    "secure_client", "start_tls", "StartTLS",
]


# %% layer-error
ANSWERS_LIMIT = 262_144                        # octets that TLS says on its own and nobody has read yet


@contextlib.contextmanager
def ending(layer: TLSLayer) -> Iterator[None]:
    """An error of TLS is the layer's end. After the handshake, it is an error of the connection."""
    try:
        yield
    except ssl.SSLError as error:
        layer.ended = True
        if not layer.ready:
            raise
        raise ConnectionAbortedError(f"what came is not what was sent: {error.reason or error}") from error


# %% layer
class TLSLayer:
    """One end of TLS on two buckets of octets: what came from the wire, and what must go there."""

    def __init__(self, context: ssl.SSLContext, server_name: str | None = None,
                 server_side: bool = False) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side, server_name)
        self.ready = self.ended = False        # the handshake is done; the other end said goodbye, or nonsense
        self.receive(b"")

    def receive(self, data: bytes) -> bytes:
        """Octets from the wire in, plain ones out; raises SSLError in the handshake, later ConnectionError."""
        if self.ended:                         # nobody reads that bucket any more
            return b""
        self._incoming.write(data)
        plain = []
        with ending(self), contextlib.suppress(ssl.SSLWantReadError):      # a record's rest has not come yet
            if not self.ready:
                self._tls.do_handshake()
                self.ready = True
            while block := self._tls.read(262_144):
                plain.append(block)
            self.ended = True                  # empty: the other end said goodbye
        if self._outgoing.pending > ANSWERS_LIMIT:
            self.ended = True
            raise ConnectionAbortedError("the other end makes TLS answer, and does not read the answers")
        return b"".join(plain)

    def send(self, data: bytes) -> bytes:
        """Plain octets in, octets for the wire out, those of the handshake included. Raises ConnectionError."""
        if data:
            with contextlib.suppress(ssl.SSLError) if self.ended else ending(self):
                self._tls.write(data)
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """Octets that say, sealed, that nothing follows; without them it could be a cut (RFC 8446 §6.1)."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        return self._outgoing.read()


# %% upgrade
@dataclass(slots=True)
class Upgrade(Want):
    """Want: from here on everything passes through `layer`; unread input is fed into it."""

    layer: Layer
    timeout: float = 300.0
    idle: bool = True                          # nothing is lost if a caller that only shakes hands is sent away

    def take(self, channel: Channel) -> Layer | NotYet:
        """The layer, once its handshake is done."""
        if channel.layer is not self.layer:
            channel.upgrade(self.layer)
        return self.layer if self.layer.ready else NOT_YET


# %% server-context
def server_context(certificate: str, key: str | None = None) -> ssl.SSLContext:
    """A server's TLS settings: its certificate chain and key, files in PEM form. Raises OSError, ssl.SSLError.

    No session tickets: they would add a flight after the handshake, and mail hardly resumes sessions.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = 0
    context.load_cert_chain(certificate, key)
    return context


def unverified() -> ssl.SSLContext:
    """A client's settings for TLS "if you can" (RFC 7435): a sealed line, whoever stands at its other end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)      # it asks no authority, and need not read them
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2       # some systems leave that open (RFC 8996)
    return context


# %% secure
log = logger(__name__)


def secure_server(session: ExtendedSession, context: ssl.SSLContext) -> Conversation[bool]:
    """Shake hands as a server, then forget all that was said in the clear; False when the handshake fails."""
    try:
        yield Upgrade(TLSLayer(context, server_side=True))
    except (OSError, Interruption) as error:   # also what somebody smuggled in before the handshake
        log.info("%s: no TLS: %s", session.peer or "client", str(error) or type(error).__name__)
        session.state = "closed"
        return False
    session.restart()
    session.secure = True
    return True


def secure_client(client: ClientSession, context: ssl.SSLContext) -> Conversation[None]:
    """Shake hands as a client, and forget what the server offered in the clear; raises ssl.SSLError."""
    try:
        yield Upgrade(TLSLayer(context, client.host or None))
    except OSError:
        yield FLUSH                            # the alert, which tells the server why
        raise
    client.secure, client.user = True, ""
    client.learn({})


# %% start-tls
def start_tls(client: ClientSession, context: ssl.SSLContext, required: bool = True) -> Conversation[None]:
    """Seal the line, then say EHLO again. Raises SMTPNotSupportedError or SMTPResponseException when it is
    `required` and refused, ssl.SSLError when the handshake fails: then nothing more may be said here."""
    if client.secure:
        return
    if "STARTTLS" not in client.offered:
        if required:
            raise SMTPNotSupportedError("the server offers no STARTTLS, or somebody took it out of its offer")
        return
    reply = yield from client.command("STARTTLS")
    if reply.code == 220:
        yield from secure_client(client, context)
        yield from hello(client)
    elif required:
        raise SMTPResponseException(reply, "STARTTLS")


# %% starttls
class StartTLS(Extension):
    """STARTTLS: from here on nobody else reads along (RFC 3207).

    Server: `context` has the certificate; with `required`, nothing is done in the clear (530, §4).
    Client: `context` decides whom to believe; `required` raises when there is no TLS to be had, which is what
    protects from somebody who takes STARTTLS out of the server's offer (§6).
    """

    keyword = "STARTTLS"
    IN_THE_CLEAR = frozenset({"EHLO", "STARTTLS", "NOOP", "QUIT"})

    def __init__(self, context: ssl.SSLContext, required: bool = False) -> None:
        self.context, self.required = context, required

    def advertise(self, session: ExtendedSession) -> str | None:
        return None if session.secure else self.keyword        # §4.2

    def verbs(self) -> Mapping[str, Verb]:
        return {"STARTTLS": Verb(self.starttls, {"ready": "start"}, "STARTTLS, then TLS", now=True)}

    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        """530 for all that should be said under TLS (§4)."""
        if not self.required or session.secure or command.verb in self.IN_THE_CLEAR:
            return None
        return Reply(530, "say STARTTLS first", "5.7.0")

    def starttls(self, session: ExtendedSession, argument: str) -> Conversation[Reply | None]:
        """STARTTLS: 220, the handshake, and nothing remembered (§4, §4.2)."""
        if argument:
            return Reply(501, "STARTTLS stands alone", "5.5.4")
        if session.secure or not session.extended:
            return Reply(503, "TLS is up already" if session.secure else "say EHLO first", "5.5.1")
        yield session.reply(Reply(220, "shake hands"))
        yield from secure_server(session, self.context)
        return None

    def after_hello(self, client: ClientSession) -> Conversation[None]:
        """TLS before anything else is said."""
        yield from start_tls(client, self.context, self.required)
