"""The messages that a client sends to the examiner: taken in, and looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from smtp_from_scratch.chunking import Octets
from smtp_from_scratch.conformance.client.words import matcher
from smtp_from_scratch.conformance.server.player import Difference
from smtp_from_scratch.conversation import Conversation, Disconnected, Timeout
from smtp_from_scratch.envelope import Body, BodyCutter

LETTER_LIMIT = 64_000_000                       # octets of a letter that are taken in


class Letters:
    """What a client has sent: `whole` letters, and the `chunks` of the one at hand."""

    def __init__(self, patience: float) -> None:
        self.patience = patience                # seconds
        self.whole: list[bytes] = []
        self.chunks: list[bytes] = []
        self.declared = 0                       # octets, by SIZE= in the last MAIL

    def declare(self, line: str) -> None:
        """Note what MAIL says of the size."""
        if size := re.search(r" SIZE=(\d{1,20})( |$)", line.upper()):
            self.declared = int(size[1])

    def finish(self) -> None:
        """The letter at hand is whole."""
        self.whole.append(b"".join(self.chunks))
        self.chunks = []

    def read_chunk(self, at: int, words: list[str]) -> Conversation[bool]:
        """The octets after a BDAT line (RFC 3030 §2), and whether they were the last."""
        if not words or not words[0].isdigit() or words[1:] not in ([], ["LAST"]):
            raise Difference(at, "BDAT with a number, and LAST or nothing", " ".join(["BDAT", *words])[:200])
        want = Octets(int(words[0]), self.patience)
        if want.left + sum(map(len, self.chunks)) > LETTER_LIMIT:
            raise Difference(at, f"at most {LETTER_LIMIT} octets", f"BDAT {want.left}")
        while want.left:
            try:
                self.chunks.append((yield want))
            except (Timeout, Disconnected):
                raise Difference(at, f"the {words[0]} octets that BDAT announced", f"{want.left} octets less") from None
        if words[1:]:
            self.finish()
        return bool(words[1:])

    def read_body(self, at: int) -> Conversation[None]:
        """A body up to its lone dot; raises Disconnected."""
        want, size = Body(BodyCutter(), self.patience), 0
        self.chunks = []
        try:
            while block := (yield want):
                self.chunks.append(block)
                size += len(block)
                if size > LETTER_LIMIT:
                    raise Difference(at, f"a body of at most {LETTER_LIMIT} octets", "more")
        except Timeout:
            raise Difference(at, "the end of a body", f"nothing within {self.patience:g} s") from None
        self.finish()


Value = Callable[[str], bytes]                  # what a name in braces stands for


def problem(letters: Letters, original: bytes, flags: Iterable[str], has: Iterable[str], lacks: Iterable[str],
            value: Value) -> str:
    """What is wrong with the last letter, or an empty text."""
    if not letters.whole:
        return "no message was received"
    data = letters.whole[-1]
    lines = data.decode("utf-8", "backslashreplace").split("\r\n")
    for flag in flags:
        if flag == "sized" and len(data) > letters.declared:
            return f"it has {len(data)} octets, and {letters.declared} were declared"
        if complaint := flaw(flag, data, original):
            return complaint
    for text in has:
        if not any(matcher(text, value).fullmatch(line) for line in lines):
            return f"it has no line {text}"
    for text in lacks:
        if any(matcher(text, value).fullmatch(line) for line in lines):
            return f"it has a line {text}"
    return ""


def flaw(flag: str, data: bytes, original: bytes) -> str:
    """Why a letter is not what a flag says, or an empty text. `original`: empty where it is not known."""
    if flag == "empty" and data:
        return f"it is not empty, but has {len(data)} octets"
    if flag == "strict" and re.search(rb"\r(?!\n)|(?<!\r)\n", data):
        return "a CR or an LF stands alone in it"
    if flag == "text" and b"\0" in data:
        return "it has a NUL, and is not declared as binary"
    if flag == "7bit" and (b"\0" in data or not data.isascii()):
        return "it has NULs or octets above 127"
    if flag == "8bit" and data.isascii():
        return "it has no octets above 127"
    if flag == "short" and any(len(line) > 998 for line in data.split(b"\r\n")):
        return "it has a line of more than 998 octets"
    if original and flag in ("same", "exact"):
        got, wanted = text_of(data), text_of(original)
        if got != wanted and (flag == "exact" or got.rstrip(b"\r\n") != wanted.rstrip(b"\r\n")):
            return f"its text is not what was to be sent: {got[:200]!r}"
    return ""


def text_of(data: bytes) -> bytes:
    """What stands behind the header; line ends CR LF, unless the letter is binary, and one at the end."""
    if b"\0" not in data:
        data = re.sub(rb"\r\n?|\n", b"\r\n", data)
    text = data.partition(b"\r\n\r\n")[2]
    return text if b"\0" in data or text.endswith(b"\r\n") else text + b"\r\n"
