"""The wiretap: client, eavesdropper, server, and what the one in the middle understands."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from textwrap import wrap
from typing import Any

from smtp_from_scratch.lab.figures.faces import Face
from smtp_from_scratch.lab.figures.overheard import (
    ATTACKER,
    DECODABLE,
    GUESSABLE,
    OPAQUE,
    READABLE,
    Row,
    given_away,
    overheard,
)
from smtp_from_scratch.lab.figures.style import COLORS, FAINT, INK, PAPER, TLS, TROUBLE, plural, shorten
from smtp_from_scratch.lab.figures.svg import Drawing
from smtp_from_scratch.lab.figures.widget import Interactive, column, pane
from smtp_from_scratch.lab.figures.widget import row as beside

WIDE, GAP, LINE, HEAD = 860.0, 12.0, 18.0, 62.0          # px: the figure, between panels, a row, above the rows
LANE, STUB, LETTER = 26.0, 18.0, 7.4           # px: from the edge to a lifeline, an arrow, a letter
MOST = 34                                      # rows of a panel in the picture
NAMES = {READABLE: "readable", DECODABLE: "decodable", GUESSABLE: "guessable", OPAQUE: "opaque"}
CHIPS = {READABLE: PAPER, DECODABLE: "#f3e3b3", GUESSABLE: "#d2d2d2", OPAQUE: "#a9dccb", ATTACKER: "#efd5e3"}
SOFT = "#555555"
LEGEND = "R readable · D decodable: base64 · G guessable · O opaque: TLS · ⚠ a secret, or an attacker at work"
ARROWS = {"C": "C→S", "S": "S→C"}
Switches = tuple[bool, str, bool]              # STARTTLS, mechanism, an attacker who strips


class Overheard(Face):
    """One session as an eavesdropper has it: `rows`, `counts` and what was `given_away`."""

    def __init__(self, source: Any, title: str = "") -> None:
        self.title, self.rows = title, overheard(source)

    @property
    def counts(self) -> dict[str, int]:
        """How many rows are readable, decodable, guessable, opaque."""
        return {name: sum(row.mark == mark for row in self.rows) for mark, name in NAMES.items()}

    @property
    def given_away(self) -> list[str]:
        """What the eavesdropper has learned."""
        return given_away(self.rows)

    @property
    def foot(self) -> str:
        """`Given away: the password (⚠), addresses.`"""
        words = [f"{what} (⚠)" if what == "the password" else what for what in self.given_away]
        return f"Given away: {', '.join(words) or 'nothing'}."

    def text(self) -> str:
        rows = [self.title] if self.title else []
        for row in self.rows:
            front = row.mark if row.mark == ATTACKER else f"{row.mark}  {ARROWS[row.role]}"
            size = f", {plural(row.octets, 'octet')}" if row.kind == "tls" else ""
            rows.append(f"{front}  {shorten(row.text, 72)}{size}".rstrip())
            rows += [f"        {part}" for part in meaning(row, 68)]
        return "\n".join([*rows, self.foot])

    def svg(self, width: float = 640) -> str:
        return draw([self], width)


class Panels(Face):
    """Sessions beside one another, each as an eavesdropper has it."""

    def __init__(self, panels: Mapping[str, Any]) -> None:
        self.panels = [Overheard(source, title) for title, source in panels.items()]

    def text(self) -> str:
        return "\n\n".join([*map(str, self.panels), LEGEND])

    def svg(self, width: float = WIDE) -> str:
        return draw(self.panels, width)


def wiretap(panels: Mapping[str, Any]) -> Panels:
    """Panels of raw octets that crossed a wire: `{"in the clear": link.transcript, "STARTTLS": other.transcript}`."""
    return Panels(panels)


class Wiretap(Interactive):
    """A session on a tapped wire, with switches: STARTTLS, the mechanism of AUTH, an attacker who strips.

    `play(starttls, mechanism, strip)` returns the raw octets of such a session: the transcript of `lab.tap` or of
    `lab.strip`. Without `mechanisms` nobody logs in. The static face has the `panels`, titles and their switches.
    """

    def __init__(self, play: Callable[[bool, str, bool], Any],
                 mechanisms: Sequence[str] = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"),
                 panels: Mapping[str, Switches] | None = None) -> None:
        self.play, self.mechanisms = play, tuple(mechanisms)
        first, last = (self.mechanisms or ("",))[0], (self.mechanisms or ("",))[-1]
        standard = [(False, first, False), (False, last, False), (True, first, False), (True, first, True)]
        self.panels = dict(panels) if panels else {title_of(*switches): switches for switches in standard}
        self.chosen: Switches = (False, first, False)
        self.before: Switches | None = None
        self._played: dict[Switches, Any] = {}

    def panel(self, switches: Switches, title: str = "") -> Overheard:
        """One session, played once."""
        if switches not in self._played:
            self._played[switches] = self.play(*switches)
        return Overheard(self._played[switches], title or title_of(*switches))

    @cached_property
    def static(self) -> list[Overheard]:
        """The panels of the static face."""
        return [self.panel(switches, title) for title, switches in self.panels.items()]

    def text(self) -> str:
        return "\n\n".join([*map(str, self.static), LEGEND])

    def svg(self) -> str:
        return draw(self.static)

    def choose(self, starttls: bool, mechanism: str, strip: bool) -> None:
        """Play a session with these switches, and keep the one before beside it."""
        if (starttls, mechanism, strip) != self.chosen:
            self.before, self.chosen = self.chosen, (starttls, mechanism, strip)
        shown = [self.panel(self.before)] if self.before else []
        self._pane.value = draw([*shown, self.panel(self.chosen)])

    def build(self) -> Any:
        import ipywidgets

        self._pane = pane()
        self._starttls = ipywidgets.ToggleButton(description="STARTTLS", tooltip="the client asks for TLS")
        self._strip = ipywidgets.ToggleButton(description="attacker strips", tooltip="somebody hides STARTTLS")
        self._mechanism = ipywidgets.Dropdown(options=self.mechanisms or [""], description="AUTH")
        controls = [self._starttls, self._strip, *([self._mechanism] if self.mechanisms else [])]
        for control in controls:
            control.observe(lambda _: self._show(), "value")
        self._show()
        return column(beside(*controls), self._pane)

    def _show(self) -> None:
        for toggle in (self._starttls, self._strip):
            toggle.icon = "check" if toggle.value else ""
        self.choose(self._starttls.value, self._mechanism.value or "", self._strip.value)


def title_of(starttls: bool, mechanism: str, strip: bool) -> str:
    """What a panel is called."""
    how = "STARTTLS, stripped by an attacker" if starttls and strip else "STARTTLS" if starttls else "In the clear"
    how += ", an attacker strips" if strip and not starttls else ""
    return f"{how}, AUTH {mechanism}" if mechanism else how


def meaning(row: Row, width: int) -> list[str]:
    """What a row means, in lines of so many letters, at most three; a secret says that it is one."""
    if not row.means:
        return []
    words = f"= {row.means}" + ("  ⚠ password" if row.secret else "")
    parts = [words[start : start + width] for start in range(0, len(words), width)]
    return parts if len(parts) <= 3 else [*parts[:2], shorten("".join(parts[2:]), width)]


def draw(panels: Sequence[Overheard], width: float = WIDE) -> str:
    """Panels in rows of two."""
    pen, y = Drawing(), 8.0
    room = width - 2 * GAP if len(panels) == 1 else (width - 3 * GAP) / 2
    for pair in (panels[index : index + 2] for index in range(0, len(panels), 2)):
        lanes = [Lanes(pen, panel, GAP + index * (room + GAP), y, room) for index, panel in enumerate(pair)]
        low = max((lane.low for lane in lanes), default=y)
        y = max((lane.draw(low) for lane in lanes), default=y) + 8
    pen.text(width / 2, y + 14, LEGEND, anchor="middle", color=SOFT)
    title = "A wiretap: " + "; ".join(panel.title for panel in panels)
    return pen.render(width, y + 26, title, "\n\n".join(map(str, panels)))


class Lanes:
    """One panel: the client's lifeline left, the server's right, what crosses the wire between them."""

    def __init__(self, pen: Drawing, panel: Overheard, left: float, top: float, room: float) -> None:
        self.pen, self.panel, self.left, self.top, self.room = pen, panel, left, top, room
        self.x = {"C": left + LANE, "S": left + room - LANE}
        self.middle = self.x["C"] + STUB + 4
        self.letters = int((self.x["S"] - STUB - 8 - self.middle - 22) // LETTER)
        self.rows = panel.rows[:MOST]
        self.lines = sum(1 + len(meaning(row, self.letters)) for row in self.rows) + (len(panel.rows) > MOST)
        self.low = top + HEAD + LINE * self.lines + 4

    def draw(self, low: float) -> float:
        """Draw it, lifelines down to `low`; returns where it ends."""
        pen, y = self.pen, self.top + HEAD
        pen.text(self.left + 2, self.top + 18, shorten(self.panel.title, int(self.room / 8)), bold=True, size=14)
        pen.box(self.middle - 2, y - 4, self.x["S"] - STUB - self.middle, low - y + 6, fill="#f5f5f5", stroke=FAINT)
        for who, name in (("C", "client"), ("S", "server")):
            pen.text(self.x[who], y - 10, name, anchor="middle", size=12, bold=True, color=COLORS[who])
            pen.line((self.x[who], y - 4), (self.x[who], low), stroke=COLORS[who], line=2)
        pen.text((self.x["C"] + self.x["S"]) / 2, y - 10, "the wire, as an eavesdropper has it", anchor="middle")
        for row in self.rows:
            y = self.row(row, y)
        if len(self.panel.rows) > MOST:
            pen.text(self.middle + 22, y + 13, f"… {plural(len(self.panel.rows) - MOST, 'row')} more …", color=SOFT)
        return self.foot(low)

    def row(self, row: Row, y: float) -> float:
        """One row, and what it means under it; returns where the next one begins."""
        pen, base = self.pen, y + 13
        chip(pen, row, self.middle, y)
        if row.mark == ATTACKER:
            mark_trouble(pen, shorten(row.text, self.letters), self.middle + 22, y)
        elif row.kind == "tls":
            words = shorten(f"{row.text}, {plural(row.octets, 'octet')}", self.letters)
            if row.mark == OPAQUE:
                long = 8 + len(words) * LETTER
                pen.box(self.middle + 18, y + 1, long, LINE - 2, fill="#d9f0e7", stroke=TLS, radius=2)
            pen.text(self.middle + 22, base, words, mono=True)
        else:
            pen.text(self.middle + 22, base, shorten(row.text, self.letters), mono=True)
        if row.mark != ATTACKER:
            arrows(pen, self.x, row.role, y + LINE / 2)
        for part in meaning(row, self.letters):
            y += LINE
            if row.secret:
                mark_trouble(pen, part, self.middle + 22, y)
            else:
                pen.text(self.middle + 22, y + 13, part, mono=True, bold=True)
        return y + LINE

    def foot(self, low: float) -> float:
        """How much was understood, and what that gave away."""
        counts = ", ".join(f"{count} {name}" for name, count in self.panel.counts.items())
        self.pen.text(self.left + 2, low + 18, counts, color=SOFT)
        lines = wrap(self.panel.foot, int(self.room / 8.2))
        for index, words in enumerate(lines):
            self.pen.text(self.left + 2, low + 36 + index * 16, words, size=13, bold=True)
        return low + 36 + len(lines) * 16


def chip(pen: Drawing, row: Row, x: float, y: float) -> None:
    """The letter that tells how well a row is understood."""
    edge = TROUBLE if row.mark == ATTACKER else INK
    pen.box(x, y + 1.5, 15, 15, fill=CHIPS[row.mark], stroke=edge, line=0.8, radius=3)
    pen.text(x + 7.5, y + 13.3, row.mark, anchor="middle", size=12, bold=True)


def mark_trouble(pen: Drawing, words: str, x: float, y: float) -> None:
    """Words in a box of the color of trouble; they carry a sign for those who do not see the color."""
    pen.box(x - 4, y + 1, 8 + len(words) * LETTER, LINE - 2, fill=CHIPS[ATTACKER], stroke=TROUBLE, line=1.5, radius=2)
    pen.text(x, y + 13, words, mono=True, bold=True)


def arrows(pen: Drawing, x: Mapping[str, float], who: str, y: float) -> None:
    """From the speaker's lifeline to the wire, and from the wire to the other one."""
    color, away = COLORS[who], 1 if who == "C" else -1
    start, end = x[who], x["S" if who == "C" else "C"]
    pen.line((start, y), (start + away * STUB, y), stroke=color)
    pen.arrow((end - away * STUB, y), (end - away * 1, y), color, line=1.5)
