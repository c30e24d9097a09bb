"""Bodies in counted pieces (RFC 3030): CHUNKING's BDAT, and BINARYMIME, at both ends."""
# Exported from notebooks/13_chunking.ipynb; edit the notebook.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from .bodies import Spool
from .channel import Channel
from .client import BODY_TIMEOUT, refuse_rest
from .conversation import NOT_YET, Conversation, NotYet
from .ehlo import ExtendedSession, Extension, Parameter, one_of
from .envelope import normalize
from .rules import about
from .session import STAY, Verb, finish
from .stream import Stream
from .transaction import Plan, PlannedCommand, settle_body
from .wire import CRLF, Command, Reply

__all__ = [
    "parse_bdat", "Octets", "spool_of", "bdat", "whole_lines", "once", "CHUNK", "CHUNKS_AT_ONCE", "EAGER", "regroup",
    "Chunking", "BinaryMime",
]


# %% parse-bdat
def parse_bdat(argument: str) -> tuple[int, bool] | None:
    """How many octets follow, and whether they are the last; None: nobody can say how many (RFC 3030 §2)."""
    size, _, marker = argument.strip(" ").partition(" ")
    plain = argument.isascii() and size.isdigit() and len(size) <= 18
    if not plain or marker.strip(" ").upper() not in ("", "LAST"):
        return None
    return int(size), marker != ""


# %% octets
class Octets(Stream):
    """Want: `count` octets as they are, block by block; `left` says how many have not come yet."""

    __slots__ = ("left",)

    def __init__(self, count: int, timeout: float = 180.0, rate: float = 500.0) -> None:
        super().__init__(timeout, rate)
        self.left = count

    def take(self, channel: Channel) -> bytes | NotYet:
        block = channel.inbox.octets(self.left)
        self.left -= len(block)
        return self.earn(block) if block else NOT_YET


# %% spool-of
def spool_of(session: ExtendedSession) -> Spool | None:
    """The body that is coming in, a new one if it may begin now, or None."""
    if "spool" not in session.resources and session.state == "rcpt" and session.extended:
        binary = (session.envelope.parameters.get("BODY") or "").upper() == "BINARYMIME"
        session.resources["spool"] = Spool(session.limits.max_size, session.limits.memory, binary)
    return session.resources.get("spool")


# %% bdat
def bdat(session: ExtendedSession, argument: str) -> Conversation[Reply]:
    """BDAT: a chunk of so many octets, which are read whatever we think of them (RFC 3030 §2, §4.2)."""
    size, limit = parse_bdat(argument), session.limits.max_size
    if size is None:
        lost = "cannot tell where the next command begins: BDAT takes a number, and LAST"
        return session.closing(lost, "4.5.4")
    if limit and size[0] > 2 * limit + 1_000_000:
        return session.closing(f"takes messages of {limit} octets, not of {size[0]}", "4.3.4")
    session.counts["idle commands"] += not size[0]
    refusal = session.objection(Command("BDAT", argument))
    want, spool = Octets(size[0]), None if refusal else spool_of(session)
    while want.left:
        block = yield want
        if spool:
            spool.add(block)
    if spool is None:
        return refusal or Reply(503, "EHLO, MAIL and RCPT come first", "5.5.1")
    if not size[1]:
        return spool.fault or Reply(250, f"{spool.octets} octets so far")
    return (yield from finish(session, spool))


# %% whole-lines
def whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """A text's blocks, line ends CR LF, the last line ended, too (RFC 5321 §2.3.8)."""
    tail = CRLF
    for block in normalize(blocks):
        yield block
        tail = (tail + block[-2:])[-2:]
    if tail != CRLF:
        yield CRLF


def once(blocks: list[bytes]) -> Iterator[bytes]:
    """Say them, joined if they are many, and keep none: chunks may wait for replies in little memory."""
    if len(blocks) > 16: blocks[:] = [b"".join(blocks)]
    while blocks:
        yield blocks.pop(0)


# %% regroup
CHUNK = 1_048_576                              # octets of a chunk
CHUNKS_AT_ONCE = 8                             # as many may fly before we look whether they are still wanted
EAGER = 65_536                                 # octets of a body that flies along with its envelope


