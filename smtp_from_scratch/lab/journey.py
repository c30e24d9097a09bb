"""The journey of a letter: six stations, six frames; at each handover a 250 that says whose promise it is now."""
from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from smtp_from_scratch.lab.faces import Face, card
from smtp_from_scratch.lab.style import CLIENT, INK, MONO, PAPER, SERVER, TLS, WAITING
from smtp_from_scratch.lab.svg import Drawing


@dataclass(frozen=True, slots=True)
class Station:
    """A program that the letter meets: in plain words, in the RFCs' word, and where it runs."""

    what: str
    role: str
    town: str


@dataclass(frozen=True, slots=True)
class Frame:
    """One step: `caller` talks to `holder` (numbers of stations), which has the letter afterwards."""

    title: str
    caller: int
    holder: int
    promise: str
    if_stopped: str
    talk: str = ""             # the protocol, and the port behind which it is spoken
    door: str = ""
    tls: bool = False
    stamped: bool = False      # 250 was said
    adds: str = ""             # the line that now stands on top of the letter


STATIONS = (
    Station("Ana's laptop", "MUA", "Rio"),
    Station("submission", "MSA", "Rio"),
    Station("relay", "MTA", "Rio"),
    Station("mail exchanger", "MX", "Tokyo"),
    Station("Kenji's mailbox", "MDA", "Tokyo"),
    Station("Kenji's phone", "MUA", "Tokyo"),
)
ENVELOPE = ("MAIL FROM:<ana@rio.example>", "RCPT TO:<kenji@tokyo.example>")
NO_ENVELOPE = ("not yet: MAIL and RCPT will say it", "gone: Return-Path keeps its sender")
HEADER = ("From: Ana <ana@rio.example>", "To: Kenji <kenji@tokyo.example>", "Subject: The mangoes are ripe")
FRAMES = (
    Frame("Ana writes a letter.", 0, 0, "Ana's own",
          "The letter waits on the laptop, and nobody else has heard of it."),
    Frame("Her mail program submits it, with a password.", 0, 1, "Rio's",
          "Rio said 250, so the letter is on Rio's disk. The laptop may stay off.",
          "SMTP", "465 or 587", True, True, "Received: from laptop.rio.example by submit.rio.example"),
    Frame("Rio asks the DNS: which machine takes mail for tokyo.example?", 1, 2, "Rio's",
          "The letter is in Rio's queue. Rio tries again when it is back.", "queue"),
    Frame("Rio hands it to that machine, the MX, and may forget it.", 2, 3, "Tokyo's",
          "Tokyo said 250, and Rio has forgotten the letter. Tokyo alone can lose it, and may not.",
          "SMTP", "25", False, True, "Received: from relay.rio.example by mx.tokyo.example"),
    Frame("Tokyo puts it into the mailbox. Here SMTP ends.", 3, 4, "Tokyo's",
          "The letter is a file in Tokyo. Kenji reads it when Tokyo is back.",
          "file", adds="Return-Path: <ana@rio.example>"),
    Frame("Kenji's phone asks: anything new?", 5, 4, "Tokyo's",
          "By IMAP the letter stayed in the mailbox. By POP3 the phone may hold the only copy.",
          "IMAP or POP3", "993 or 995", True),
)
WIDTH, LEFT, LANE, HEAD, ROW = 860.0, 78.0, 141.0, 84.0, 86.0
TINTS = {"Rio": "#eef5fa", "Tokyo": "#fcf2ec"}
LANE_LINE, GONE, SOFT = "#cfcfcf", "#b4b4b4", "#5a5a5a"


class Journey(Face):
    """All frames below each other; `step()` shows them one at a time, with buttons."""

    def text(self) -> str:
        return "\n\n".join([road(), *(frame_text(number) for number in range(len(FRAMES)))])

    def svg(self) -> str:
        return picture(range(len(FRAMES)))

    def step(self) -> Any:
        """A widget: one frame, the letter as it looks now, and who holds it if everything stops."""
        return stepper()


