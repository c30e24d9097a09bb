"""Many commands in one flight (RFC 2920): what may fly, what must come last, replies matched by order."""
# Exported from notebooks/09_pipelining.ipynb; edit the notebook.

from __future__ import annotations

from collections.abc import Iterable

from .ehlo import FLIGHT_LIMIT, ClientSession, Extension, Step

__all__ = ["FREE", "groups", "MAY_FLY", "Pipelining"]


# %% groups
FREE = frozenset({"", "RSET", "MAIL", "SEND", "SOML", "SAML", "RCPT"})     # "": a letter's text (RFC 2920 §3.1)


def groups(verbs: Iterable[str]) -> list[list[str]]:
    """Cut commands into the fewest groups that may fly together: what is not free ends its group (RFC 2920 §3.1)."""
    cut: list[list[str]] = [[]]
    for verb in verbs:
        cut[-1].append(verb)
        if verb.upper() not in FREE:
            cut.append([])
    return [group for group in cut if group]


# %% pipelining
MAY_FLY = FREE | {"BDAT", "AUTH"}           # RFC 3030 §4.2, RFC 4954 §4: their steps say themselves when to wait


class Pipelining(Extension):
    """PIPELINING: do not wait where nothing that is heard would change what is said (RFC 2920).

    The server's end is the sessions' own: replies wait in a buffer unless their verb's row says `now` (§3.2).
    """

    keyword = "PIPELINING"

    def may_go_on(self, client: ClientSession, step: Step) -> bool:
        """Whether the next step may be said before this one was answered (§3.1)."""
        return step.verb in MAY_FLY and len(client.unanswered) < FLIGHT_LIMIT
