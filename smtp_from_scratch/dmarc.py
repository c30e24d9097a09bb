"""What domains ask receivers to do: their DMARC records, and whose they are (RFC 7489 §6.3, §6.6.3).

Which domains belong to one owner? RFC 7489 asks a list of public suffixes, which somebody must keep up to date. We do
what its successor does: walk up the tree of names, and look for records.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .fields import tags_of
from .questions import Questions

__all__ = ["Policies", "Policy"]

WANTS = ("none", "quarantine", "reject")       # each milder than the next
STEPS = 8                                      # names of one walk


@dataclass(frozen=True, slots=True)
class Policy:
    """What a domain's owner wants done with a letter that fails, and how strictly names are compared."""

    wants: str
    strict: frozenset[str] = frozenset()       # {"spf", "dkim"}, those whose domain must be the author's own


class Policies:
    """The DMARC records that one letter needs, each asked for once. `organization` answers in place of a walk."""

    def __init__(self, ask: Questions, organization: Callable[[str], str] | None = None) -> None:
        self.ask, self.other = ask, organization
        self.known: dict[str, dict[str, str]] = {}

    def record(self, domain: str) -> dict[str, str]:
        """The tags of a domain's record, none if it has no valid one; NoAnswer."""
        if domain not in self.known:
            found = [tags for text in self.ask.texts(f"_dmarc.{domain}") if (tags := dmarc_tags(text))]
            self.known[domain] = found[0] if len(found) == 1 else {}
        return self.known[domain]

    def organization(self, domain: str) -> str:
        """The domain of the owner: of those above with a record the highest, or the domain itself."""
        if self.other:
            return self.other(domain)
        labels, highest = domain.split("."), domain
        for start in steps(len(labels)):
            name = ".".join(labels[start:])
            tags = self.record(name)
            if tags.get("psd") == "n":
                return name
            if tags.get("psd") == "y":         # a public suffix: whoever is one label below it owns
                return ".".join(labels[start - 1 :]) if start else name
            highest = name if tags else highest
        return highest

    def policy(self, author: str) -> Policy | None:
        """What is wanted for letters of this author's domain; None if nobody has said; NoAnswer."""
        tags, key = self.record(author), "p"
        if not tags:
            tags, key = self.record(self.organization(author)), "sp"
        if not tags:
            return None
        wants = tags.get(key, tags.get("p", "none")).lower()
        wants = wants if wants in WANTS else "none"
        if tags.get("pct") == "0" or tags.get("t") == "y":     # being tried out: one step milder
            wants = WANTS[max(WANTS.index(wants) - 1, 0)]
        strict = frozenset(method for method in ("spf", "dkim") if tags.get(f"a{method}", "").lower() == "s")
        return Policy(wants, strict)


def steps(labels: int) -> list[int]:
    """Where the names of a walk begin: the whole, then at most seven labels, and so on."""
    return [0, *range(max(1, labels - STEPS + 1), labels)]


def dmarc_tags(text: str) -> dict[str, str]:
    """The tags of a DMARC record; none for another text, and for one without a policy that can be read.

    `v=`, which comes first, and `p=` must be right. Whatever else is wrong counts as not said (RFC 7489 §6.3).
    """
    found: dict[str, list[str]] = {}
    for part in text.split(";"):
        try:
            name, value = next(iter(tags_of(part).items()))
        except ValueError:
            continue
        found.setdefault(name, []).append(value)
    if next(iter(found), "") != "v" or found["v"] != ["DMARC1"] or len(found.get("p", ())) > 1:
        return {}
    tags = {name: values[0] for name, values in found.items() if len(values) == 1}
    valid = tags.get("p", "").lower() in WANTS
    return tags if valid or "rua" in tags or "psd" in tags else {}
