"""The check of the page on FUTURERELEASE: both ends of RFC 4865."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from smtp_from_scratch.client import SMTPNotSupportedError
from smtp_from_scratch.conversation import Conversation, read_reply, rehearse
from smtp_from_scratch.dsn import Dsn
from smtp_from_scratch.ehlo import Extension, ExtensionSet
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, check
from smtp_from_scratch.session import serve
from smtp_from_scratch.status import CodedClientSession, CodedSession
from smtp_from_scratch.transaction import OutgoingMessage, Plan, leave, open_session
from smtp_from_scratch.wire import Reply

ANA, YUI = "ana@rio.example", "yui@tokyo.example"
NEEDS = frozenset({"FUTURERELEASE"})
LONGEST, LATEST = 86_400, "2025-06-15T18:00:00Z"
HOLDS = {
    "HOLDFOR=3600": 250, "HOLDFOR=86400": 250, "holdfor=1": 250, "HOLDFOR=86401": 501, "HOLDFOR=0": 501,
    "HOLDFOR=007": 501, "HOLDFOR=-5": 501, "HOLDFOR=1h": 501, "HOLDFOR=²": 501, "HOLDFOR": 501,
    "HOLDFOR=1234567890": 501, "HOLDFOR=2025-06-14T09:00:00Z": 501,
    "HOLDUNTIL=2025-06-14T09:00:00Z": 250, "HOLDUNTIL=2025-06-14T09:00:00.5Z": 250,
    "HOLDUNTIL=2025-06-15T18:00:00Z": 250, "HOLDUNTIL=2025-06-15T18:00:01Z": 501,
    "HOLDUNTIL=2025-06-14T09:00:00": 501, "HOLDUNTIL=2025-06-14": 501, "HOLDUNTIL=2025-06-14T09:00Z": 501,
    "HOLDUNTIL=20250614T090000Z": 501, "HOLDUNTIL=2025-W24-6T09:00:00Z": 501, "HOLDUNTIL=2025-06-31T09:00:00Z": 501,
    "HOLDUNTIL=tomorrow": 501, "HOLDUNTIL=3600": 501, "HOLDUNTIL": 501,
    "HOLDFOR=60 HOLDUNTIL=2025-06-14T09:00:00Z": 501, "HOLDUNTIL=2025-06-14T09:00:00Z HOLDFOR=60": 501,
}
NO_ZONE = "Nine o'clock where? A date-time of RFC 3339 §5.6 has a time and a zone."
NOT_ISO = "`datetime.fromisoformat` reads more of ISO 8601 than RFC 3339 §5.6 has: look at the form first."
WHY = {
    "HOLDUNTIL=2025-06-14T09:00:00": NO_ZONE, "HOLDUNTIL=2025-06-14": NO_ZONE, "HOLDUNTIL=20250614T090000Z": NOT_ISO,
    "HOLDUNTIL=2025-06-14T09:00Z": NOT_ISO, "HOLDUNTIL=2025-W24-6T09:00:00Z": NOT_ISO,
    "HOLDFOR=2025-06-14T09:00:00Z": "HOLDFOR takes seconds, and HOLDUNTIL a date-time.",
    "HOLDFOR=²": "`isdigit` is true for a superscript two, `int` raises. RFC 4865 means 0 to 9.",
}


def say(*commands: str) -> Conversation[list[Reply]]:
    """A client that says these, and returns all replies."""
    replies = [(yield from read_reply())]
    for command in commands:
        yield f"{command}\r\n".encode()
        replies.append((yield from read_reply()))
    return replies


def sent(message: OutgoingMessage, ours: Extension, theirs: list[Extension]) -> tuple[Any, list[str]]:
    """What a client with the extension makes of a message, and what it has said."""
    client = CodedClientSession("laptop.rio.example", (ours,))

    def talk() -> Conversation[None]:
        yield from open_session(client)
        yield from Plan(client, message).run()
        yield from leave(client)

    said: list[str] = []
    try:
        show = rehearse(talk(), serve(CodedSession("mail.rio.example", extensions=ExtensionSet(theirs))))
    except SMTPNotSupportedError as error:
        return error, said
    return show.client, [record.data.decode() for record in show.said if record.role == "C"]


@check(
    hints=(
        "Where does an extension see both parameters of one MAIL: in a parameter's function, or in `check`?",
        'datetime.fromisoformat(value).tzinfo is None, or plan.needs.discard("FUTURERELEASE") in `plan`',
        "The function for one parameter sees only its own value, so it can judge HOLDFOR and HOLDUNTIL each alone. "
        "Only `check` sees the whole command, and so both at once. The client's `plan` copies both to MAIL and crosses "
        "off the need. If the server has no such extension, nobody calls `plan`: the need stays, and nothing is sent.",
    ),
    passed="Both ends of an RFC, on your own, and no session had to be touched.",
)
def check_future(MyFutureRelease: Callable[..., Extension]) -> Iterator[Problem]:
    """An extension of the learner's own, in our sessions."""
    if getattr(MyFutureRelease, "parameters", None) is Extension.parameters:
        raise NotYet("fill in the skeleton: `parameters` first.")
    mine = MyFutureRelease(LONGEST, LATEST)
    if not isinstance(mine.parameters(), Mapping) or not mine.parameters():
        raise NotYet("fill in the skeleton: `parameters` first.")
    yield from as_server(mine)
    yield from as_client(mine)


