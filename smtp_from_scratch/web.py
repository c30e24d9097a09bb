"""A small HTTP server for pages of this machine: routes, bounds, and headers that let no page do harm."""

from __future__ import annotations

import contextlib
import io
import ipaddress
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from .printable import logger

__all__ = ["Handler", "Request", "Route", "WebServer", "WebError", "may_be_called"]

log = logger(__name__)
CALLERS = 64                                   # at a time
STREAMS = 48                                   # pages that are kept up to date, among the callers: others find a place
PATIENCE = 10.0                                # seconds for a request, and for its answer
MAX_BODY = 65_536                              # octets of a request
NOTHING = "default-src 'none'; sandbox; frame-ancestors 'none'"


class WebError(Exception):
    """A refusal: status and sentence."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class Request(NamedTuple):
    """What a route is given."""

    handler: Handler
    numbers: list[int]                         # that the path has
    names: list[str]                           # what the path has in their place, and in others'
    query: dict[str, list[str]]
    body: Any                                  # JSON, or None


Route = tuple[str, str, Callable[[Request], None]]     # method, pattern of the path, who answers


def may_be_called(host: str) -> bool:
    """Whether a Host header names this machine; any other name may be a stranger's page that was led here (DNS)."""
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    if name.lower() in ("localhost", socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"):
        return True
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


class Deadline(io.RawIOBase):
    """What a caller sends, until a time: an octet now and then keeps no place."""

    def __init__(self, line: socket.socket, seconds: float) -> None:
        self._line, self._end = line, monotonic() + seconds

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """What has come; raises TimeoutError."""
        patience, left = self._line.gettimeout(), self._end - monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._line.settimeout(left)
        try:
            return self._line.recv_into(buffer)
        finally:
            self._line.settimeout(patience)    # for the answer


class Answering(BaseHTTPRequestHandler):
    """What is read of a request, and how an answer is sent."""

    server_version, sys_version = "SMTP-from-Scratch", ""
    timeout = PATIENCE

    def setup(self) -> None:
        """A caller has so long to say what they want."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(Deadline(self.connection, self.timeout))

    def read_json(self) -> Any:
        """The body of a request; raises WebError."""
        if not self.headers.get("Content-Type", "").startswith("application/json"):
            raise WebError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "say it in JSON")
        size = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,9}", size) or int(size) > MAX_BODY:
            raise WebError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BODY} octets")
        try:
            return json.loads(self.rfile.read(int(size)))
        except (ValueError, RecursionError):   # RecursionError: thousands of brackets in each other
            raise WebError(HTTPStatus.BAD_REQUEST, "this is no JSON") from None

    def say(self, body: bytes, kind: str, policy: str = NOTHING, **headers: str) -> None:
        """Send an answer."""
        self.send_response(HTTPStatus.OK)
        self.finish_answer(body, kind, policy, headers)

    def finish_answer(self, body: bytes, kind: str, policy: str, headers: dict[str, str]) -> None:
        """Header and body of an answer."""
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": policy,
                            "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
                            "Cross-Origin-Resource-Policy": "same-origin", "X-DNS-Prefetch-Control": "off",
                            "Cache-Control": "no-store", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value: object) -> None:
        """Send JSON."""
        text = json.dumps(value, ensure_ascii=False, indent=1)
        self.say(text.encode("utf-8", "replace"), "application/json; charset=utf-8")     # some charsets have surrogates

    def log_message(self, format: str, *args: object) -> None:
        """A line for each request, where somebody listens."""
        log.debug("%s " + format, self.client_address[0], *args)


class Handler(Answering):
    """Answers requests by the routes of its server."""

    routes: list[Route] = []
    streams = threading.Semaphore(STREAMS)
    silent: dict[Any, None] = {}               # callers whose request is not there yet, the oldest first

    def do_GET(self) -> None:
        """Look at something."""
        self.answer("GET")

    def do_HEAD(self) -> None:
        """Ask for the header of what one would see."""
        self.answer("GET")

    def do_POST(self) -> None:
        """Say something, in JSON: a page from elsewhere may not, since its browser asks us first, in vain."""
        self.answer("POST")

    def do_DELETE(self) -> None:
        """Forget something."""
        self.answer("DELETE")

    def answer(self, method: str) -> None:
        """Find who answers, and let them."""
        try:
            if not may_be_called(self.headers.get("Host", "")):
                raise WebError(HTTPStatus.FORBIDDEN, "call this machine by its address, or as localhost")
            try:
                url = urlsplit(self.path)
            except ValueError:
                raise WebError(HTTPStatus.BAD_REQUEST, "this is no address") from None
            for wanted, pattern, respond in self.routes:
                if method == wanted and (found := re.fullmatch(pattern, url.path)):
                    words = found.groups()
                    body = self.read_json() if method == "POST" else None
                    self.silent.pop(self.connection, None)
                    return respond(Request(self, [int(word) for word in words if word.isdecimal()], list(words),
                                           parse_qs(url.query), body))
            raise WebError(HTTPStatus.NOT_FOUND, "nothing here")
        except WebError as error:
            self.send_response(error.status)
            self.finish_answer(f"{error}\n".encode(), "text/plain; charset=utf-8", NOTHING, {})


    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """A place for an answer without an end; raises WebError if there is none."""
        if not self.streams.acquire(blocking=False):
            raise WebError(HTTPStatus.SERVICE_UNAVAILABLE, f"{STREAMS} pages are kept up to date already")
        try:
            yield
        finally:
            self.streams.release()


class WebServer(ThreadingHTTPServer):
    """A thread for each of at most `CALLERS` callers; one more takes the place of whoever has been silent longest."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], routes: list[Route]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._places = threading.Semaphore(CALLERS)
        self._silent = dict[Any, None]()
        own = {"routes": routes, "streams": threading.Semaphore(STREAMS), "silent": self._silent}
        super().__init__(address, type("RoutedHandler", (Handler,), own))
        self.address: tuple[str, int] = self.socket.getsockname()[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a caller a thread, if there is a place, or one can be had at once."""
        if not self._places.acquire(blocking=False) and not (self._drop_oldest() and self._places.acquire(timeout=1.0)):
            return self.shutdown_request(request)
        self._silent[request] = None
        try:
            super().process_request(request, client_address)
        except RuntimeError:                   # no more threads to be had
            self._leave(request)
            self.shutdown_request(request)

    def _drop_oldest(self) -> bool:
        """Hang up on whoever has been silent longest; False if everybody has said what they want."""
        for sock in list(self._silent)[:1]:
            self._silent.pop(sock, None)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)        # wakes its thread, which leaves
            return True
        return False

    def _leave(self, request: Any) -> None:
        self._silent.pop(request, None)
        self._places.release()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One caller, in a thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Somebody hung up, for instance."""
        log.debug("a request failed", exc_info=True)