def regroup(blocks: Iterable[bytes], size: int, first: int = 0) -> Iterator[tuple[list[bytes], bool]]:
    """The same octets in pieces of about `size` (the first of at most `first`); whether each is the last."""
    held: list[bytes] = []
    length = 0
    for block in blocks:
        if held and not first and length + len(block) > size:
            yield held, False                  # as they are: to cut and join large blocks would copy them
            held, length = [], 0
        held.append(block)
        length += len(block)
        if length > (first or 2 * size):
            whole, start = b"".join(held), 0
            while len(whole) - start > (first or 2 * size):
                end = start + (first or size)
                yield [whole[start:end]], False
                start, first = end, 0
            held, length = [whole[start:]], len(whole) - start
    yield held, True


# %% settle
def settle_chunk(plan: Plan, reply: Reply) -> None:
    """A refused chunk ends the message; the server waits for RSET (RFC 3030 §2)."""
    if not reply.positive and not plan.failed:
        refuse_rest(plan.receipt, "body", reply, plan.receipt.accepted)


def settle_last(plan: Plan, reply: Reply) -> None:
    """The reply to the last chunk: whose message it is now."""
    still_open = plan.client.open and not reply.positive
    settle_body(plan, reply)
    plan.client.open = still_open


# %% chunking
class Chunking(Extension):
    """CHUNKING: a body in counted pieces: nothing is stuffed, nothing is searched for its end (RFC 3030 §2).

    `eager`: the first chunk flies along with the envelope, when nobody knows whether it is wanted. RFC 3030 §2
    wants the replies to MAIL and RCPT collected first, and a server that refuses a chunk without reading it
    would take its octets for commands; so this is for servers that you know.
    """

    keyword = "CHUNKING"

    def __init__(self, eager: bool = False) -> None:
        self.eager = eager

    def verbs(self) -> Mapping[str, Verb]:
        return {"BDAT": Verb(bdat, STAY, "BDAT 1000, or BDAT 1000 LAST, then the octets", now=True,
                             counts_octets=True)}

    @about("RCPT", "DATA")
    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        """Between two chunks nothing else can be said about the message (RFC 3030 §2)."""
        if command.verb in ("RCPT", "DATA") and "spool" in session.resources:
            return Reply(503, "a body is coming in by BDAT; RSET gives it up", "5.5.1")
        return None

    def plan(self, plan: Plan) -> None:
        """BDAT in place of DATA."""
        plan.body = self.chunks
        plan.waits = not self.eager

    def chunks(self, plan: Plan) -> Iterator[PlannedCommand]:
        """A command for each chunk, as long as there is hope."""
        first, plan.receipt.ended = EAGER if self.eager and plan.client.uses("PIPELINING") else 0, False
        body = plan.message.body if plan.message.binary else whole_lines(plan.message.body)
        for number, (blocks, last) in enumerate(regroup(body, CHUNK, first), 1):
            if plan.failed: return
            argument, plan.receipt.ended = f"{sum(map(len, blocks))}{' LAST' * last}", last
            pause = not last and (number % CHUNKS_AT_ONCE == 0 or (number == 1 and first > 0))
            yield PlannedCommand("BDAT", argument, octets=partial(once, blocks), timeout=BODY_TIMEOUT,
                                 may_fly=not pause, settle=partial(settle_last if last else settle_chunk, plan))


# %% binarymime
class BinaryMime(Extension):
    """BINARYMIME: octets of any kind, in lines or not (RFC 3030 §3)."""

    keyword = "BINARYMIME"
    requires = frozenset({"CHUNKING"})

    def parameters(self) -> Mapping[str, Mapping[str, Parameter]]:
        return {"MAIL": {"BODY": one_of("7BIT", "8BITMIME", "BINARYMIME", octets=17)}}

    @about("DATA")
    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        """DATA cannot carry it (RFC 3030 §3)."""
        if command.verb == "DATA" and (session.envelope.parameters.get("BODY") or "").upper() == "BINARYMIME":
            return Reply(503, "a binary message comes by BDAT", "5.5.1")
        return None

    def plan(self, plan: Plan) -> None:
        """Announce what needs it."""
        if "BINARYMIME" in plan.needs and plan.client.uses("CHUNKING"):
            plan.mail.parameters["BODY"] = "BINARYMIME"
            plan.needs -= {"BINARYMIME", "8BITMIME"}
