"""What stands in for `socket.socket`: it knows only the loopback in memory, and has the names and errors of sockets."""

from __future__ import annotations

import errno
import io
import itertools
import math
import socket
import struct
import sys
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Self

from smtp_from_scratch.memory.network import CONSTANTS, NAMES, Network, Pipe, failure
from smtp_from_scratch.memory.turns import NobodyLeft

CAPACITY, PAIR_CAPACITY = 2_500_000, 212_992   # octets under way on a connection, on a pair: as on Linux
DONTWAIT = getattr(socket, "MSG_DONTWAIT", CONSTANTS["MSG_DONTWAIT"])
PEEK = getattr(socket, "MSG_PEEK", CONSTANTS["MSG_PEEK"])
NUMBERS = itertools.count(1_000_000)
SOCKETS: weakref.WeakValueDictionary[int, Named] = weakref.WeakValueDictionary()      # by `fileno`


class Patience:
    """How long to wait, in a world in which others play on meanwhile."""

    network: ClassVar[Network]

    def __init__(self) -> None:
        self.closed = False
        self.timeout: float | None = socket.getdefaulttimeout()
        self.patience = 0.0                    # SO_RCVTIMEO, in seconds

    def check_open(self) -> None:
        """Raises OSError for a socket that was closed."""
        if self.closed:
            raise failure(errno.EBADF)

    def deadline(self, patience: float = 0.0) -> float:
        """When a wait that begins now ends."""
        return self.network.turns.now() + ((patience or math.inf) if self.timeout is None else self.timeout)

    def wait(self, ready: Callable[[], object], at_once: bool, deadline: float) -> None:
        """Let the others play on until it is ready; raises BlockingIOError, TimeoutError, OSError when closed."""
        self.check_open()
        if not ready():
            if at_once or self.timeout == 0:
                raise failure(errno.EAGAIN)
            try:
                done = self.network.turns.wait(ready, deadline)
            except NobodyLeft:
                done = False
            if not done:
                raise failure(errno.EAGAIN) if self.timeout is None else TimeoutError("timed out")
        self.check_open()


