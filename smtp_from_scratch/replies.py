"""A want for replies: all that have come are taken at once, each for the command whose turn it is (RFC 5321 §4.2)."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from .channel import Channel
from .client import Receipt, disconnected_by
from .conversation import NOT_YET, NotYet, Want
from .wire import CRLF, REPLY_LIMIT, BadReply, Reply

__all__ = ["Due", "Replies", "to_the_end"]

WHOLE_LIMIT = 32_768                            # octets of a reply, as in `read_reply`


class Due(Protocol):
    """What was said, and waits for its reply, so many seconds; once for each of its lines."""

    @property
    def verb(self) -> str: ...
    @property
    def timeout(self) -> float: ...

    def answer(self, reply: Reply) -> None: ...


class Replies(Want):
    """Want: replies to what was said, in its order; as many as have come, and at least one.

    `read` makes a reply of its lines. Where `read_reply` resumes a conversation for each line, fifty recipients
    cost one turn. What is raised, by 421 or by `answer`, is raised at once: replies after it stay unread.
    """

    __slots__ = ("_lines", "_read", "_unanswered", "timeout")

    def __init__(self, unanswered: deque[Due], read: Callable[[tuple[bytes, ...]], Reply]) -> None:
        self._unanswered, self._read = unanswered, read
        self._lines: list[bytes] = []           # of a reply whose last line has not come

    def deadline(self, now: float) -> float:
        """The next reply has its own time, for all its lines together (RFC 5321 §4.5.3.2)."""
        self.timeout = self._unanswered[0].timeout
        return now + self.timeout

    def take(self, channel: Channel) -> NotYet | None:
        unanswered, lines, inbox = self._unanswered, self._lines, channel.inbox
        answer: NotYet | None = NOT_YET
        while unanswered and (line := inbox.line(REPLY_LIMIT)) is not None:
            lines.append(line)
            if self._goes_on():
                continue
            reply = self._read(tuple(lines))
            same, answer = b"" if len(lines) > 1 else line + CRLF, None
            lines.clear()
            if reply.code == 421:               # at any time: the server is leaving (RFC 5321 §3.8)
                raise disconnected_by(reply)
            unanswered.popleft().answer(reply)
            while same and unanswered and inbox.again(same):
                unanswered.popleft().answer(reply)
        return answer

    def _goes_on(self) -> bool:
        """Whether another line of the same reply follows; raises BadReply when there are too many."""
        last = self._lines[-1]
        if len(self._lines) > 1 and sum(map(len, self._lines)) > WHOLE_LIMIT:
            raise BadReply(f"a reply of more than {WHOLE_LIMIT} octets")
        return last[3:4] == b"-" and last[:3].isdigit()


def to_the_end(receipt: Receipt, octets: Callable[[], Iterable[bytes]]) -> Iterator[bytes]:
    """A body's blocks; the receipt is told that it has `ended` before the last of them goes out, and not earlier."""
    held = b""
    for block in octets():
        if held:
            yield held
        held = block
    receipt.ended = True                        # from now on the server may have it
    yield held
