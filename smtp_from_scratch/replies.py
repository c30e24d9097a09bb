"""A want for replies: all that have come are taken at once, each for the command whose turn it is (RFC 5321 §4.2)."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from .channel import Channel
from .client import disconnected_by
from .conversation import NOT_YET, NotYet, Want
from .wire import REPLY_LIMIT, BadReply, Reply

__all__ = ["Due", "Replies"]

WHOLE_LIMIT = 32_768                            # octets of a reply, as in `read_reply`


class Due(Protocol):
    """What was said, and waits for its reply, so many seconds."""

    timeout: float

    def answer(self, reply: Reply) -> None: ...


DueT = TypeVar("DueT", bound=Due)


class Replies(Want, Generic[DueT]):
    """Want: replies to what was said, in its order; as many as have come, and at least one.

    `read` makes a reply of its lines. Where `read_reply` resumes a conversation for each line, fifty recipients
    cost one turn. What is raised, by 421 or by `answer`, is raised at once: replies after it stay unread.
    """

    __slots__ = ("_lines", "_read", "_unanswered")

    def __init__(self, unanswered: deque[DueT], read: Callable[[tuple[bytes, ...]], Reply]) -> None:
        self._unanswered, self._read = unanswered, read
        self._lines: list[bytes] = []           # of a reply whose last line has not come

    @property
    def timeout(self) -> float:  # type: ignore[override]
        """Seconds for the next reply, all its lines together (RFC 5321 §4.5.3.2)."""
        return self._unanswered[0].timeout

    def take(self, channel: Channel) -> NotYet | None:
        unanswered, lines, before = self._unanswered, self._lines, len(self._unanswered)
        while unanswered and (line := channel.inbox.line(REPLY_LIMIT)) is not None:
            lines.append(line)
            if len(lines) > 1 and sum(map(len, lines)) > WHOLE_LIMIT:
                raise BadReply(f"a reply of more than {WHOLE_LIMIT} octets")
            if line[3:4] == b"-" and line[:3].isdigit():
                continue                        # its next line follows
            reply = self._read(tuple(lines))
            lines.clear()
            if reply.code == 421:               # at any time: the server is leaving (RFC 5321 §3.8)
                raise disconnected_by(reply)
            unanswered.popleft().answer(reply)
        return NOT_YET if len(unanswered) == before else None