def letter_at(number: int) -> list[str]:
    """The lines of the letter's header at this frame, the newest on top."""
    return [frame.adds for frame in FRAMES[number::-1] if frame.adds] + list(HEADER)


def road() -> str:
    """The stations in a row."""
    names = [f"{station.what} ({station.role})" for station in STATIONS]
    return " → ".join(names[:-1]) + " ← " + names[-1]


def frame_text(number: int) -> str:
    """One frame in words."""
    frame = FRAMES[number]
    rows = [f"{number + 1}  {frame.title}"]
    if frame.caller != frame.holder:
        door = f", port {frame.door}" if frame.door else ""
        rows.append(f"   {STATIONS[frame.caller].what} → {STATIONS[frame.holder].what}: {frame.talk}{door}"
                    + (", encrypted" if frame.tls else "") + (", and the answer is 250" if frame.stamped else ""))
    if frame.adds:
        rows.append(f"   on top now: {frame.adds}")
    rows.append(f"   whose promise: {frame.promise}")
    return "\n".join(rows)


def picture(numbers: range) -> str:
    """These frames below each other, the stations above them."""
    pen, height = Drawing(), HEAD + ROW * len(numbers) + 10
    stations(pen, height)
    for place, number in enumerate(numbers):
        if place:
            pen.line((9, HEAD + ROW * place), (WIDTH - 9, HEAD + ROW * place), stroke=PAPER, line=3)
        draw_frame(pen, number, HEAD + ROW * place)
    words = " ".join(f"{number + 1}: {FRAMES[number].title}" for number in numbers)
    return pen.render(WIDTH, height, "The journey of a letter from Rio to Tokyo", words)


def lane(station: int) -> float:
    return LEFT + LANE * station


def stations(pen: Drawing, height: float) -> None:
    """Two towns, six stations."""
    for town, first in (("Rio", 0), ("Tokyo", 3)):
        pen.box(lane(first) - 69, 6, 2 * LANE + 138, height - 12, fill=TINTS[town], stroke="none", radius=10)
        pen.text(lane(first + 1), 25, town.upper(), anchor="middle", size=11, color=SOFT)
    for number, station in enumerate(STATIONS):
        pen.text(lane(number), 49, station.what, anchor="middle", size=13.5, bold=True)
        pen.text(lane(number), 66, station.role, anchor="middle", size=12, color=SOFT)


def draw_frame(pen: Drawing, number: int, top: float) -> None:
    """What happens, above; the letter, where it was and where it is, below."""
    frame, y = FRAMES[number], top + 50
    caller, holder = lane(frame.caller), lane(frame.holder)
    for station in range(len(STATIONS)):
        pen.line((lane(station), top + 31), (lane(station), top + ROW - 6), stroke=LANE_LINE, line=1)
    pen.text(24, top + 22, f"{number + 1}", size=14, bold=True, color=SERVER)
    pen.text(42, top + 22, frame.title, size=14, bold=True)
    if frame.caller != frame.holder:
        draw_talk(pen, frame, caller, holder, y)
        envelope(pen, caller, y, gone=frame.caller < frame.holder)
    envelope(pen, holder, y)
    if frame.stamped:
        stamp(pen, holder + 19, y + 12)
    if frame.adds:
        draw_addition(pen, frame, y + 4)


def draw_talk(pen: Drawing, frame: Frame, caller: float, holder: float, y: float) -> None:
    """The call: protocol above its arrow, port below."""
    way = 1 if holder > caller else -1
    pen.arrow((caller + 22 * way, y), (holder - 23 * way, y), CLIENT, dash="" if frame.door else "3 4")
    middle = (caller + holder) / 2
    pen.text(middle, y - 7, frame.talk, anchor="middle", size=12, color=CLIENT, bold=True)
    if frame.door:
        pen.text(middle, y + 16, frame.door, anchor="middle", size=12, color=CLIENT)
    if frame.tls:
        pen.text(middle, y + 29, "encrypted", anchor="middle", size=11, color=TLS)


