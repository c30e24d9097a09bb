"""The journey of a letter: six stations, six frames, and who is responsible at each moment."""
from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from textwrap import fill, wrap
from typing import Any

from smtp_from_scratch.lab.figures.faces import Face, card, table
from smtp_from_scratch.lab.figures.style import CLIENT, FAINT, INK, PAPER, SERVER, TLS, TROUBLE, WAITING
from smtp_from_scratch.lab.figures.svg import Drawing
from smtp_from_scratch.lab.figures.widget import Interactive, button, column, pane, row

WIDE, HIGH = 422.0, 230.0                      # px: one frame
HEAD, ROW, LANE, SOFT = 84.0, 86.0, 141.0, "#5a5a5a"   # px: the figure of all frames, a row for each


@dataclass(frozen=True, slots=True)
class Station:
    """A host or a program on the way: its short name in two lines, what it is, where it runs."""

    name: str
    more: str
    what: str
    where: str

    @property
    def short(self) -> str:
        return f"{self.name} {self.more}" if self.more == "MUA" else self.name


@dataclass(frozen=True, slots=True)
class Frame:
    """One moment: the letter moves from one station to another (numbers), and what has become of it."""

    title: str
    start: int
    end: int
    how: str
    says: str
    holder: str
    if_stopped: str
    received: int = 0                          # Received lines on the letter
    stamp: bool = False                        # a 250 was given
    brief: str = ""                            # the frame in one sentence
    tls: bool = False


STATIONS = (
    Station("Ana's", "MUA", "Ana's laptop", "laptop.rio.example"),
    Station("MSA", "587/465", "submission", "submit.rio.example"),
    Station("MTA", "queue", "relay", "relay.rio.example"),
    Station("MX", "port 25", "mail exchanger", "mx.tokyo.example"),
    Station("mailbox", "files", "Kenji's mailbox", "store.tokyo.example"),
    Station("Kenji's", "MUA", "Kenji's phone", "phone.tokyo.example"),
)
FRAMES = (
    Frame("Ana writes", 0, 0, "header and text",
          "Ana's mail program makes a header and a text, and an envelope: from ana@rio.example, "
          "to kenji@tokyo.example.",
          "Ana's MUA", "The letter stays in Ana's outbox, and she sees it there.",
          brief="Ana writes a letter."),
    Frame("Submission", 0, 1, "SMTP, port 587 or 465",
          "The MSA asks who she is (AUTH), under TLS, repairs what is missing, and takes the letter in.",
          "the MSA", "Ana's program gets no 250, keeps the letter in the outbox, and tries again.", 1, True,
          "Her mail program submits it, with a password.", tls=True),
    Frame("Which server is next?", 1, 2, "queue, then DNS: MX?",
          "The MTA puts the letter on disk and asks the DNS: who takes mail for tokyo.example? "
          "MX 10 mx.tokyo.example.",
          "the MTA", "The MSA has said 250: it keeps the letter in its queue until the MTA is back.", 2, True,
          "Rio queues it, and asks the DNS: which machine takes mail for tokyo.example?"),
    Frame("Relay", 2, 3, "SMTP, port 25",
          "The MTA calls the MX, with no password: MAIL, RCPT, DATA. The 250 after the dot hands the letter over.",
          "the MX", "The MTA keeps the letter and tries for days; in the end it sends Ana a bounce.", 3, True,
          "Rio hands it to that machine, the MX, and may forget it."),
    Frame("Delivery", 3, 4, "LMTP, or a file",
          "The last server writes Return-Path on top, from the envelope, and puts the letter into the mailbox. "
          "The envelope is used up.",
          "the mailbox's host", "The MX has said 250: the letter waits in its queue until the disk is back.", 3, True,
          "Tokyo puts it into the mailbox. Here SMTP ends."),
    Frame("Kenji reads", 4, 5, "IMAP 993 or POP3 995",
          "Kenji's program fetches the letter. SMTP had no part in this: SMTP pushes, IMAP and POP3 pull.",
          "Kenji", "The letter stays in the mailbox until he looks.", 3,
          brief="Kenji's phone calls, and fetches it.", tls=True),
)