def as_server(mine: Extension) -> Iterator[Problem]:
    """What a server with the extension offers, takes and refuses."""
    offer = ExtensionSet([mine])

    def replies(*commands: str) -> list[Reply]:
        session = CodedSession("mail.rio.example", extensions=offer)
        found: list[Reply] = rehearse(say("EHLO laptop.rio.example", *commands), serve(session)).client
        return found

    hello = replies()[1]
    if f"FUTURERELEASE {LONGEST} {LATEST}" not in hello.lines:
        yield Problem(gave=f"{hello.lines} in the reply to EHLO", wire="A client cannot know how long you would wait.",
                      look=f"`advertise` returns the whole line: FUTURERELEASE {LONGEST} {LATEST}.")
    for parameters, code in HOLDS.items():
        if parameters.isascii():
            reply = replies(f"MAIL FROM:<{ANA}> {parameters}")[2]
        else:                                  # only with SMTPUTF8 does it come so far
            parameter = mine.parameters()["MAIL"]["HOLDFOR"]
            reply = parameter.check(CodedSession(extensions=offer), "²") or Reply(250)
        if reply.code != code:
            yield Problem(gave=f"{reply} to MAIL FROM:<{ANA}> {parameters}",
                          wire="The message leaves at another time than Ana said." if code == 501
                               else "Ana's wish is refused.",
                          look=WHY.get(parameters, f"RFC 4865 wants {code} here."))
    if offer.limits["MAIL"] < 512 + 31:
        yield Problem(gave=f"MAIL lines of at most {offer.limits['MAIL']} octets",
                      look="`Parameter(check, octets)`: the line needs room for it, its name and the space before.")


def as_client(mine: Extension) -> Iterator[Problem]:
    """What a client with the extension says, to a server that offers it and to one that does not."""
    envelope = Envelope(ANA, [YUI], parameters={"HOLDFOR": "3600", "SIZE": "7"})
    outcome, said = sent(OutgoingMessage(envelope, [b"Monday"], needs=NEEDS), mine, [mine])
    if isinstance(outcome, Exception):
        yield Problem(gave=f"a client that refuses: {outcome}",
                      look="`plan` says that the need is met: plan.needs.discard(…).")
    if not any(line == f"MAIL FROM:<{ANA}> HOLDFOR=3600\r\n" for line in said):
        mail = next((line for line in said if line.startswith("MAIL")), "no MAIL")
        yield Problem(gave=f"a client that says {mail.strip()!r}", wire="The letter leaves at once.",
                      look="`plan` puts HOLDFOR and HOLDUNTIL, and nothing else, into plan.mail.parameters.")
    outcome, said = sent(OutgoingMessage(Envelope(ANA, [YUI]), [b"Monday"], needs=NEEDS), mine, [Dsn()])
    if not isinstance(outcome, SMTPNotSupportedError):
        yield Problem(gave="a client that sends the message to a server without FUTURERELEASE",
                      wire="It arrives on Sunday.", look="Leave the need where it is: `plan` is not called there.")
