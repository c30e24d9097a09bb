"""Who implements what: the outcomes of all dialogues at all peers, as data, a table, a figure.

matrix.json holds what was found where every peer is. To measure anew: python -m tests.peers.matrix
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from smtp_from_scratch.conformance.server.runner import FAILED, PASSED, SKIPPED, Outcome
from tests.peers import NAMES, Peer, missing, running
from tests.peers.conformity import dialogues, differences, examine, name_of, offers

STORED = Path(__file__).with_name("matrix.json")
SUBJECTS = {
    "1870": "SIZE", "2033": "LMTP", "2034": "enhanced codes", "2195": "CRAM-MD5", "2920": "PIPELINING",
    "3030": "CHUNKING", "3207": "STARTTLS", "3461": "DSN", "3463": "their meaning", "4616": "PLAIN", "4954": "AUTH",
    "5321": "SMTP", "5802": "SCRAM", "6152": "8BITMIME", "6409": "submission", "6531": "SMTPUTF8",
    "7677": "SCRAM-SHA-256", "8314": "implicit TLS",
}


@dataclass
class Column:
    """One peer: what it offers, and which dialogues failed or could not be played."""

    version: str
    offers: dict[str, str]                      # keyword → what follows it, under TLS where there is TLS
    failed: list[str] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)     # reason → names

    @classmethod
    def of(cls, peer: Peer, outcomes: Iterable[Outcome]) -> Column:
        column = cls(peer.version, offers(peer))
        for outcome in outcomes:
            if outcome.status == FAILED:
                column.failed.append(name_of(outcome.dialogue))
            elif outcome.status == SKIPPED:
                column.skipped.setdefault(outcome.reason, []).append(name_of(outcome.dialogue))
        return column


@dataclass
class Matrix:
    """Peers by dialogues."""

    dialogues: list[str]                        # "5321 EHLO twice"
    columns: dict[str, Column]

    @classmethod
    def stored(cls) -> Matrix:
        """What matrix.json holds."""
        data = json.loads(STORED.read_text("utf-8"))
        return cls(data["dialogues"], {name: Column(**column) for name, column in data["peers"].items()})

    @classmethod
    def measured(cls, names: Iterable[str] = NAMES) -> Matrix:
        """All dialogues at those of the peers that are here."""
        wanted = dialogues()

        def column(name: str) -> Column | None:
            if missing(name):
                return None
            with running(name) as peer:
                return Column.of(peer, examine(peer, wanted))

        names = list(names)
        with ThreadPoolExecutor(2) as pool:
            columns = {name: found for name, found in zip(names, pool.map(column, names), strict=True) if found}
        return cls([name_of(dialogue) for dialogue in wanted], columns)

    def store(self) -> None:
        data = {"dialogues": self.dialogues, "peers": {name: vars(column) for name, column in self.columns.items()}}
        STORED.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")

    def rfcs(self) -> list[str]:
        """SMTP itself first, then its extensions by number."""
        found = {name.partition(" ")[0] for name in self.dialogues}
        return sorted(found, key=lambda rfc: (rfc != "5321", int(rfc)))

    def count(self, peer: str, rfc: str) -> tuple[int, int]:
        """How many of an RFC's dialogues were passed, and how many failed."""
        def of_rfc(names: Iterable[str]) -> int:
            return sum(name.startswith(f"{rfc} ") for name in names)

        column = self.columns[peer]
        failed = of_rfc(column.failed)
        return of_rfc(self.dialogues) - failed - sum(map(of_rfc, column.skipped.values())), failed

    def cell(self, peer: str, rfc: str) -> str:
        """`22` all passed; `20+2✗` two differ; `–` not one could be played, for want of the extension."""
        passed, failed = self.count(peer, rfc)
        return "–" if not passed + failed else f"{passed}+{failed}✗" if failed else str(passed)

    def text(self) -> str:
        """The matrix in letters."""
        heads = [f"{name} {column.version}" for name, column in self.columns.items()]
        rows = [[f"{rfc} {SUBJECTS.get(rfc, '')}", *(self.cell(peer, rfc) for peer in self.columns)]
                for rfc in self.rfcs()]
        return lines_up([["RFC", *heads], *rows])

    def offered(self) -> str:
        """Which keywords each offers after EHLO."""
        offered = {peer: set(words(column.offers)) for peer, column in self.columns.items()}
        rows = [[keyword, *("yes" if keyword in offered[peer] else "–" for peer in self.columns)]
                for keyword in sorted({"BINARYMIME"}.union(*offered.values()))]
        return lines_up([["after EHLO", *self.columns], *rows])

    def figure(self) -> Any:
        """The matrix as a matplotlib figure: green kept, vermilion differs, gray not offered; each with its numbers."""
        from matplotlib import pyplot

        rfcs, peers = self.rfcs(), list(self.columns)
        figure, axes = pyplot.subplots(figsize=(8.0, 0.34 * len(rfcs) + 0.8), layout="constrained")
        for y, rfc in enumerate(rfcs):
            for x, peer in enumerate(peers):
                passed, failed = self.count(peer, rfc)
                share = passed / (passed + failed) if passed + failed else 0.0
                axes.barh(y, 0.92, 0.8, x + 0.04, color="#DDDDDD" if not passed + failed else "#D55E00")
                axes.barh(y, 0.92 * share, 0.8, x + 0.04, color="#009E73")
                axes.text(x + 0.5, y, self.cell(peer, rfc).replace("✗", " differ").replace("+", " + "), fontsize=8,
                          ha="center", va="center", color="white" if passed + failed else "#444444", weight="bold")
        axes.set_yticks(range(len(rfcs)), [f"RFC {rfc} {SUBJECTS.get(rfc, '')}" for rfc in rfcs])
        axes.set_xticks([x + 0.5 for x in range(len(peers))],
                        [f"{peer}\n{self.columns[peer].version}" for peer in peers])
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.set_xlim(0, len(peers))
        axes.set_ylim(len(rfcs) - 0.4, -0.6)
        for side in axes.spines.values():
            side.set_visible(False)
        pyplot.close(figure)                    # whoever asked for it shows it
        return figure

    def compared(self, here: Matrix) -> str:
        """What another run, on this machine, found: a line a peer, and one for each dialogue that went otherwise."""
        lines = []
        for name, before in self.columns.items():
            now = here.columns.get(name)
            if now is None:
                lines.append(f"{name}: not here ({missing(name) or 'nobody asked'})")
                continue
            lines.append(f"{name} {now.version}: {len(now.failed)} differences, stored {len(before.failed)}")
            lines += [f"    new: {title}" for title in sorted(set(now.failed) - set(before.failed))]
            lines += [f"    gone: {title}" for title in sorted(set(before.failed) - set(now.failed))]
        return "\n".join(lines)


