"""The inbox over HTTP: one page, JSON, and messages that can do no harm (sandboxed, nothing fetched from elsewhere)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from http import HTTPStatus
from importlib.resources import files

from smtp_from_scratch.inbox.letters import Entry, Letters
from smtp_from_scratch.web import Request, Route, WebError

PAGE_POLICY = ("default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; "
               "frame-src 'self'; frame-ancestors 'none'")     # in no frame of a stranger, who would lead a click
# A stranger's HTML: no script, no form, no frame of its own, nothing from any server; `sandbox` gives it no origin.
MAIL_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
NO_IMAGE = "data:,"
MAX_INLINED = 20_000_000                       # octets of images that are put into one HTML part
# What opens a connection, or looks a name up, before a policy is asked: a browser does so for `preconnect` and frames.
_CALLING = re.compile(r"<(?=(?:link|i?frame|object|embed|base|meta)\b)", re.IGNORECASE)
_INLINE = re.compile(r"""(\bsrc\s*=\s*["']?)cid:([^"'>\s]+)""", re.IGNORECASE)


def inert_html(entry: Entry) -> str:
    """The HTML part; images that came with the message are in it, up to a bound, and all else stays away."""
    images = {part.content_id: part for part in entry.parts if re.fullmatch(r"image/[a-z0-9.+-]+", part.kind)}
    urls: dict[str, str] = {}
    left = MAX_INLINED

    def place(found: re.Match[str]) -> str:
        nonlocal left
        name = found[2]
        if name in images and name not in urls:
            urls[name] = f"data:{images[name].kind};base64,{base64.b64encode(images[name].decoded).decode()}"
        url = urls.get(name, NO_IMAGE)
        if len(url) > left:
            return found[1] + NO_IMAGE
        left -= len(url)
        return found[1] + url

    return _INLINE.sub(place, _CALLING.sub("<x-", entry.text_of("text/html")))


def send_file(package: str, name: str, kind: str, policy: str = "default-src 'none'") -> Callable[[Request], None]:
    """An answer that is a file of a package."""
    return lambda request: request.handler.say((files(package) / name).read_bytes(), kind, policy)


def routes(letters: Letters) -> list[Route]:
    """Who answers what."""
    def entry_of(request: Request) -> Entry:
        entry = letters.get(request.numbers[0])
        if entry is None:
            raise WebError(HTTPStatus.NOT_FOUND, "no such message")
        return entry

    def send_part(request: Request) -> None:
        entry, number = entry_of(request), request.numbers[1]
        if number >= len(entry.parts):
            raise WebError(HTTPStatus.NOT_FOUND, "no such part")
        request.handler.say(entry.parts[number].decoded, "application/octet-stream",     # saved, whatever it says it is
                            **{"Content-Disposition": f'attachment; filename="part-{entry.number}-{number}"'})

    def forget(request: Request) -> None:
        letters.remove(entry_of(request).number if request.numbers else None)
        request.handler.json({})

    message = r"/api/messages/(\d{1,15})"
    return [
        ("GET", "/", send_file(__package__, "page.html", "text/html; charset=utf-8", PAGE_POLICY)),
        ("GET", "/page.js", send_file(__package__, "page.js", "text/javascript; charset=utf-8")),
        ("GET", "/api/messages", lambda request: request.handler.json(
            {"run": letters.run, "messages": listed(letters, request.query)})),
        ("GET", message, lambda request: request.handler.json(entry_of(request).details())),
        ("GET", f"{message}/source", lambda request: request.handler.say(
            entry_of(request).mail.data, "text/plain; charset=utf-8")),
        ("GET", f"{message}/html", lambda request: request.handler.say(
            inert_html(entry_of(request)).encode("utf-8", "replace"), "text/html; charset=utf-8", MAIL_POLICY)),
        ("GET", message + r"/parts/(\d{1,5})", send_part),
        ("DELETE", "/api/messages", forget),
        ("DELETE", message, forget),
    ]


def listed(letters: Letters, query: dict[str, list[str]]) -> list[dict[str, object]]:
    """The messages, the oldest first; `after=7`: those with a higher number; `to=`, `from=`, `subject=`: with it."""
    after = query.get("after", ["0"])[0]
    found = [one.summary() for one in letters.all(int(after) if re.fullmatch("[0-9]{1,15}", after) else 0)]
    for name in ("from", "to", "subject"):
        for wanted in query.get(name, []):
            found = [one for one in found if wanted.lower() in str(one[name]).lower()]
    return found
