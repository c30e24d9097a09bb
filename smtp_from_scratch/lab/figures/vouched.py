"""Who vouches for a letter's author: which name each check looks at, what it found there, whose name that is."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from smtp_from_scratch.lab.figures.faces import Face
from smtp_from_scratch.lab.figures.style import CLASSES, FAINT, INK, SIGNS, shorten
from smtp_from_scratch.lab.figures.svg import Drawing

WIDTH, LEFT, ROW = 860.0, 16.0, 26.0           # px
COLUMNS = (LEFT + 22, LEFT + 90, LEFT + 270, LEFT + 500)
NAMES = {"smtp.mailfrom": "MAIL FROM", "smtp.helo": "EHLO", "header.d": "d= of a signature", "header.from": "From"}
SIGN = {"pass": 2, "fail": 5, "permerror": 5, "policy": 5}


class Vouched(Face):
    """What `Trust` has found about a letter: a row for each check, the author's domain below."""

    def __init__(self, findings: Iterable[Any]) -> None:
        self.findings = list(findings)
        self.author = next((finding.domain for finding in self.findings if finding.method == "dmarc"), "")
        self.rows = [row(finding, self.author) for finding in self.findings]

    @property
    def title(self) -> str:
        """What the picture says, in a sentence."""
        by = sorted({finding.method.upper() for finding in self.findings
                     if finding.result == "pass" and finding.method in ("spf", "dkim") and akin(finding, self.author)})
        return f"{' and '.join(by) or 'Nobody'} vouch{'es' if len(by) < 2 else ''} for {self.author}"

    def text(self) -> str:
        widths = [max(map(len, column)) for column in zip(*(cells for _, cells in self.rows), strict=True)]
        lines = [f"  {SIGNS[kind]} " + "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
                 for kind, cells in self.rows]
        return "\n".join([self.title, "", *(line.rstrip() for line in lines)])

    def svg(self) -> str:
        pen, y = Drawing(), ROW
        for x, heading in zip(COLUMNS, ("check", "looks at", "finds there", "and says"), strict=True):
            pen.text(x, y, heading, size=12, color=INK)
        pen.line((LEFT, y + 8), (WIDTH - LEFT, y + 8), stroke=FAINT)
        for kind, cells in self.rows:
            y += ROW
            pen.text(LEFT, y, SIGNS[kind], bold=True, size=13, color=CLASSES[kind] if kind != 4 else INK)
            for x, cell in zip(COLUMNS, cells, strict=True):
                pen.text(x, y, shorten(cell, 50), mono=x == COLUMNS[2], bold=x == COLUMNS[0])
        pen.line((LEFT, y + 10), (WIDTH - LEFT, y + 10), stroke=FAINT)
        pen.text(LEFT, y + 28, f"{self.title}.", bold=True, size=13)
        return pen.render(WIDTH, y + 40, "Who vouches for the author", self.title)


def akin(finding: Any, author: str) -> bool:
    """Whether a domain is the author's, or above or below it."""
    one, other = f".{finding.domain}", f".{author}"
    return bool(finding.domain) and (one.endswith(other) or other.endswith(one))


def row(finding: Any, author: str) -> tuple[int, list[str]]:
    """One line: its sign, the check, what it looks at, the domain there, the result."""
    other = finding.method != "dmarc" and finding.result == "pass" and not akin(finding, author)
    kind = 4 if other else SIGN.get(finding.result, 4)
    return kind, [finding.method.upper(), NAMES.get(finding.about, ""), finding.domain or "nothing",
                  finding.result + (", but it is not the author's domain" if other else "")]