class End(Patience):
    """One end of a connection: octets that come, octets that go."""

    def __init__(self) -> None:
        super().__init__()
        self.coming: Pipe | None = None
        self.going: Pipe | None = None
        self.deaf = False                      # SHUT_RD: nothing more is waited for

    def join(self, other: End, capacity: int) -> None:
        """Be connected."""
        local = capacity == PAIR_CAPACITY
        self.going = other.coming = Pipe(capacity, local)
        self.coming = other.going = Pipe(capacity, local)

    def readable(self) -> bool:
        """Whether `recv` would return at once."""
        return self.closed or self.deaf or self.coming is None or self.coming.readable()

    def writable(self) -> bool:
        """Whether `send` would return at once."""
        return self.closed or self.going is None or self.going.writable()

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As `socket.recv`."""
        self.wait(self.readable, bool(flags & DONTWAIT), self.deadline(self.patience))
        if self.coming is None:
            raise failure(errno.ENOTCONN)
        return self.coming.read(size, bool(flags & PEEK))

    def send(self, data: bytes | bytearray | memoryview, flags: int = 0) -> int:
        """As `socket.send`."""
        return self.send_until(self.deadline(), data, flags)

    def send_until(self, deadline: float, data: bytes | bytearray | memoryview, flags: int = 0) -> int:
        """The same, with a wait that may have begun before."""
        view = memoryview(data).cast("B")
        self.wait(self.writable, bool(flags & DONTWAIT) or not view, deadline)
        return self.pipe().write(view)

    def pipe(self) -> Pipe:
        """Where octets go; raises OSError when they cannot."""
        if self.going is None:
            raise failure(errno.ENOTCONN)
        if self.going.broken or self.going.over:
            raise failure(errno.EPIPE)
        return self.going


class Stream(End):
    """More ways to send and to receive."""

    def __init__(self) -> None:
        super().__init__()
        self.files, self.closing = 0, False    # files that `makefile` has made keep it open

    def sendall(self, data: bytes | bytearray | memoryview, flags: int = 0) -> None:
        """As `socket.sendall`: one timeout for all of it."""
        view, deadline = memoryview(data).cast("B"), self.deadline()
        while view:
            view = view[self.send_until(deadline, view, flags):]

    def force(self, data: bytes) -> None:
        """Send all of it, whatever is under way: who plays along cannot wait for room."""
        pipe = self.pipe()
        if not pipe.unheard:
            pipe.data += data

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        """As `socket.recv_into`."""
        view = memoryview(buffer).cast("B")
        data = self.recv(size or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def shutdown(self, how: int) -> None:
        """As `socket.shutdown`."""
        self.check_open()
        self.deaf |= how in (socket.SHUT_RD, socket.SHUT_RDWR)
        if self.going is not None and how in (socket.SHUT_WR, socket.SHUT_RDWR):
            self.going.over = True

    def close(self) -> None:
        """As `socket.close`: with octets unread, the other end hears of it as of a broken line."""
        self.closing = True
        if not self.files and not self.closed:
            self.closed = True
            self.end()

    def end(self) -> None:
        """Nothing comes and nothing goes any more."""
        if self.going is not None and self.coming is not None:
            self.going.over = True
            self.going.reset = bool(self.coming.data)
            self.coming.lose_reader()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class File(io.RawIOBase):
    """A socket as a file."""

    def __init__(self, sock: Stream, writes: bool) -> None:
        self.sock, self.writes = sock, writes
        sock.files += 1

    def readable(self) -> bool:
        return not self.writes

    def writable(self) -> bool:
        return self.writes

    def readinto(self, buffer: Any) -> int:
        return self.sock.recv_into(buffer)

    def write(self, data: Any) -> int:
        return self.sock.send(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self.sock.files -= 1
            if self.sock.closing:
                self.sock.close()


class Options(Stream):
    """Files, timeouts and options."""

    def __init__(self) -> None:
        super().__init__()
        self.buffers: dict[int, int] = {}      # octets, by the name of the option

    def makefile(self, mode: str = "r", buffering: int = -1, **options: Any) -> Any:
        """As `socket.makefile`, for reading or for writing."""
        raw: Any = File(self, "w" in mode)
        if buffering == 0:
            return raw
        size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        file: Any = io.BufferedWriter(raw, size) if "w" in mode else io.BufferedReader(raw, size)
        return file if "b" in mode else io.TextIOWrapper(file, **options)

    def settimeout(self, seconds: float | None) -> None:
        """As `socket.settimeout`."""
        if seconds is not None and seconds < 0:
            raise ValueError("Timeout value out of range")
        self.timeout = seconds

    def gettimeout(self) -> float | None:
        """As `socket.gettimeout`."""
        return self.timeout

    def setblocking(self, flag: bool) -> None:
        """As `socket.setblocking`."""
        self.timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        """As `socket.getblocking`."""
        return self.timeout != 0

    def setsockopt(self, level: int, name: int, value: Any, *_: Any) -> None:
        """As `socket.setsockopt`, of which only SO_RCVTIMEO, and the sizes of buffers, have an effect."""
        if level != socket.SOL_SOCKET:
            return
        if name == getattr(socket, "SO_RCVTIMEO", None):
            parts = struct.unpack("L" if sys.platform == "win32" else "ll", value)
            self.patience = parts[0] / 1000 if len(parts) == 1 else parts[0] + parts[1] / 1_000_000
        elif name in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self.buffers[name] = 2 * value     # as on Linux
            self.resize()

    def resize(self) -> None:
        """Give the pipes the sizes that were asked for, be it before there were pipes."""
        for name, pipe in ((socket.SO_SNDBUF, self.going), (socket.SO_RCVBUF, self.coming)):
            if pipe is not None and name in self.buffers:
                pipe.capacity = self.buffers[name]

    def getsockopt(self, level: int, name: int, size: int = 0) -> Any:
        """As `socket.getsockopt`: nothing is wrong."""
        return 0


class Named(Options):
    """What has an address and a number."""

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        super().__init__()
        self.family = socket.AF_INET if family == -1 else family
        self.type, self.proto = socket.SOCK_STREAM if type == -1 else type, max(proto, 0)
        self.name: tuple[Any, ...] = ("0.0.0.0", 0)
        self.peer: tuple[Any, ...] | None = None
        self.calls: deque[Socket] | None = None        # of a listener: who has called
        self.number = next(NUMBERS)
        SOCKETS[self.number] = self

    def fileno(self) -> int:
        """A number that only the selector here understands."""
        return -1 if self.closed else self.number

    def getsockname(self) -> tuple[Any, ...]:
        """As `socket.getsockname`."""
        return self.name

    def getpeername(self) -> tuple[Any, ...]:
        """As `socket.getpeername`."""
        if self.peer is None:
            raise failure(errno.ENOTCONN)
        return self.peer


class Socket(Named):
    """What stands in for `socket.socket`: a listener, a caller."""

    def bind(self, address: tuple[Any, ...]) -> None:
        """As `socket.bind`."""
        self.name = (NAMES.get(address[0], address[0]), address[1] or next(self.network.ports), *address[2:])

    def listen(self, backlog: int = 128) -> None:
        """As `socket.listen`."""
        self.network.listen(self, self.name[1])
        self.calls = deque()

    def readable(self) -> bool:
        return self.closed or self.deaf or (bool(self.calls) if self.calls is not None else super().readable())

    def accept(self) -> tuple[Socket, tuple[Any, ...]]:
        """As `socket.accept`."""
        self.wait(self.readable, False, self.deadline())
        if not self.calls:
            raise failure(errno.EINVAL)
        caller = self.calls.popleft()
        return caller, caller.peer or ()

    def connect(self, address: tuple[Any, ...]) -> None:
        """As `socket.connect`: somebody must listen there, in this process."""
        self.check_open()
        host = NAMES.get(address[0], address[0])
        listener = self.network.listener(host, address[1])
        server = self.__class__(self.family)
        self.join(server, CAPACITY)
        server.buffers = listener.buffers.copy()
        self.resize()
        server.resize()
        server.name = self.peer = (host, *address[1:])
        self.name = server.peer = (host, next(self.network.ports), *address[2:])
        listener.calls.append(server)

    def connect_ex(self, address: tuple[Any, ...]) -> int:
        """As `socket.connect_ex`."""
        try:
            self.connect(address)
        except OSError as error:
            return error.errno or errno.EINVAL
        return 0

    def end(self) -> None:
        if self.network.listeners.get(self.name[1]) is self:
            del self.network.listeners[self.name[1]]
        for caller in self.calls or ():
            caller.close()
        super().end()


def socket_class(network: Network) -> type[Socket]:
    """A class in place of `socket.socket`, for this network."""
    return type("socket", (Socket,), {"network": network})


def socket_pair(network: Network) -> Callable[..., tuple[Socket, Socket]]:
    """A function in place of `socket.socketpair`."""
    def socketpair(*_: Any) -> tuple[Socket, Socket]:
        made = socket_class(network)
        one, other = (made(getattr(socket, "AF_UNIX", 1)) for _ in range(2))
        one.join(other, PAIR_CAPACITY)
        return one, other

    return socketpair
