"""Many commands in one flight (RFC 2920): what may fly, what must come last, replies matched by order."""
# Exported from notebooks/12_pipelining.ipynb; edit the notebook.

from __future__ import annotations

from collections.abc import Iterable

from .ehlo import Extension

__all__ = ["FREE", "groups", "Pipelining"]


# %% groups
FREE = frozenset({"", "RSET", "MAIL", "SEND", "SOML", "SAML", "RCPT"})    # "": a message's text (RFC 2920 §3.1)


def groups(verbs: Iterable[str]) -> list[list[str]]:
    """Cut commands into the fewest groups that may fly: what is not free ends its group (RFC 2920 §3.1)."""
    cut: list[list[str]] = [[]]
    for verb in verbs:
        cut[-1].append(verb)
        if verb.upper() not in FREE:
            cut.append([])
    return [group for group in cut if group]


# %% pipelining
class Pipelining(Extension):
    """PIPELINING: do not wait where no reply changes what is said next (RFC 2920): `PlannedCommand.may_fly`.

    The server's end is the sessions' own: replies wait in a buffer unless their verb's row says `now` (§3.2).
    """

    keyword = "PIPELINING"