class Journey(Interactive):
    """Six frames as a figure; `Journey().step()` shows one at a time, with Next and Back."""

    def text(self) -> str:
        road = " → ".join(station.short for station in STATIONS)
        return "\n".join([road, *(told(number) for number in range(1, len(FRAMES) + 1))])

    def svg(self) -> str:
        pen, height = Drawing(), HEAD + ROW * len(FRAMES) + 10
        stations(pen, height)
        for number in range(len(FRAMES)):
            timetable_row(pen, number, HEAD + ROW * number)
        return pen.render(860, height, "The journey of a letter in six frames", self.text())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return Face._repr_mimebundle_(self)

    def step(self) -> Stepper:
        """The same, a frame at a time."""
        return Stepper()


class Stepper(Journey):
    """One frame at a time; `Stop` asks who holds the promise when the next server does not answer."""

    def __init__(self) -> None:
        self.at = 0
        self.stopped = False

    def svg(self) -> str:
        return ""                              # the figure stands above it; without buttons a table says what they show

    def html(self) -> str:
        return table(("", "if the next machine is off", "who keeps the letter"), (
            (frame.title, STATIONS[frame.end].short, escape(frame.if_stopped)) for frame in FRAMES[1:]))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return Interactive._repr_mimebundle_(self)

    def go(self, by: int) -> None:
        """So many frames on, or back."""
        self.at = max(0, min(len(FRAMES) - 1, self.at + by))
        self.stopped = False
        self._show()

    def stop_next(self) -> None:
        """Stop the server that the letter goes to in this frame, or start it again."""
        self.stopped = not self.stopped
        self._show()

    def build(self) -> Any:
        self._pane = pane()
        self._back = button("Back", lambda: self.go(-1), "one frame back")
        self._next = button("Next", lambda: self.go(1), "one frame on")
        self._next.button_style = "primary"
        self._stop = button("", self.stop_next, "stop the receiving end, or start it again", "190px")
        self._show()
        return column(row(self._back, self._next, self._stop), self._pane)

    def _show(self) -> None:
        if not hasattr(self, "_pane"):
            return
        frame = FRAMES[self.at]
        self._back.disabled, self._next.disabled = self.at == 0, self.at == len(FRAMES) - 1
        self._stop.description = f"{'Start' if self.stopped else 'Stop'}: {STATIONS[frame.end].short}"
        pen = Drawing()
        draw(pen, self.at, 6, 6, self.stopped)
        picture = pen.render(WIDE + 12, HIGH + 12, frame.title, told(self.at + 1))
        trouble = f"<p><b>Down: {STATIONS[frame.end].short}.</b> {escape(frame.if_stopped)}</p>" * self.stopped
        text = f'<div style="flex:1 1 300px">{trouble}{papers(self.at, self.stopped)}</div>'
        self._pane.value = card(f'<div style="display:flex;flex-wrap:wrap;gap:20px"><div>{picture}</div>{text}</div>')


def told(number: int) -> str:
    """A frame in words."""
    frame = FRAMES[number - 1]
    way = STATIONS[frame.start].short + (f" → {STATIONS[frame.end].short}" if frame.end != frame.start else "")
    stamp = " Handed over with 250." if frame.stamp else ""
    words = (f"{number}. {frame.title} ({way}; {frame.how}). {frame.says}{stamp} "
             f"Responsible: {frame.holder}. Received lines: {frame.received}.")
    return fill(words, 100, subsequent_indent="   ")


