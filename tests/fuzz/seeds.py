"""Seeds: the dialogues, as octets that a server hears, and that a client hears."""
from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator

from smtp_from_scratch.conformance.notation import Act, Block, Dialogue, Say, Step
from smtp_from_scratch.conformance.server.runner import Target, all_dialogues

OFFER = b"250-mx.example\r\n250-SIZE 100000\r\n250-8BITMIME\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SMTPUTF8\r\n"
WORDS = [
    b"EHLO x\r\n", b"HELO x\r\n", b"MAIL FROM:<a@b.c>\r\n", b"MAIL FROM:<> BODY=BINARYMIME SIZE=9\r\n", b"DATA\r\n",
    b"RCPT TO:<a@b.c>\r\n", b"\r\n.\r\n", b"\n.\r\n", b"\r\n.\n", b".\r\n", b"BDAT 5 LAST\r\n", b"BDAT 3\r\n",
    b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n", b"AUTH LOGIN\r\n", b"AUTH PLAIN =\r\n", b"*\r\n", b"dGlt\r\n", b"\0",
    b"STARTTLS\r\n", b"250 OK\r\n", b"250-", b"354 go\r\n", b"421 bye\r\n", b"550 no\r\n", b"452 4.5.3 full\r\n",
    b"\xc5\xbf", b"\xc4\xb1", b"\xe2\x80\xa8", b"\x1b[", b"=?", b"?=", b"\x16\x03\x01", b"Content-Type: ", b"--b\r\n",
    b'"', b"\\", b"<", b">", b"@", b" BODY=" + b"x" * 500,
]
LETTER_ABOUT_A_LETTER = b"""From: <>
To: ana@rio.example
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b

hello
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx

Final-Recipient: rfc822; a@b.c
Action: failed
Status: 5.1.1

--b
Content-Type: message/rfc822

Subject: x

body
--b--
"""
DIALOGUE = """== A
rfc: 5321 §2
level: MUST
asks: x
--
S: 220
C= a\\r\\n
repeat 3
  C: {n}
end
"""


def flat(steps: Iterable[Step]) -> Iterator[Step]:
    """Steps, those of a block once."""
    for step in steps:
        if isinstance(step, Block):
            yield from flat(step.steps)
        else:
            yield step


def heard_by_a_server(dialogue: Dialogue) -> bytes:
    """All that its client says."""
    values = Target("127.0.0.1", 25, refused="nobody@elsewhere.example", user="tim", password="tanstaaftanstaaf",
                    keywords={"SIZE": "3000"}).values()
    values.numbers["n"] = 1
    said = b""
    for step in flat(dialogue.steps):
        if isinstance(step, Say):
            with contextlib.suppress(ValueError):
                said += b"".join(values.expand(step.text, step.raw))
                said += b"" if step.raw else b"\r\n"
    return said


def heard_by_a_client(dialogue: Dialogue) -> bytes:
    """All that its server says."""
    said = b""
    for step in flat(dialogue.steps):
        if isinstance(step, Act) and step.verb == "hello":
            said += OFFER
        elif isinstance(step, Say):
            text = re.sub(r"\{[^}]*\}", "x", step.text)
            said += text.encode("latin-1", "replace") if step.raw else text.encode() + b"\r\n"
    return said


def seeds() -> dict[str, list[bytes]]:
    """For each target a few inputs to begin with."""
    found: dict[str, list[bytes]] = {"session": [], "client": []}
    for dialogue in all_dialogues():
        if dialogue.end == "server":
            found["session"].append(b"\0\0\0" + heard_by_a_server(dialogue)[:8000])
        else:
            found["client"].append(b"\1\0\0" + heard_by_a_client(dialogue))
    found["lines"] = found["body"] = found["said"] = [seed[2:400] for seed in found["session"]]
    lines = [line for seed in found["session"] for line in seed.split(b"\r\n")]
    found["path"] = [line.partition(b":")[2] for line in lines if b":<" in line]
    found["reply"] = [seed[3:300] for seed in found["client"]]
    found["report"] = [LETTER_ABOUT_A_LETTER]
    found["values"] = [b"NEVER", b"SUCCESS,FAILURE", b"rfc822;a+2Bb@x.example", b"n,,n=ana,r=abc", b"dGltAHRpbQ==",
                       b"r=nx,s=QQ==,i=4096", b"utf-8;\\x{1F600}@x", b"ana SCRAM-SHA-256$4096:QQ==$QQ==:QQ=="]
    found["tls"] = [b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03", b"GET / HTTP/1.1\r\n\r\n"]
    found["dialogues"] = [DIALOGUE.encode()]
    return found
