"""Bodies in counted pieces (RFC 3030): CHUNKING's BDAT, and BINARYMIME, at both ends."""
# Exported from notebooks/10_chunking.ipynb; edit the notebook.

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from .client import BODY_TIMEOUT, end_early
from .conversation import Conversation, Octets
from .ehlo import ClientSession, ExtendedSession, Extension, Letter, Parameter, Step, conclude, values
from .envelope import normalize
from .session import STATES, Memory, Session, Spool, Verb, closing, take_over
from .wire import CRLF, Command, Reply

__all__ = [
    "parse_bdat", "Chunks", "bdat", "chunks_of", "CHUNK", "CHUNKS_AT_ONCE", "EAGER", "regroup", "whole_lines", "once",
    "Chunking", "BinaryMime",
]


# %% parse-bdat
_BDAT = re.compile(r"(\d{1,18})( +LAST)?", re.IGNORECASE | re.ASCII)


def parse_bdat(argument: str) -> tuple[int, bool] | None:
    """How many octets follow, and whether they are the last; None: nobody can say where they end (RFC 3030 §2)."""
    match = _BDAT.fullmatch(argument.strip(" "))
    return (int(match[1]), match[2] is not None) if match else None


# %% chunks
class Chunks(Spool):
    """A body that arrives chunk by chunk: whatever its `fault`, further chunks are read, and refused with it.

    `bare`: it is text, and somewhere in it a CR or an LF stood alone (RFC 5321 §2.3.8).
    """

    def __init__(self, limit: int | None, memory: Memory, binary: bool) -> None:
        super().__init__(limit, memory)
        self.binary = binary
        self._newlines = io.IncrementalNewlineDecoder(None, False)

    def write(self, block: bytes) -> None:
        super().write(block)
        if not self.binary:
            self._newlines.decode(block.decode("latin-1"))

    @property
    def bare(self) -> bool:
        self._newlines.decode("", final=True)
        return self._newlines.newlines not in (None, "\r\n")


# %% bdat
def bdat(session: Session, argument: str) -> Conversation[Reply | None]:
    """BDAT: a chunk of so many octets, which are read whatever we think of them (RFC 3030 §2, §4.2)."""
    assert isinstance(session, ExtendedSession)
    size = parse_bdat(argument)
    if size is None:
        return closing(session, "cannot tell where the next command begins: BDAT takes a number, and LAST", "4.5.4")
    octets, last = size
    if session.max_size and octets > 2 * session.max_size + 1_000_000:
        return closing(session, f"takes letters of {session.max_size} octets, and no {octets}", "4.3.4")
    session.idle_talk += not octets
    refusal = session.offer.refusal(session, Command("BDAT", argument))
    chunks = chunks_of(session) if session.extended and not refusal else None
    while octets:
        block = yield Octets(octets)
        octets -= len(block)
        if chunks:
            chunks.write(block)
    if chunks is None:
        return refusal or Reply(503, "EHLO, MAIL and RCPT come first", "5.5.1")
    if last:
        return (yield from take_over(session, chunks, chunks.bare))
    return chunks.fault or Reply(250, f"{chunks.octets} octets so far")


# %% chunks-of
def chunks_of(session: Session) -> Chunks | None:
    """The body in hand, a new one if it may begin now, or None."""
    if "BDAT" not in session.held and session.state == "rcpt":
        binary = (session.envelope.parameters.get("BODY") or "").upper() == "BINARYMIME"
        session.held["BDAT"] = Chunks(session.max_size, session.memory, binary)
    return session.held.get("BDAT")


# %% regroup
CHUNK = 262_144                                # octets of a chunk
CHUNKS_AT_ONCE = 32                            # as many may fly before we look whether they are still wanted
EAGER = 65_536                                 # octets of a body that flies along with its envelope


