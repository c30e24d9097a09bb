"""What must be true of a session, written from the RFCs without a line of the package.

A session is what a client said, octet for octet, and what the server replied. The model believes the server's verdict
on a command (that is what policies and limits are for), and nothing else: it says which letters must have been taken,
from whom, for whom, with which octets, and raises `Wrong` where a reply or a letter cannot be.
"""
from __future__ import annotations

import re
from dataclasses import dataclass, field

REPLY = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\r\n\0]*))?\r\n")
ENHANCED = re.compile(rb"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?= |$)")
END = b"\r\n.\r\n"


class Wrong(AssertionError):
    """Something that must not happen."""


@dataclass(frozen=True)
class Taken:
    """A letter that a server has taken the responsibility for."""

    sender: bytes
    recipients: tuple[bytes, ...]
    body: bytes
    logged_in: bool = False


@dataclass(frozen=True)
class Answer:
    """One reply, its lines together."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def kind(self) -> int:
        return self.code // 100


def replies_in(octets: bytes, strict: bool = True) -> list[Answer]:
    """All replies of a server, complete ones; Wrong (if strict) for what is none (RFC 5321 §4.2)."""
    found, lines, at, code = list[Answer](), list[bytes](), 0, 0
    while at < len(octets):
        match = REPLY.match(octets, at)
        if not match or (lines and int(match[1]) != code):
            if strict:
                raise Wrong(f"no reply: {octets[at : at + 80]!r}")
            return found
        code, at = int(match[1]), match.end()
        lines.append(match[3] or b"")
        if match[2] != b"-":
            if strict and (enhanced := ENHANCED.match(lines[0])) and enhanced[1] != match[1][:1]:
                raise Wrong(f"an enhanced code of another kind: {lines}")
            found.append(Answer(code, tuple(lines)))
            lines = []
    if strict and lines:
        raise Wrong(f"half a reply: {lines}")
    return found


def unstuffed(data: bytes) -> bytes:
    """The lines of a body without the dots that were doubled (RFC 5321 §4.5.2)."""
    return b"\r\n".join(line[1:] if line[:1] == b"." else line for line in data.split(b"\r\n"))


def bare(body: bytes) -> bool:
    """Whether a CR or an LF stands alone (RFC 5321 §2.3.8)."""
    rest = body.replace(b"\r\n", b"")
    return b"\r" in rest or b"\n" in rest


def path_in(argument: bytes) -> tuple[bytes, bytes] | None:
    """The mailbox between the angle brackets, without a source route, and what follows; None when there is none."""
    quoted, at = False, 1
    if argument[:1] != b"<":
        return None
    while at < len(argument):
        octet = argument[at : at + 1]
        if quoted and octet == b"\\":
            at += 1
        elif octet == b'"':
            quoted = not quoted
        elif octet == b">" and not quoted:
            inner = argument[1:at]
            return (inner.partition(b":")[2] if inner[:1] == b"@" else inner), argument[at + 1 :]
        at += 1
    return None


@dataclass
class Walk:
    """Goes along both sides of a session; `letters` are those that must have been delivered."""

    said: bytes
    replies: list[Answer]
    limit: int                                  # octets of a letter
    chunking: bool = True                       # the server knows BDAT
    letters: list[Taken] = field(default_factory=list)
    at: int = 0                                 # in what was said
    heard: int = 0                              # replies
    hello: bool = False
    extended: bool = False                      # it was EHLO
    over: bool = False                          # no reply may follow
    vague: bool = False                         # the server may have hung up: nothing need follow, either
    tainted: bool = False                       # the last line did not end with CR LF
    logged_in: bool = False
    sender: bytes | None = None
    parameters: bytes = b""
    recipients: list[bytes] = field(default_factory=list)
    chunks: list[bytes] | None = None
    faulty: bool = False                        # a chunk was refused

    def run(self) -> list[Taken]:
        """Walk to the end."""
        greeting = self.reply()
        if greeting is None or greeting.code not in (220, 421, 554):
            raise Wrong(f"the greeting is {greeting}")
        self.over = greeting.code != 220
        while not self.over and self.step():
            pass
        if self.heard < len(self.replies):
            rest = self.replies[self.heard :]
            if self.over or [answer.code for answer in rest] not in ([421], [500], [500, 421]):
                raise Wrong(f"nobody asked: {rest} after {self.said[: self.at][-100:]!r}")
        return self.letters

    def reply(self) -> Answer | None:
        """The next reply; after 421 and 221 there is none."""
        if self.heard == len(self.replies):
            return None
        answer = self.replies[self.heard]
        self.heard += 1
        self.over = self.over or answer.code in (421, 221)
        return answer

    def line(self) -> tuple[bytes, bool] | None:
        """The next line without its end, and whether it is a good one."""
        end = self.said.find(b"\n", self.at) + 1
        if not end:
            return None
        line, self.at = self.said[self.at : end], end
        good = line.endswith(b"\r\n") and b"\r" not in line[:-2] and not self.tainted
        self.tainted = not line.endswith(b"\r\n")
        return line.removesuffix(b"\r\n"), good

    def step(self) -> bool:
        """One command and its reply; False at the end of either side."""
        start = self.at
        found = self.line()
        if found is None:
            return False
        line, good = found
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        if good and verb == b"BDAT" and self.chunking:
            return self.bdat(argument.strip(b" "))
        answer = self.reply()
        if answer is None:
            if not self.vague:
                raise Wrong(f"not answered: {self.said[start : self.at]!r}")
            return False
        self.vague = False
        if answer.code == 421:
            return False
        if not good or b"\0" in line:
            if answer.kind != 5:
                raise Wrong(f"{answer} to a line that is none: {line!r}")
        elif answer.kind < 4:
            self.obey(verb, argument, answer)
        return not self.over

    def obey(self, verb: bytes, argument: bytes, answer: Answer) -> None:
        """What a command that was not refused has changed."""
        match verb, answer.code:
            case (b"EHLO" | b"HELO" | b"LHLO"), 250:
                self.hello, self.extended = True, verb != b"HELO"
                self.reset()
            case b"MAIL", 250:
                self.mail(argument)
            case b"RCPT", 250 | 251:
                self.rcpt(argument)
            case b"RSET", 250:
                self.reset()
            case b"DATA", 354:
                self.body()
            case b"AUTH", 334 | 235:
                self.examine(answer)
            case b"STARTTLS", 220:
                self.over = True                # what follows is no SMTP
            case b"QUIT", 221:
                self.over = True
            case (b"NOOP" | b"VRFY" | b"HELP" | b"EXPN"), 250 | 252 | 214 | 211:
                pass
            case _:
                raise Wrong(f"{answer} to {verb!r} {argument!r}")

    def reset(self) -> None:
        self.sender, self.recipients, self.chunks, self.faulty, self.parameters = None, [], None, False, b""

    def mail(self, argument: bytes) -> None:
        found = path_in(argument[5:].lstrip(b" ")) if argument[:5].upper() == b"FROM:" else None
        if found is None or not self.hello or self.sender is not None:
            raise Wrong(f"250 to MAIL {argument!r}, after hello: {self.hello}, in a transaction: {self.sender!r}")
        self.sender, self.parameters = found[0], found[1].upper()

    def rcpt(self, argument: bytes) -> None:
        found = path_in(argument[3:].lstrip(b" ")) if argument[:3].upper() == b"TO:" else None
        if not found or not found[0] or self.sender is None or self.chunks is not None:
            raise Wrong(f"250 to RCPT {argument!r} of {self.sender!r}, chunks: {self.chunks}")
        self.recipients.append(found[0])

    def examine(self, answer: Answer) -> None:
        """Challenges and responses, up to the verdict (RFC 4954 §4)."""
        if self.logged_in or self.sender is not None:
            raise Wrong(f"AUTH is examined, logged in already: {self.logged_in}, from: {self.sender!r}")
        while answer.code == 334:
            found, heard = self.line(), self.reply()
            if heard is None:
                if found is not None:
                    raise Wrong(f"a response was not answered: {found}")
                return
            answer = heard
            if found is None and answer.code != 421:
                raise Wrong(f"{answer} and no response")
            if self.over:
                return
        if answer.kind not in (2, 4, 5) or (answer.kind == 2) != (answer.code == 235):
            raise Wrong(f"{answer} to a response")
        self.logged_in = answer.code == 235

    def body(self) -> None:
        """DATA: the letter, up to its lone dot (RFC 5321 §4.1.1.4)."""
        if not self.recipients or self.chunks is not None or b"BODY=BINARYMIME" in self.parameters.split(b" "):
            raise Wrong(f"354 for {self.recipients}, chunks: {self.chunks}, {self.parameters!r}")
        framed = b"\r\n" + self.said[self.at :]
        end = framed.find(END)
        if end < 0:
            self.at, self.vague = len(self.said), True
            return
        body, self.at = unstuffed(framed[2 : end + 2]), self.at + end + 3
        answer = self.reply()
        if answer is None:
            raise Wrong("a whole letter was not answered")
        self.verdict(answer, body, binary=False)
        self.reset()

    def bdat(self, argument: bytes) -> bool:
        """BDAT: so many octets, whatever becomes of them (RFC 3030 §2)."""
        match = re.fullmatch(rb"([0-9]{1,18})( +LAST)?", argument, re.IGNORECASE)
        size = int(match[1]) if match else 0
        whole = self.at + size <= len(self.said)
        chunk, self.at = self.said[self.at : self.at + size], min(self.at + size, len(self.said))
        answer = self.reply()
        if answer is None:
            if whole and match and not self.vague:
                raise Wrong(f"not answered: BDAT {argument!r}")
            return False
        if self.over:
            return False
        if match is None or not whole:
            if answer.kind != 5:
                raise Wrong(f"{answer} to BDAT {argument!r}")
            self.over = True                    # nobody knows where the next command begins
            return False
        possible = bool(self.recipients) and self.extended       # after HELO there is no BDAT
        if answer.kind == 2 and (not possible or self.faulty):
            raise Wrong(f"{answer} to BDAT {argument!r}, recipients {self.recipients}, refused before: {self.faulty}")
        self.vague = answer.kind == 5           # the server may have hung up: far too large, or 530
        if possible:
            self.chunks = [*(self.chunks or []), chunk]
            self.faulty = self.faulty or answer.kind != 2
        if possible and match[2]:
            self.verdict(answer, b"".join(self.chunks or []), b"BODY=BINARYMIME" in self.parameters.split(b" "))
            self.reset()
        return True

    def verdict(self, answer: Answer, body: bytes, binary: bool) -> None:
        """The reply to a whole letter."""
        if answer.kind == 3:
            raise Wrong(f"{answer} to a letter")
        if answer.kind != 2:
            return
        if len(body) > self.limit:
            raise Wrong(f"{answer} to a letter of {len(body)} octets; {self.limit} are allowed")
        if bare(body) and not binary:
            raise Wrong(f"{answer} to a letter with a bare CR or LF")
        self.letters.append(Taken(self.sender or b"", tuple(self.recipients), body, self.logged_in))


# --- the other end ---------------------------------------------------------------------------------------------------


@dataclass
class Sent:
    """A transaction as a client saw it: what it said, and what it was answered."""

    sender: bytes
    answers: dict[bytes, Answer] = field(default_factory=dict)      # to RCPT
    body: bytes = b""
    taken: bool = False                         # all of the body was answered 2yz
    refused: bool = False                       # some of it was not
    size: int | None = None                     # as MAIL announced it

    @property
    def accepted(self) -> set[bytes]:
        """Who has the letter: 2yz to RCPT, and 2yz to the whole body."""
        return {address for address, answer in self.answers.items() if answer.kind == 2 and self.taken}


def transactions(said: bytes, replies: list[Answer]) -> list[Sent]:
    """What a client said and heard, transaction by transaction; Wrong for what no client may say."""
    found, at, heard = list[Sent](), 0, 1       # the greeting was heard

    def answer() -> Answer | None:
        nonlocal heard
        heard += 1
        return replies[heard - 1] if heard <= len(replies) else None

    while at < len(said):
        end = said.find(b"\r\n", at)
        if end < 0:
            raise Wrong(f"half a command: {said[at:]!r}")
        line, at = said[at:end], end + 2
        if bare(line) or b"\0" in line or len(line) > 2000:
            raise Wrong(f"no command: {line!r}")
        verb, _, argument = line.partition(b" ")
        if verb == b"BDAT":
            size, _, last = argument.partition(b" ")
            chunk, at = said[at : at + int(size)], at + int(size)
            reply = answer()
            letter = found[-1]
            letter.body += chunk
            letter.refused = letter.refused or (reply is not None and reply.kind != 2)
            letter.taken = bool(last) and reply is not None and reply.kind == 2 and not letter.refused
            continue
        reply = answer()
        if verb == b"MAIL":
            path = path_in(argument[5:])
            match = re.search(rb" SIZE=([0-9]+)", argument)
            found.append(Sent(path[0] if path else argument, size=int(match[1]) if match else None))
            if reply is None or reply.kind != 2:
                found[-1].refused = True
        elif verb == b"RCPT" and reply is not None and (path := path_in(argument[3:])):
            found[-1].answers.setdefault(path[0], reply)
        elif verb == b"DATA" and reply is not None and reply.kind == 3:
            framed = b"\r\n" + said[at:]
            stop = framed.find(END)
            if stop < 0:
                return found                    # cut off in the middle of a body
            found[-1].body, at = unstuffed(framed[2 : stop + 2]), at + stop + 3
            reply = answer()
            found[-1].taken = reply is not None and reply.kind == 2 and not found[-1].refused
        elif verb not in (b"EHLO", b"HELO", b"RCPT", b"DATA", b"RSET", b"QUIT", b"NOOP"):
            raise Wrong(f"no command that it knows: {line!r}")
    return found
