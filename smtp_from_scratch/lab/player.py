"""A session one step at a time: what is said, in which state the server is then, who speaks next."""
from __future__ import annotations

from html import escape
from typing import Any

from smtp_from_scratch.lab.faces import card
from smtp_from_scratch.lab.states import Step, steps_of
from smtp_from_scratch.lab.style import COLORS, FAINT, MONO, NAMES, plural, shorten
from smtp_from_scratch.lab.widget import Interactive, button, column, pane, row

LETTER_LINES = 12                              # lines of a letter that are shown


class Player(Interactive):
    """Replays a transcript, a rehearsal or a list of records, with the buttons Back and Next."""

    def __init__(self, source: Any) -> None:
        self.steps = steps_of(source)
        self.at = 0                            # how many steps have been played

    def text(self) -> str:
        rows = [f"{'':2}  {'server is in':12}  what is said"]
        for number, step in enumerate(self.steps, 1):
            for index, line in enumerate(spoken(step)):
                front = f"{number:2}  {step.state:12}" if index == 0 else " " * 16
                rows.append(f"{front}  {step.who}: {line}".rstrip())
        return "\n".join(rows)

    def html(self) -> str:
        """The whole session, for readers without a kernel."""
        head = '<div style="text-align:right">state of the server</div>'
        return card(head + "".join(map(self._shown, range(len(self.steps)))))

    def go(self, by: int) -> None:
        """Play so many steps on, or back."""
        self.at = max(0, min(len(self.steps), self.at + by))
        self._show()

    def build(self) -> Any:
        self._pane = pane()
        self._back = button("Back", lambda: self.go(-1), "one step back")
        self._next = button("Next", lambda: self.go(1), "one step on")
        self._next.button_style = "primary"
        self._show()
        return column(row(self._back, self._next), self._pane)

    def _show(self) -> None:
        if not hasattr(self, "_pane"):
            return
        self._back.disabled, self._next.disabled = self.at == 0, self.at == len(self.steps)
        said = "".join(map(self._shown, range(max(0, self.at - 9), self.at)))
        self._pane.value = card(said + f'<div style="margin-top:8px" aria-live="polite">{self._status()}</div>')

    def _status(self) -> str:
        if self.at == 0:
            first = NAMES[self.steps[0].who] if self.steps else "end"
            return f"Nobody has spoken yet. Next: the {first}. The last column will tell the server's state."
        step = self.steps[self.at - 1]
        following = f"Next: the {NAMES[step.next]}." if step.next else "That was all."
        return (f"{escape(step.means)} <br>Step {self.at} of {len(self.steps)}. "
                f"The server is in state <b>{step.state}</b>. {following}")

    def _shown(self, index: int) -> str:
        step = self.steps[index]
        color, current = COLORS[step.who], index == self.at - 1
        lines = "<br>".join(escape(line, quote=False) or "&nbsp;" for line in spoken(step))
        return (f'<div style="display:flex;gap:10px;padding:2px 4px;{f"background:{FAINT};" if current else ""}">'
                f'<span style="flex:0 0 48px;color:{color};font-weight:600">{NAMES[step.who]}</span>'
                f'<span style="flex:1;border-left:4px solid {color};padding-left:8px;font-family:{MONO};'
                f'overflow-wrap:anywhere">{lines}</span><span style="flex:0 0 60px">{step.state}</span></div>')


def spoken(step: Step) -> list[str]:
    """The lines of a step; of a long letter the first ones, and how many follow."""
    lines = [shorten(line.text, 400) for line in step.lines]
    if len(lines) <= LETTER_LINES + 2:
        return lines
    left_out = len(lines) - LETTER_LINES - 1
    return [*lines[:LETTER_LINES], f"… {plural(left_out, 'line')} more …", lines[-1]]