def papers(number: int, stopped: bool = False) -> str:
    """Envelope and header at this moment, in HTML."""
    frame = FRAMES[number - 1 if stopped and number else number]
    hops = list(zip(STATIONS, STATIONS[1:], strict=False))[: frame.received]
    received = "".join(f"Received: from {a.where}\n          by {b.where}\n" for a, b in reversed(hops))
    used_up = frame.end >= 4
    envelope = "(used up)" if used_up else "MAIL FROM:<ana@rio.example>\nRCPT TO:<kenji@tokyo.example>"
    path = "Return-Path: <ana@rio.example>\n" * used_up
    header = (f"{path}{received}From: Ana <ana@rio.example>\nTo: Kenji <kenji@tokyo.example>\n"
              "Subject: The mangoes are ripe\n\nCome before the children find out.")
    return (f"<b>Envelope</b><pre style='color:{INK};background:none'>{escape(envelope)}</pre>"
            f"<b>Letter</b><pre style='color:{INK};background:none'>{escape(header)}</pre>")


def lane(station: int) -> float:
    """Where a station's lane is in the figure of all frames."""
    return 78 + LANE * station


def stations(pen: Drawing, height: float) -> None:
    """Two towns, six stations, a lane for each."""
    for town, first, tint in (("RIO", 0, "#eef5fa"), ("TOKYO", 3, "#fcf2ec")):
        pen.box(lane(first) - 69, 6, 2 * LANE + 138, height - 12, fill=tint, stroke="none", radius=10)
        pen.text(lane(first + 1), 25, town, anchor="middle", color=SOFT)
    for number, station in enumerate(STATIONS):
        role = station.more if station.more == "MUA" else station.name
        pen.text(lane(number), 49, station.what, anchor="middle", size=13.5, bold=True)
        pen.text(lane(number), 66, "" if role == "mailbox" else role, anchor="middle", color=SOFT)


def timetable_row(pen: Drawing, number: int, top: float) -> None:
    """What happens, above; the letter, where it was and where it is, below."""
    frame, y = FRAMES[number], top + 51
    start, end, pulled = lane(frame.start), lane(frame.end), frame.end == len(STATIONS) - 1
    if number:
        pen.line((9, top), (851, top), stroke=PAPER, line=3)
    for station in range(len(STATIONS)):
        pen.line((lane(station), top + 31), (lane(station), top + ROW - 6), stroke="#cfcfcf", line=1)
    pen.text(24, top + 22, f"{number + 1}", size=14, bold=True, color=SERVER)
    pen.text(42, top + 22, frame.brief, size=14, bold=True)
    if frame.start != frame.end:
        letter(pen, start, y, gone=not pulled)
        call(pen, frame, *((end, start) if pulled else (start, end)), y)
    letter(pen, end, y)
    if frame.stamp:
        postmark(pen, end + 18, y + 12)
    if frame.stamp and frame.end < 4:
        sender, taker = STATIONS[frame.start].where, STATIONS[frame.end].where
        pen.text(end + 44, y - 4, f"+ Received: from {sender}", mono=True, color=SOFT)
        pen.text(end + 44, y + 11, f"            by {taker}", mono=True, color=SOFT)
    elif frame.stamp:
        pen.text(start - 30, y + 4, "+ Return-Path: <ana@rio.example>", anchor="end", mono=True, color=SOFT)


def call(pen: Drawing, frame: Frame, caller: float, called: float, y: float) -> None:
    """Who calls whom: the protocol above the arrow, the port or the like below it."""
    way = 1 if called > caller else -1
    above, below = re.split(", port |, then |, | or ", frame.how, maxsplit=1)
    pen.arrow((caller + 20 * way, y), (called - 21 * way, y), CLIENT)
    middle = (caller + called) / 2
    pen.text(middle, y - 7, above, anchor="middle", color=CLIENT, bold=True)
    pen.text(middle, y + 16, below, anchor="middle", color=CLIENT)
    if frame.tls:
        pen.text(middle, y + 29, "encrypted", anchor="middle", color=TLS)


