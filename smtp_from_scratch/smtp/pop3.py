"""The POP3 server at the front door: a conversation of the chapter on POP3, on a stage, with limits."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Self

from smtp_from_scratch.conversation import Conversation
from smtp_from_scratch.pop3 import Pop3Session, serve
from smtp_from_scratch.server import Places
from smtp_from_scratch.smtp.server import STAGES, begin, positive
from smtp_from_scratch.smtp.sets import check_tls, check_users
from smtp_from_scratch.throttle import Guesses

if TYPE_CHECKING:
    from smtp_from_scratch.passwords import Users
    from smtp_from_scratch.transcript import Tap

WORKERS = 16                                    # threads of a loop for disks and passwords
FULL = b"-ERR [SYS/TEMP] too many connections, please try again later\r\n"


class Pop3Server:
    """A server from which users fetch their mail: `with Pop3Server(root, users, tls=…) as server:`.

    `root` is the folder of a `Maildir`, in which each address has a folder. `users` is a store: their names are these
    addresses, or what is before the `@` of `domain`. `tls`: a context with a certificate, for STLS, or with
    `implicit_tls` from the first octet on (port 995). Without TLS nobody can log in, unless `insecure_auth`. A maildrop
    is for one session at a time, and only its QUIT removes letters.
    A caller may be silent for ten minutes, and no longer than `timeout`; `session_timeout` is for a session as a whole.
    Beyond `max_connections`, and beyond `max_connections_per_address`, callers hear `-ERR`. `stage`: "loop", one thread
    for all callers, or "threads". `host` may be a socket that listens. ValueError for arguments that contradict each
    other, OSError when the address cannot be had.
    """

    def __init__(self, root: str | os.PathLike[str], users: Users, host: str | socket.socket = "127.0.0.1",
                 port: int = 0, *, tls: ssl.SSLContext | None = None, implicit_tls: bool = False,
                 insecure_auth: bool = False, domain: str = "", max_connections: int = 1000,
                 max_connections_per_address: int = 100, timeout: float = 600.0, session_timeout: float = 14_400.0,
                 tap: Tap | None = None, stage: str = "loop") -> None:
        if stage not in STAGES:
            raise ValueError(f"stage is one of {', '.join(STAGES)}, not {stage!r}")
        positive(max_connections=max_connections, max_connections_per_address=max_connections_per_address,
                 timeout=timeout, session_timeout=session_timeout)
        check_tls(tls)
        check_users(users)
        if tls is None and (implicit_tls or not insecure_auth):
            raise ValueError("implicit_tls needs a context with a certificate, tls=…" if implicit_tls else
                             "users log in under TLS only: give tls=…, or insecure_auth=True")
        self._root, self._users, self._insecure, self._domain = root, users, insecure_auth, domain
        self._tls = None if implicit_tls else tls
        self._implicit = tls if implicit_tls else None
        self._guesses, self._begun = Guesses(), threading.Event()
        several = {"workers": WORKERS} if stage == "loop" else {}
        self._stage = STAGES[stage]()(
            self._conversation, host, port, tap=tap,
            places=Places(max_connections, max_connections_per_address), **several)
        self._stage.no_place = FULL
        self._stage.longest_wait, self._stage.longest_session = timeout, session_timeout
        self.address = self._stage.address

    def _conversation(self, peer: str) -> Conversation[None]:
        session = Pop3Session(self._root, self._users, self._tls, self._insecure, self._domain, peer, self._guesses)
        return serve(session, self._implicit)

    def start(self) -> None:
        """Begin to answer calls, once: RuntimeError for a second time."""
        begin(self._stage, self._begun)

    def stop(self, grace: float = 10.0) -> None:
        """Take no more calls, end the sessions that wait for a command, and others after `grace` seconds."""
        self._stage.stop(grace)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
