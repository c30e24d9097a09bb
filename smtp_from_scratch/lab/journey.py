"""The journey of a letter: six stations, six frames, and who is responsible at each moment."""
from __future__ import annotations

from dataclasses import dataclass
from html import escape
from textwrap import fill, wrap
from typing import Any

from smtp_from_scratch.lab.faces import card
from smtp_from_scratch.lab.style import CLIENT, FAINT, INK, PAPER, SERVER, TLS, TROUBLE, WAITING
from smtp_from_scratch.lab.svg import Drawing
from smtp_from_scratch.lab.widget import Interactive, button, column, pane, row

WIDE, HIGH = 422.0, 230.0                      # px: one frame


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


STATIONS = (
    Station("Ana's", "MUA", "Ana's mail program", "laptop.harbor.example"),
    Station("MSA", "587/465", "submission server", "submit.harbor.example"),
    Station("MTA", "queue", "transfer server", "out.harbor.example"),
    Station("MX", "port 25", "Kenji's domain takes mail in", "mx.lighthouse.example"),
    Station("mailbox", "files", "Kenji's letters on disk", "store.lighthouse.example"),
    Station("Kenji's", "MUA", "Kenji's mail program", "phone.lighthouse.example"),
)
FRAMES = (
    Frame("Ana writes", 0, 0, "header and text",
          "Ana's mail program makes a header and a text, and an envelope: from ana@harbor.example, "
          "to kenji@lighthouse.example.",
          "Ana's MUA", "The letter stays in Ana's outbox, and she sees it there."),
    Frame("Submission", 0, 1, "SMTP, port 587 or 465",
          "The MSA asks who she is (AUTH), under TLS, repairs what is missing, and takes the letter in.",
          "the MSA", "Ana's program gets no 250, keeps the letter in the outbox, and tries again.", 1, True),
    Frame("Which server is next?", 1, 2, "queue, then DNS: MX?",
          "The MTA puts the letter on disk and asks the DNS: who takes mail for lighthouse.example? "
          "MX 10 mx.lighthouse.example.",
          "the MTA", "The MSA has said 250: it keeps the letter in its queue until the MTA is back.", 2, True),
    Frame("Relay", 2, 3, "SMTP, port 25",
          "The MTA calls the MX, with no password: MAIL, RCPT, DATA. The 250 after the dot hands the letter over.",
          "the MX", "The MTA keeps the letter and tries for days; in the end it sends Ana a bounce.", 3, True),
    Frame("Delivery", 3, 4, "LMTP, or a file",
          "The last server writes Return-Path on top, from the envelope, and puts the letter into the mailbox. "
          "The envelope is used up.",
          "the mailbox's host", "The MX has said 250: the letter waits in its queue until the disk is back.", 3, True),
    Frame("Kenji reads", 4, 5, "IMAP 993 or POP3 995",
          "Kenji's program fetches the letter. SMTP had no part in this: SMTP pushes, IMAP and POP3 pull.",
          "Kenji", "The letter stays in the mailbox until he looks.", 3),
)


class Journey(Interactive):
    """Six frames as a figure; `Journey().step()` shows one at a time, with Next and Back."""

    def text(self) -> str:
        road = " → ".join(station.short for station in STATIONS)
        return "\n".join([road, *(told(number) for number in range(1, len(FRAMES) + 1))])

    def svg(self) -> str:
        pen = Drawing()
        for number in range(len(FRAMES)):
            draw(pen, number, 6 + (number % 2) * (WIDE + 4), 6 + (number // 2) * (HIGH + 6))
        height = 6 + (len(FRAMES) + 1) // 2 * (HIGH + 6)
        return pen.render(2 * WIDE + 16, height, "The journey of a letter in six frames", self.text())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/plain": str(self), "image/svg+xml": self.svg()}

    def step(self) -> Stepper:
        """The same, a frame at a time."""
        return Stepper()


class Stepper(Journey):
    """One frame at a time; `Stop` asks who holds the promise when the next server does not answer."""

    def __init__(self) -> None:
        self.at = 0
        self.stopped = False

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
        self._pane.value = picture + card(f"{trouble}{papers(self.at, self.stopped)}")


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
    envelope = "(used up)" if used_up else "MAIL FROM:<ana@harbor.example>\nRCPT TO:<kenji@lighthouse.example>"
    path = "Return-Path: <ana@harbor.example>\n" * used_up
    header = f"{path}{received}From: Ana <ana@harbor.example>\nTo: Kenji <kenji@lighthouse.example>\nSubject: tide"
    return (f"<b>Envelope</b><pre style='color:{INK};background:none'>{escape(envelope)}</pre>"
            f"<b>Letter</b><pre style='color:{INK};background:none'>{escape(header)}\n\nHigh water at nine.</pre>")


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
        letter(pen, start, line - 37)
    elif stopped:
        letter(pen, start, line - 37)
        pen.text(end, line - 28, "✗", anchor="middle", size=16, color=TROUBLE, bold=True)
    else:
        pen.arrow((start, line - 28), (end, line - 28), CLIENT)
        letter(pen, (start + end) / 2, line - 40)
    if frame.stamp and not stopped:
        pen.arrow((end, line + 29), (start, line + 29), TLS)
        pen.box((start + end) / 2 - 16, line + 21, 32, 17, fill=PAPER, stroke=TLS, line=1.5, radius=3)
        pen.text((start + end) / 2, line + 34, "250", anchor="middle", bold=True)


def letter(pen: Drawing, x: float, y: float) -> None:
    """An envelope, its middle at (x, y)."""
    pen.box(x - 13, y - 9, 26, 18, fill="#fff8dc", stroke=INK, line=1.2, radius=2)
    pen.path(f"M{x - 13:.1f} {y - 8:.1f}L{x:.1f} {y + 2:.1f}L{x + 13:.1f} {y - 8:.1f}", line=1.2)