def postmark(pen: Drawing, x: float, y: float) -> None:
    """The stamp of a handover: 250."""
    for radius, line in ((14.5, 1.8), (11.5, 0.7)):
        pen.box(x - radius, y - radius, 2 * radius, 2 * radius, fill=PAPER, stroke=SERVER, line=line, radius=radius)
    pen.text(x, y + 4, "250", anchor="middle", bold=True, color=SERVER)


def draw(pen: Drawing, number: int, x: float, y: float, stopped: bool = False) -> None:
    """One frame at (x, y)."""
    frame = FRAMES[number]
    pen.box(x, y, WIDE, HIGH, stroke="#cccccc", radius=8)
    pen.text(x + 12, y + 22, f"{number + 1}. {frame.title}", size=14, bold=True)
    pen.text(x + WIDE - 12, y + 22, frame.how, anchor="end", color="#555555")
    places = [x + 40 + index * (WIDE - 80) / (len(STATIONS) - 1) for index in range(len(STATIONS))]
    line = y + 92
    pen.line((places[0], line), (places[-1], line), stroke=FAINT, line=3)
    for index, (station, place) in enumerate(zip(STATIONS, places, strict=True)):
        active = index in (frame.start, frame.end)
        down = stopped and index == frame.end
        color = TROUBLE if down else WAITING if not active else CLIENT if index == frame.start else SERVER
        pen.box(place - 31, line - 19, 62, 38, fill=PAPER, stroke=color, line=2.4 if active else 1.2, radius=8,
                dash="4 3" if down else "")
        pen.text(place, line - 3, "down" if down else station.name, anchor="middle", bold=active)
        pen.text(place, line + 12, station.name if down else station.more, anchor="middle", bold=active)
    moved(pen, frame, places, line, stopped)
    for index, text in enumerate(wrap(frame.if_stopped if stopped else frame.says, 62)[:3]):
        pen.text(x + 12, y + 150 + index * 17, text)
    holder = FRAMES[number - 1].holder if stopped and number else frame.holder
    pen.text(x + 12, y + HIGH - 30, f"responsible: {holder}", bold=True, color=INK)
    received = FRAMES[number - 1].received if stopped and number else frame.received
    pen.text(x + 12, y + HIGH - 12, f"Received lines: {received or 'none yet'}", color="#555555")
    for index in range(received):
        pen.box(x + WIDE - 48, y + HIGH - 18 - index * 9, 36, 6, fill=CLIENT, stroke="none", radius=1)


def moved(pen: Drawing, frame: Frame, places: list[float], line: float, stopped: bool) -> None:
    """The letter on its way, and the 250 that comes back."""
    start, end = places[frame.start], places[frame.end]
    if frame.start == frame.end:
        letter(pen, start, line - 38)
    elif stopped:
        letter(pen, start, line - 38)
        pen.text(end, line - 28, "✗", anchor="middle", size=16, color=TROUBLE, bold=True)
    else:
        pen.arrow((start, line - 28), (end, line - 28), CLIENT)
        letter(pen, (start + end) / 2, line - 42)
    if frame.stamp and not stopped:
        pen.arrow((end, line + 29), (start, line + 29), TLS)
        pen.box((start + end) / 2 - 16, line + 21, 32, 17, fill=PAPER, stroke=TLS, line=1.5, radius=3)
        pen.text((start + end) / 2, line + 34, "250", anchor="middle", bold=True)


def letter(pen: Drawing, x: float, y: float, gone: bool = False) -> None:
    """An envelope, its middle at (x, y); a dashed outline where it was."""
    color, paper, dash = ("#b4b4b4", PAPER, "3 2") if gone else (INK, "#fff8dc", "")
    pen.box(x - 15, y - 10.5, 30, 21, fill=paper, stroke=color, line=1.3, radius=2.5, dash=dash)
    pen.path(f"M{x - 15:.1f} {y - 9.5:.1f}L{x:.1f} {y + 2:.1f}L{x + 15:.1f} {y - 9.5:.1f}", stroke=color, line=1.2,
             dash=dash)
