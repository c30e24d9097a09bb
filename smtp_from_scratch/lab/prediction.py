"""Predict before you look: an answer given in a cell of its own, kept, and shown beside the truth.

    lab.predict("0.1 s", "1 s", "10 s")        # choices; or unit="s": a number; or one text, a question: a line of text
    …
    lab.reveal("10 s")                         # at the end of the cell that shows it
    …
    lab.foresaw()                              # at the end of the chapter: you foresaw 4 of 6

A prediction is known by what it asks; two of a chapter that ask alike need a `name`. Where nobody answers (GitHub,
nbval, no kernel) each shows its text, the same every time.
"""
from __future__ import annotations

import sys
from collections.abc import Callable
from html import escape
from typing import Any

from smtp_from_scratch.lab import record
from smtp_from_scratch.lab.figures.faces import Face, rich
from smtp_from_scratch.lab.figures.widget import Interactive, button, column, pane, row

ASK = "What do you think?"


class Answer:
    """What was said to a question, and the truth: kept in the learner's record."""

    def __init__(self, chapter: str, key: str) -> None:
        self.chapter, self.key = chapter, key
        kept = record.read().get(chapter, {}).get("predictions", {}).get(key, {})
        self.said: str = kept.get("said", "")
        self.truth: str = kept.get("truth", "")
        self.right: bool = kept.get("foresaw", False)
        self.late = False                      # the truth was out before anything was said

    @property
    def answer(self) -> str:
        """What was said, and what came of it."""
        if not self.said:
            return ""
        return f"You said: {self.said}." + (f" It was: {self.truth}." if self.truth else "")

    def say(self, answer: object) -> None:
        """Answer it, or change the answer; once the truth is out it stays, and what is said late does not count."""
        words = str(answer).strip()
        if words and (self.late or not self.truth):
            self.said = words
            self.keep()
        self.show()

    def settle(self, truth: str, right: bool) -> None:
        """The truth is out: it counts when something was said before."""
        if self.truth and not self.late:
            return
        if not self.truth:
            self.truth, self.late = truth, not self.said
        self.right = right
        self.keep()
        self.show()

    def grant(self) -> None:
        """The learner finds that a line of text meant the same."""
        self.right = True
        self.keep()

    def keep(self) -> None:
        """Note it, unless it came late."""
        if not self.said or self.late:
            return
        record.write(self.chapter, "predictions", self.key,
                       {"said": self.said, "truth": self.truth, "foresaw": self.right})

    def show(self) -> None:
        """Something has changed: where it is on the screen, it is shown anew."""


class Prediction(Answer, Interactive):
    """A question and what was said to it. `say` answers it, as a button does."""

    def __init__(self, chapter: str, key: str, choices: tuple[str, ...], unit: str | None) -> None:
        super().__init__(chapter, key)
        self.choices, self.unit = choices, unit

    @property
    def asks(self) -> str:
        """The question, with what may be answered."""
        if len(self.choices) == 1:
            return f"{self.choices[0]} (A line of text.)"
        if self.choices:
            return f"{ASK} {' · '.join(self.choices)}"
        return f"{ASK} A number{f', in {self.unit}' if self.unit else ''}."

    def text(self) -> str:
        return f"{self.asks}\n{self.answer}".strip()

    def html(self) -> str:
        return f"<p><b>{rich(self.asks)}</b></p>" + (f"<p>{rich(self.answer)}</p>" if self.answer else "")

    def build(self) -> Any:
        import ipywidgets

        self._pane = pane()
        if len(self.choices) > 1:
            controls = [button(choice, lambda choice=choice: self.say(choice), width="auto")
                        for choice in self.choices]
            self._buttons = dict(zip(self.choices, controls, strict=True))
        else:
            field = ipywidgets.Text(placeholder=f"a number, in {self.unit}" if self.unit else "a number"
                                    if self.unit is not None else "a line", value=self.said)
            controls = [field, button("Keep", lambda: self.say(field.value))]
            self._buttons = {}
        question = self.choices[0] if len(self.choices) == 1 else ASK
        label = ipywidgets.HTML(f"<b>{rich(question)}</b>")
        self.show()
        return column(label, row(*controls), self._pane)

    def show(self) -> None:
        """Bring the widget up to date."""
        if not hasattr(self, "_pane"):
            return
        for choice, made in self._buttons.items():
            made.button_style = "info" if choice == self.said else ""
            made.disabled = bool(self.truth) and not self.late
        self._pane.value = f"<span aria-live='polite'>{escape(self.answer)}</span>" if self.answer else ""