def lines_up(rows: list[list[str]]) -> str:
    """Rows of words as columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)


def words(offers: dict[str, str]) -> Iterator[str]:
    """The keywords, and each mechanism of AUTH for itself."""
    for keyword, rest in offers.items():
        yield from (f"AUTH {mechanism}" for mechanism in rest.split()) if keyword == "AUTH" else [keyword]


class Listing:
    """A peer's differences: which rule, and what the peer does beside what the RFC says. Text, and HTML."""

    def __init__(self, peer: str) -> None:
        self.rows = [name.split(" ", 1) + [text] for name, text in differences()[peer].items()]

    def __repr__(self) -> str:
        return "\n".join(f"{rfc} {title}\n     {text}" for rfc, title, text in self.rows)

    def _repr_html_(self) -> str:
        lines = ["<tr><th>RFC</th><th>dialogue</th><th>what it does, what the RFC says</th></tr>"]
        lines += ["<tr>" + "".join(f'<td style="text-align: left">{escape(cell)}</td>' for cell in row) + "</tr>"
                  for row in self.rows]
        return "<table>\n" + "\n".join(lines) + "\n</table>"


if __name__ == "__main__":
    if absent := [f"{name}: {reason}" for name in NAMES if (reason := missing(name))]:
        raise SystemExit("\n".join(absent))
    matrix = Matrix.measured()
    matrix.store()
    print(matrix.text())
    print(f"{len(matrix.dialogues)} dialogues, "
          + ", ".join(f"{name} {PASSED} {len(matrix.dialogues) - len(c.failed) - sum(map(len, c.skipped.values()))}"
                      for name, c in matrix.columns.items()))
