"""The room over HTTP: a page for the projector, kept up to date; letters; with the key, tasks and switches."""

from __future__ import annotations

import contextlib
import hmac
import json
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from urllib.parse import unquote

from smtp_from_scratch.classroom.state import TASKS, Learner, Room, called
from smtp_from_scratch.inbox.web import send_file
from smtp_from_scratch.web import Handler, Request, Route, WebError

PAGE_POLICY = ("default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; "
               "frame-ancestors 'none'")
BREATH = 15.0                                  # seconds between two signs of life


class Switches:
    """Which extensions the room's server offers; `apply` makes it so for the sessions that begin from now on."""

    def __init__(self, keywords: list[str], apply: Callable[[set[str]], None]) -> None:
        self.keywords, self.off, self._apply = keywords, set[str](), apply

    def turn(self, keyword: str, on: bool) -> None:
        """Switch one; raises KeyError."""
        if keyword not in self.keywords:
            raise KeyError(keyword)
        self.off = self.off - {keyword} if on else self.off | {keyword}
        self._apply(self.off)


def events(handler: Handler, room: Room, switches: Switches) -> None:
    """Server-sent events: the whole page's data whenever something has changed."""
    version = -1
    with handler.stream(), contextlib.suppress(OSError):       # OSError: the page was closed
        handler.send_response(HTTPStatus.OK)
        handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
        handler.send_header("Cache-Control", "no-store")
        handler.end_headers()
        while handler.command != "HEAD":
            if room.wait(version, BREATH):
                found = room.shown() | {"off": sorted(switches.off)}
                version = found["version"]
                handler.wfile.write(f"data: {json.dumps(found)}\n\n".encode())
            else:
                handler.wfile.write(b": still here\n\n")
            handler.wfile.flush()


def somebody(room: Room, request: Request) -> Learner:
    """Whom the path names; raises WebError."""
    with room.changed:
        learner = room.learners.get(called(unquote(request.names[0])))
    if learner is None:
        raise WebError(HTTPStatus.NOT_FOUND, "nobody of this name is in the room")
    return learner


def send_letters(room: Room, request: Request) -> None:
    """The letters to somebody."""
    learner = somebody(room, request)
    with room.changed:
        entries = list(learner.letters)
    found = [entry.summary() | {"text": entry.text_of("text/plain")} for entry in entries]
    request.handler.json({"letters": found})


def send_dialogue(room: Room, request: Request) -> None:
    """Somebody's latest session."""
    dialogue = somebody(room, request).dialogue
    request.handler.json({"dialogue": list(dialogue.rows) if dialogue else []})


def hear_progress(room: Room, request: Request) -> None:
    """Somebody tells how far they are."""
    match request.body:
        case {"name": str(name), "chapter": str(chapter), "passed": int(passed), "of": int(of)} if (
                0 <= passed <= of < 1000 and chapter.isidentifier() and len(chapter) <= 40):
            if not room.tell(name, chapter, passed, of):
                raise WebError(HTTPStatus.INSUFFICIENT_STORAGE, "the room is full")
            return request.handler.json({})
    raise WebError(HTTPStatus.BAD_REQUEST, "say name, chapter, passed and of")


def command(room: Room, switches: Switches, key: str, request: Request) -> None:
    """A task for the room, or a switch, by whoever has the key."""
    told = request.handler.headers.get("X-Key", "")
    if not hmac.compare_digest(told.encode(), key.encode()):
        raise WebError(HTTPStatus.FORBIDDEN, "this is for whoever has the key")
    try:
        match request.body:
            case {"task": str(name)}:
                room.set_task(name)
            case {"switch": str(keyword), "on": bool(on)}:
                switches.turn(keyword, on)
                with room.changed:
                    room.note_change()
            case _:
                raise WebError(HTTPStatus.BAD_REQUEST, "say a task, or a switch and whether it is on")
    except KeyError as error:
        raise WebError(HTTPStatus.BAD_REQUEST, f"there is no {error}") from None
    request.handler.json({})


def routes(room: Room, switches: Switches, key: str) -> list[Route]:
    """Who answers what; `key` is the instructor's."""
    tasks = {name: task.words for name, task in TASKS.items()}
    name = "([^/]{1,480})"                     # 40 characters, each of four octets, each written %XX
    return [
        ("GET", "/", send_file(__package__, "page.html", "text/html; charset=utf-8", PAGE_POLICY)),
        ("GET", "/page.js", send_file(__package__, "page.js", "text/javascript; charset=utf-8")),
        ("GET", "/api/room", lambda request: request.handler.json(
            room.shown() | {"off": sorted(switches.off), "keywords": switches.keywords, "tasks": tasks})),
        ("GET", "/api/events", lambda request: events(request.handler, room, switches)),
        ("GET", f"/api/letters/{name}", partial(send_letters, room)),
        ("GET", f"/api/dialogue/{name}", partial(send_dialogue, room)),
        ("POST", "/api/progress", partial(hear_progress, room)),
        ("POST", "/api/command", partial(command, room, switches, key)),
    ]