def draw_addition(pen: Drawing, frame: Frame, y: float) -> None:
    """The line that now stands on top of the letter, beside it, where there is room."""
    if frame.holder > 3:
        pen.text(lane(frame.caller) - 30, y, f"+ {frame.adds}", anchor="end", size=11, mono=True, color=SOFT)
        return
    start, by, host = frame.adds.partition(" by ")
    pen.text(lane(frame.holder) + 44, y - 8, f"+ {start}", size=11, mono=True, color=SOFT)
    pen.text(lane(frame.holder) + 44, y + 7, f"          {by}{host}", size=11, mono=True, color=SOFT)


def envelope(pen: Drawing, x: float, y: float, gone: bool = False) -> None:
    """The letter; a dashed outline where it was."""
    stroke, dash = (GONE, "3 2") if gone else (INK, "")
    pen.box(x - 17, y - 12, 34, 24, fill=PAPER if gone else "#fff4d6", stroke=stroke, line=1.5, radius=3, dash=dash)
    pen.path(f"M{x - 16} {y - 11}L{x} {y + 2}L{x + 16} {y - 11}", stroke=stroke, line=1.3, dash=dash)


def stamp(pen: Drawing, x: float, y: float) -> None:
    """The postmark of a handover: 250."""
    for radius, line in ((15, 1.8), (12, 0.7)):
        pen.box(x - radius, y - radius, 2 * radius, 2 * radius, fill=PAPER, stroke=SERVER, line=line, radius=radius)
    pen.text(x, y + 4, "250", anchor="middle", size=11, bold=True, color=SERVER)


def frame_html(number: int) -> str:
    """One frame: its picture, and the letter as it looks now."""
    frame = FRAMES[number]
    lines = "".join(f'<div style="{"font-weight:bold" if line == frame.adds else ""}">{escape(line)}</div>'
                    for line in letter_at(number))
    column = "flex:1 1 250px;border-left:4px solid {};padding-left:10px"
    mono = f"font-family:{MONO};font-size:12px"
    said = f'<div style="{mono}">{"<br>".join(map(escape, ENVELOPE))}</div>'
    parts = [
        (WAITING, "Envelope", said if 0 < number < 4 else f"<div>{NO_ENVELOPE[number > 0]}</div>"),
        (INK, "Header", f'<div style="{mono}">{lines}</div>'),
        (SERVER, f"Whose promise: {frame.promise}",
         f"<div><b>If everything stops now:</b> {escape(frame.if_stopped)}</div>"),
    ]
    columns = "".join(f'<div style="{column.format(color)}"><b>{escape(name)}</b>{text}</div>'
                      for color, name, text in parts)
    return card(picture(range(number, number + 1))
                + f'<div style="display:flex;flex-wrap:wrap;gap:14px;margin-top:8px">{columns}</div>')


def stepper() -> Any:
    """The widget; ipywidgets is imported here, since the rest of the lab does without."""
    import ipywidgets as w

    class Steps(w.VBox):
        """A frame at a time; without a kernel it is the text of the whole journey."""

        def __init__(self) -> None:
            self.number, self.view, self.count = 0, w.HTML(), w.Label()
            self.back, self.next = w.Button(description="Back"), w.Button(description="Next")
            self.back.on_click(lambda _: self.show(self.number - 1))
            self.next.on_click(lambda _: self.show(self.number + 1))
            super().__init__([w.HBox([self.back, self.next, self.count]), self.view])
            self.show(0)

        def show(self, number: int) -> None:
            """Go to a frame."""
            self.number = max(0, min(number, len(FRAMES) - 1))
            self.view.value, self.count.value = frame_html(self.number), f"{self.number + 1} of {len(FRAMES)}"
            self.back.disabled, self.next.disabled = self.number == 0, self.number == len(FRAMES) - 1

        def __repr__(self) -> str:
            return Journey().text()

    return Steps()
