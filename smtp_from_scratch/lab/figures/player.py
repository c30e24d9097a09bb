"""A session one step at a time: what is said, in which state the server is then, who speaks next."""
from __future__ import annotations

from html import escape
from typing import Any

from smtp_from_scratch.lab.figures.faces import pre, speaker, table
from smtp_from_scratch.lab.figures.states import Step, steps_of
from smtp_from_scratch.lab.figures.style import NAMES, plural, shorten
from smtp_from_scratch.lab.figures.widget import Interactive, button, column, pane, row

COLUMNS = ["", "who", "what is said", "server is then in"]
LETTER_LINES = 12                              # lines of a letter that are shown


class Player(Interactive):
    """Replays a transcript, a rehearsal or a list of records, with the buttons Back and Next."""

    def __init__(self, source: Any) -> None:
        self.steps = steps_of(source)
        self.at = 0                            # how many steps have been played

    def text(self) -> str:
        rows = [f"{'':2}  {'server then':12}  what is said"]
        for number, step in enumerate(self.steps, 1):
            for index, line in enumerate(spoken(step)):
                front = f"{number:2}  {step.state:12}" if index == 0 else " " * 16
                rows.append(f"{front}  {step.role}: {line}".rstrip())
        return "\n".join(rows)

    def html(self) -> str:
        """The whole session, for readers without a kernel."""
        return table(COLUMNS, map(self._row, range(len(self.steps))))

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
        said = table(COLUMNS, map(self._row, range(self.at))) if self.at else ""
        self._pane.value = f'<p aria-live="polite">{self._status()}</p>{said}'

    def _status(self) -> str:
        if self.at == 0:
            first = NAMES[self.steps[0].role] if self.steps else "end"
            return f"Nobody has spoken yet. Next: the {first}."
        step = self.steps[self.at - 1]
        following = f"Next: the {NAMES[step.next]}." if step.next else "That was all."
        return (f"{escape(step.means)} <br>Step {self.at} of {len(self.steps)}. "
                f"The server is in state <b>{step.state}</b>. {following}")

    def _row(self, index: int) -> list[str]:
        """Number, speaker, words, the state after them; the step that was played last has a sign."""
        step, current = self.steps[index], hasattr(self, "_pane") and index == self.at - 1
        row = [str(index + 1), speaker(step.role), pre("\n".join(spoken(step))), step.state]
        return [f"<b>▶&nbsp;{row[0]}</b>", *row[1:3], f"<b>{row[3]}</b>"] if current else row


def spoken(step: Step) -> list[str]:
    """The lines of a step; of a long letter the first ones, and how many follow."""
    lines = [shorten(line.text, 400) for line in step.lines]
    if len(lines) <= LETTER_LINES + 2:
        return lines
    left_out = len(lines) - LETTER_LINES - 1
    return [*lines[:LETTER_LINES], f"… {plural(left_out, 'line')} more …", lines[-1]]
