"""A line of ours behind the names of `smtplib`: the socket, commands one at a time, and what their replies are."""

from __future__ import annotations

import contextlib
import datetime
import math
import socket
import sys
from typing import Any, NoReturn, TypeVar

from smtp_from_scratch.client import SMTPResponseException, SMTPServerDisconnected
from smtp_from_scratch.compat.answers import Answer, addr_only, answered, refusal, saying
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import Conversation
from smtp_from_scratch.smtp.base import Guard
from smtp_from_scratch.wire import LineTooLong

T = TypeVar("T")


class Socket:
    """What `sock` is: the socket, with the timeout that counts, and what TLS knows of the other end."""

    def __init__(self, connection: Connection, timeout: float | None) -> None:
        self._connection = connection
        self.settimeout(timeout)

    def gettimeout(self) -> float | None:
        """Seconds that a wait takes at most, or None."""
        return self._timeout

    def settimeout(self, timeout: float | None) -> None:
        """Let a wait take so many seconds at most."""
        self._timeout = timeout
        self._connection.channel.longest_wait = math.inf if timeout is None else timeout

    def __getattr__(self, name: str) -> Any:
        sealed = getattr(self._connection.channel.layer, "_tls", None)
        return getattr(sealed if hasattr(sealed, name) else self._connection.socket, name)


class Session(Guard):
    """A line of ours, and the conversations on it."""

    connection: Connection | None = None
    debuglevel = 0
    local_hostname: str
    command_encoding = "ascii"

    @property
    def sock(self) -> Socket | None:
        """The socket, or None without a connection. What is assigned is talked to from now on."""
        return self._sock if self.connection else None

    @sock.setter
    def sock(self, sock: socket.socket | None) -> None:
        if sock is None:
            self.connection = None
        else:
            timeout = sock.gettimeout()
            self.connection = Connection(sock, "C")
            self._sock = Socket(self.connection, timeout)

    def check_connected(self) -> Connection:
        """The connection; SMTPServerDisconnected without one."""
        if not self.connection:
            raise SMTPServerDisconnected("please run connect() first")
        return self.connection

    def play(self, conversation: Conversation[T]) -> T:
        """Play a conversation to its end, and return its result."""
        connection = self.check_connected()
        try:
            return connection.play(conversation)
        except BaseException as error:
            self.fail(conversation, error)

    def fail(self, conversation: Conversation[T], error: BaseException) -> NoReturn:
        """As in `Client`; for a line that is too long, 500."""
        try:
            super().fail(conversation, error)
        except SMTPServerDisconnected as lost:
            if isinstance(error, LineTooLong):
                raise refusal(SMTPResponseException, (500, b"Line too long.")) from lost
            raise

    def close(self) -> None:
        """Close the connection without a word."""
        connection, self.connection = self.connection, None
        if connection:
            with contextlib.suppress(OSError):
                if goodbye := connection.goodbye():
                    connection.socket.settimeout(0.0)          # who reads no more does not hold us up
                    connection.socket.send(goodbye)
            connection.socket.close()

    def set_debuglevel(self, debuglevel: int) -> None:
        """Print the dialogue on standard error if it is not 0; above 1, with the time."""
        self.debuglevel = debuglevel


class Commands(Session):
    """One command at a time, and its reply: a code, and octets."""

    def _print_debug(self, *args: object) -> None:
        time = [datetime.datetime.now().time()] if self.debuglevel > 1 else []
        print(*time, *args, file=sys.stderr)

    def send(self, s: str | bytes) -> None:
        """Send octets, or text; SMTPServerDisconnected if there is nobody."""
        if self.debuglevel > 0:
            self._print_debug("send:", repr(s))
        connection = self.check_connected()
        octets = s.encode(self.command_encoding) if isinstance(s, str) else s
        sys.audit("smtplib.send", self, octets)
        self.play(saying(octets))
        if connection.write_failed:
            self.close()
            raise SMTPServerDisconnected("Server not connected")

    def putcmd(self, cmd: str, args: str = "") -> None:
        """Send a command; ValueError for more than one line."""
        line = f"{cmd} {args}" if args else cmd
        if "\r" in line or "\n" in line:
            line = line.replace("\n", "\\n").replace("\r", "\\r")
            raise ValueError(f"command and arguments contain prohibited newline characters: {line}")
        self.send(line + "\r\n")

    def getreply(self) -> Answer:
        """The next reply. SMTPServerDisconnected if there is none, SMTPResponseException for an endless line."""
        code, text = self.play(answered())
        if self.debuglevel > 0:
            self._print_debug(f"reply: retcode ({code}); Msg: {text!a}")
        return code, text

    def docmd(self, cmd: str, args: str = "") -> Answer:
        """Send a command, and hear the reply."""
        self.putcmd(cmd, args)
        return self.getreply()

    def help(self, args: str = "") -> bytes:
        """What the server says about itself."""
        return self.docmd("help", args)[1]

    def noop(self) -> Answer:
        """Is the server still there?"""
        return self.docmd("noop")

    def verify(self, address: str) -> Answer:
        """Ask whether a mailbox exists."""
        return self.docmd("vrfy", addr_only(address))

    vrfy = verify

    def expn(self, address: str) -> Answer:
        """Ask who is on a list."""
        return self.docmd("expn", addr_only(address))