class Reveal(Interactive):
    """The truth, beside what was said."""

    def __init__(self, truth: str, prediction: Prediction | None) -> None:
        self.truth, self.prediction = truth, prediction

    @property
    def said(self) -> str:
        return self.prediction.said if self.prediction else ""

    @property
    def open(self) -> bool:
        """Whether the learner has to judge: a line of text that was said in other words."""
        made = self.prediction
        return bool(made and made.said and len(made.choices) == 1 and not made.right and not made.late)

    def text(self) -> str:
        if not self.said or not self.prediction:
            return f"It is: {self.truth}"
        sign = "✓" if self.prediction.right else "✗" if not self.open else "…"
        return f"{sign} You said: {self.said}\n  It is:    {self.truth}"

    def html(self) -> str:
        return "".join(f"<p>{rich(line.strip())}</p>" for line in self.text().splitlines())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return super()._repr_mimebundle_() if self.open else Face._repr_mimebundle_(self)

    def build(self) -> Any:
        self._pane = pane()
        self._pane.value = self.html()
        self._same = button("That is what I meant", self.grant, width="auto")
        return column(self._pane, self._same)

    def grant(self) -> None:
        """Count it."""
        if self.prediction:
            self.prediction.grant()
        self._pane.value, self._same.disabled = self.html(), True


_made: dict[tuple[str, str], Prediction] = {}  # by chapter and key
_pairs: dict[tuple[str, str], Prediction] = {} # by chapter and the cell that reveals
_latest: list[Prediction] = []


def predict(*choices: str, unit: str | None = None, name: str = "") -> Prediction | None:
    """Ask for a prediction: two or more choices, a number in a `unit` ("" for none), or one question for a line.

    Without any of them it prints the line that folded outputs begin with.
    """
    if not choices and unit is None:
        return print("Your prediction first; then open this.")
    chapter, key = record.here(), name or " | ".join(choices) or f"a number, in {unit}"
    made = _made.setdefault((chapter, key), Prediction(chapter, key, choices, unit))
    _latest[:] = [made]
    return made


def reveal(truth: object, *, name: str = "", within: float = 0.1) -> Reveal:
    """Show the truth beside what was said. Numbers count as foreseen `within` a part of the truth."""
    made = prediction_for(name)
    words = str(truth)
    if made and made.unit and not words.endswith(made.unit):
        words = f"{words} {made.unit}"
    if made:
        made.settle(words, foreseen(made, truth, within))
    return Reveal(words, made)


def prediction_for(name: str) -> Prediction | None:
    """The prediction of that name; or the one that this cell revealed before; or the latest that was asked for."""
    chapter = record.here()
    if name:
        return _made.get((chapter, name))
    cell = (chapter, running_cell())
    made = _pairs.get(cell) or (_latest[0] if _latest else None)
    if made and cell[1]:
        _pairs[cell] = made
    return made


def running_cell() -> str:
    """What tells this cell from others: its id where the front end says it, else its source."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return ""
    parent: Callable[[], Any] = getattr(shell, "get_parent", dict)
    return str(parent().get("metadata", {}).get("cellId") or shell.user_ns.get("In", [""])[-1])


def foreseen(made: Prediction, truth: object, within: float) -> bool:
    """Whether what was said is what came."""
    if made.unit is None:
        return " ".join(made.said.split()).casefold() == " ".join(str(truth).split()).casefold()
    said, came = number_in(made.said), number_in(str(truth))
    return said is not None and came is not None and abs(said - came) <= within * abs(came)


def number_in(words: str) -> float | None:
    """The number that a text begins with: `1,000 s` is a thousand; None if there is none."""
    digits = words.replace(",", "").replace("_", "").split() or [""]
    try:
        return float(digits[0])
    except ValueError:
        return None


class Foresaw(Face):
    """How many predictions of this chapter were right, of those that were made."""

    def __init__(self) -> None:
        chapter = record.here()
        kept = record.read().get(chapter, {}).get("predictions", {})
        told = {key: made["foresaw"] for key, made in kept.items() if made.get("truth")}
        told |= {key: made.right for (where, key), made in _made.items()
                 if where == chapter and made.truth and not made.late}
        self.right, self.of = sum(map(bool, told.values())), len(told)

    def text(self) -> str:
        if not self.of:
            return "No prediction was made in this run."
        return f"You foresaw {self.right} of {self.of}."

    def html(self) -> str:
        return f"<p>{self.text()}</p>"


def foresaw() -> Foresaw:
    """The chapter's predictions, counted."""
    return Foresaw()
