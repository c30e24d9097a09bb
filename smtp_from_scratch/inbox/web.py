"""The inbox over HTTP: one page, JSON, and messages that can do no harm (sandboxed, nothing fetched from elsewhere)."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from smtp_from_scratch.inbox.letters import Entry, Letters
from smtp_from_scratch.printable import logger

log = logger(__name__)
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; frame-src 'self'"
# A stranger's HTML: no script, no form, no frame of its own, nothing from any server; `sandbox` gives it no origin.
MAIL_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
CALLERS = 32                                   # at a time
PATIENCE = 10.0                                # seconds for a request
_INLINE = re.compile(r"""(\bsrc\s*=\s*["']?)cid:([^"'>\s]+)""", re.IGNORECASE)


def may_be_called(host: str) -> bool:
    """Whether a Host header names this machine; any other name may be a stranger's page that was led here (DNS)."""
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    if name.lower() in ("localhost", socket.gethostname().lower()):
        return True
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def inert_html(entry: Entry) -> str:
    """The HTML part; images that came with the message are in it, all others stay away."""
    images = {}
    for part in entry.parts:
        if part.kind.startswith("image/") and part.content_id:
            images[part.content_id] = f"data:{part.kind};base64,{base64.b64encode(part.decoded).decode()}"
    return _INLINE.sub(lambda found: found[1] + images.get(found[2], "data:,"), entry.text_of("text/html"))


class Handler(BaseHTTPRequestHandler):
    """Answers requests; `letters` is set by `server_for`."""

    server_version, sys_version = "SMTP-from-Scratch", ""
    timeout = PATIENCE
    letters: Letters

    def do_GET(self) -> None:
        """The page, or JSON."""
        self.route("GET")

    def do_DELETE(self) -> None:
        """Forget a message, or all. Pages from elsewhere may not ask for it: browsers ask us first, in vain."""
        self.route("DELETE")

    def route(self, method: str) -> None:
        """Find who answers."""
        if not may_be_called(self.headers.get("Host", "")):
            return self.fail(HTTPStatus.FORBIDDEN, "call this machine by its address, or as localhost")
        url = urlsplit(self.path)
        for wanted, pattern, answer in ROUTES:
            if method == wanted and (found := re.fullmatch(pattern, url.path)):
                numbers = [int(group) for group in found.groups()]
                entry = self.letters.get(numbers[0]) if numbers else None
                if numbers and entry is None:
                    return self.fail(HTTPStatus.NOT_FOUND, "no such message")
                return answer(self, entry, numbers[1:] or parse_qs(url.query))
        self.fail(HTTPStatus.NOT_FOUND, "nothing here")

    def say(self, body: bytes, kind: str, policy: str = "default-src 'none'; sandbox", **headers: str) -> None:
        """Send an answer."""
        self.send_response(HTTPStatus.OK)
        self.finish_answer(body, kind, policy, headers)

    def fail(self, status: HTTPStatus, text: str) -> None:
        """Send an error."""
        self.send_response(status)
        self.finish_answer(f"{text}\n".encode(), "text/plain; charset=utf-8", "default-src 'none'; sandbox", {})

    def finish_answer(self, body: bytes, kind: str, policy: str, headers: dict[str, str]) -> None:
        """Header and body of an answer."""
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": policy,
                            "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
                            "Cache-Control": "no-store", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def json(self, value: object) -> None:
        """Send JSON."""
        self.say(json.dumps(value, ensure_ascii=False, indent=1).encode(), "application/json; charset=utf-8")

    def log_message(self, format: str, *args: object) -> None:
        """A line for each request, where somebody listens."""
        log.debug("%s " + format, self.client_address[0], *args)


Details = list[int] | dict[str, list[str]]
Answer = Callable[[Handler, Entry | None, Details], None]


def send_file(name: str, kind: str, policy: str = "default-src 'none'") -> Answer:
    """An answer that is a file beside this module."""
    return lambda handler, entry, details: handler.say((files(__package__) / name).read_bytes(), kind, policy)


def send_list(handler: Handler, entry: Entry | None, details: Details) -> None:
    """The messages, the oldest first; `?after=7`: those with a higher number; `?to=`, `?subject=`: that contain it."""
    query = details if isinstance(details, dict) else {}
    after = query.get("after", ["0"])[0]
    found = [one.summary() for one in handler.letters.all(int(after) if after.isdecimal() else 0)]
    for name in ("from", "to", "subject"):
        for wanted in query.get(name, []):
            found = [one for one in found if wanted.lower() in str(one[name]).lower()]
    handler.json({"messages": found})


def send_details(handler: Handler, entry: Entry | None, details: Details) -> None:
    """One message."""
    assert entry is not None
    handler.json(entry.details())


def send_source(handler: Handler, entry: Entry | None, details: Details) -> None:
    """The octets of a message, as text."""
    assert entry is not None
    handler.say(entry.mail.data, "text/plain; charset=utf-8")


def send_html(handler: Handler, entry: Entry | None, details: Details) -> None:
    """The HTML part of a message, for the frame of the page."""
    assert entry is not None
    handler.say(inert_html(entry).encode("utf-8", "replace"), "text/html; charset=utf-8", MAIL_POLICY)


def send_part(handler: Handler, entry: Entry | None, details: Details) -> None:
    """The octets of one part, to be saved, whatever it says that it is."""
    assert entry is not None and isinstance(details, list)
    if details[0] >= len(entry.parts):
        return handler.fail(HTTPStatus.NOT_FOUND, "no such part")
    handler.say(entry.parts[details[0]].decoded, "application/octet-stream",
                **{"Content-Disposition": f'attachment; filename="part-{entry.number}-{details[0]}"'})


def forget(handler: Handler, entry: Entry | None, details: Details) -> None:
    """Forget a message, or all."""
    handler.letters.remove(entry.number if entry else None)
    handler.json({})


ROUTES: list[tuple[str, str, Answer]] = [
    ("GET", "/", send_file("page.html", "text/html; charset=utf-8", PAGE_POLICY)),
    ("GET", "/page.js", send_file("page.js", "text/javascript; charset=utf-8")),
    ("GET", "/api/messages", send_list),
    ("GET", r"/api/messages/(\d{1,15})", send_details),
    ("GET", r"/api/messages/(\d{1,15})/source", send_source),
    ("GET", r"/api/messages/(\d{1,15})/html", send_html),
    ("GET", r"/api/messages/(\d{1,15})/parts/(\d{1,5})", send_part),
    ("DELETE", "/api/messages", forget),
    ("DELETE", r"/api/messages/(\d{1,15})", forget),
]


class WebServer(ThreadingHTTPServer):
    """A thread for each of at most `CALLERS` callers; the others are hung up on."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], letters: Letters) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._places = threading.Semaphore(CALLERS)
        super().__init__(address, type("LettersHandler", (Handler,), {"letters": letters}))

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Somebody hung up, for instance."""
        log.debug("a request failed", exc_info=True)