def regroup(blocks: Iterable[bytes], size: int, first: int = 0) -> Iterator[tuple[bytes, bool]]:
    """The same octets in pieces of about `size` (the first one of at most `first`), and whether it is the last."""
    held, length = list[bytes](), 0
    for block in blocks:
        if held and not first and length + len(block) > size:
            yield b"".join(held), False        # as they are: to cut and join large blocks would copy them
            held, length = [], 0
        held.append(block)
        length += len(block)
        if length > (first or 2 * size):
            whole, start = b"".join(held), 0
            while len(whole) - start > (first or 2 * size):
                end = start + (first or size)
                yield whole[start:end], False
                start, first = end, 0
            held, length = [whole[start:]], len(whole) - start
    yield b"".join(held), True


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
    """Say them and keep none: many chunks may wait for their replies, in little memory."""
    while blocks:
        yield blocks.pop(0)


# %% chunking
class Chunking(Extension):
    """CHUNKING: a body in counted pieces: nothing is stuffed, nothing is searched for its end (RFC 3030 §2).

    `eager`: the first chunk flies along with the envelope, before anybody knows whether it is wanted. RFC 3030 §2
    wants the replies to MAIL and RCPT collected first, and a server that refuses a chunk without reading it
    would take its octets for commands; so this is for servers that you know.
    """

    keyword = "CHUNKING"
    counting = frozenset({"BDAT"})

    def __init__(self, eager: bool = False) -> None:
        self.eager = eager

    def verbs(self) -> Mapping[str, Verb]:
        stay = {state: state for state in STATES[:-1]}
        return {"BDAT": Verb(bdat, stay, "BDAT 1000, or BDAT 1000 LAST, then so many octets", now=True)}

    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        """Between two chunks nothing else can be said about the letter (RFC 3030 §2)."""
        if command.verb in ("RCPT", "DATA") and "BDAT" in session.held:
            return Reply(503, "a body is coming in by BDAT; RSET gives it up", "5.5.1")
        return None

    def plan(self, client: ClientSession, letter: Letter, steps: list[Step]) -> None:
        """BDAT in place of DATA."""
        letter.body_steps = self.chunks
        steps[-1].last = not self.eager

    def chunks(self, client: ClientSession, letter: Letter) -> Iterator[Step]:
        """A step for each chunk, as long as the letter has hope."""
        first = EAGER if self.eager and "PIPELINING" in client.offered else 0
        pieces = regroup(letter.body if letter.binary else whole_lines(letter.body), CHUNK, first)
        for number, (block, last) in enumerate(pieces, 1):
            if letter.hopeless:
                return
            argument = f"{len(block)} LAST" if last else str(len(block))
            pause = not last and (number % CHUNKS_AT_ONCE == 0 or (number == 1 and first > 0))
            yield Step("BDAT", argument, octets=partial(once, [block]), letter=letter, timeout=BODY_TIMEOUT,
                       note=note_last if last else note_chunk, last=pause)


# %% notes
def note_chunk(client: ClientSession, step: Step, reply: Reply) -> None:
    """A refused chunk ends the letter; the server waits for RSET (RFC 3030 §2)."""
    if step.letter and not reply.positive and not step.letter.hopeless:
        end_early(step.letter.receipt, "body", reply, step.letter.receipt.accepted)


def note_last(client: ClientSession, step: Step, reply: Reply) -> None:
    """The reply to the last chunk: whose letter it is now."""
    client.open = client.open and not reply.positive
    if step.letter:
        conclude(step.letter, reply)


# %% binarymime
class BinaryMime(Extension):
    """BINARYMIME: octets of any kind, in lines or not (RFC 3030 §3)."""

    keyword = "BINARYMIME"
    requires = frozenset({"CHUNKING"})
    line_limits = {"MAIL": 17}

    def mail_parameters(self) -> Mapping[str, Parameter]:
        return {"BODY": values("7BIT", "8BITMIME", "BINARYMIME")}

    def check(self, session: ExtendedSession, command: Command) -> Reply | None:
        """DATA cannot carry it (RFC 3030 §3)."""
        body = session.envelope.parameters.get("BODY") or ""
        if command.verb == "DATA" and body.upper() == "BINARYMIME":
            return Reply(503, "a binary letter comes by BDAT", "5.5.1")
        return None

    def plan(self, client: ClientSession, letter: Letter, steps: list[Step]) -> None:
        """Announce what needs it."""
        if "BINARYMIME" in letter.needs and "CHUNKING" in client.offered:
            steps[0].parameters["BODY"] = "BINARYMIME"
            letter.needs -= {"BINARYMIME", "8BITMIME"}
