"""The checks of `auth`: what is read strictly, a client that answers, servers that say too much, and the price."""
from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import cache
from types import SimpleNamespace
from typing import Any

from smtp_from_scratch import auth as package
from smtp_from_scratch.auth import Auth, CramMd5, Login, Passwords, Plain, Users
from smtp_from_scratch.channel import Channel
from smtp_from_scratch.client import SMTPNotSupportedError
from smtp_from_scratch.conversation import Actor, Conversation, Interruption, Line, Work, flights, rehearse
from smtp_from_scratch.ehlo import Extension, ExtensionSet, check_requirements
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, as_number, check, foreseeable, is_unsolved
from smtp_from_scratch.lab.wires.authority import Authority, certificates
from smtp_from_scratch.pipelining import Pipelining
from smtp_from_scratch.sasl import AuthError, BadResponse, Examination, Mechanism, SMTPAuthenticationError, as_text
from smtp_from_scratch.session import serve
from smtp_from_scratch.starttls import StartTLS
from smtp_from_scratch.status import CodedClientSession, CodedSession
from smtp_from_scratch.transaction import OutgoingMessage, Plan, leave, open_session
from smtp_from_scratch.wire import Reply, parse_reply

ANA, TIDES = "ana@rio.example", "tides"
Outcome = tuple[str, Any]


def outcome(mine: Callable[..., Any], *given: Any, errors: type[Exception] | tuple[type[Exception], ...]) -> Outcome:
    """`("returned", what)`, or `("raised", the error)` for errors that a check expects; others go on."""
    try:
        return "returned", mine(*given)
    except errors as error:
        return "raised", error


def refuses(how: str, what: Any) -> bool:
    """Whether it was a ValueError, which is what `how` and `what` of `outcome` tell."""
    return how == "raised" and isinstance(what, ValueError)


def called(error: Any, name: str) -> bool:
    """Whether an exception has this name: the chapter's own class is another than the package's."""
    return any(kind.__name__ == name for kind in type(error).__mro__)


def theirs(mine: Any, name: str) -> Any:
    """A class as the learner's notebook has it, or the package's."""
    return getattr(mine, "__globals__", {}).get(name, getattr(package, name))


# --- base64 ----------------------------------------------------------------------------------------------------------

GOOD64 = {"dGlkZXM=": b"tides", "": b"", "AA==": b"\0", "/+8A": b"\xff\xef\0"}
BAD64 = {
    "dGl-!-kZXM=": "Characters that do not belong were skipped. The next program does not skip them, and reads "
                   "something else.",
    "dGlk ZXM=": "A blank is no character of base64.", "dGlkZXM": "A group of four is not full.",
    "dGlk====": "`=` fills up the last group, and there is nothing to fill.", "====": "Only `=`, and no octet.",
    "dGlkZXM=dGlk": "Something comes after the end.", "ti\xe9s": "Not even ASCII.",
}


@check(
    hints=(
        "What does `base64.b64decode` do with characters that it does not know? Has it a parameter for that?",
        "`len(text) % 4`, `text.endswith(\"===\")`, `base64.b64decode(text, validate=True)`.",
        "Let the library decode, with `validate=True`. It raises `binascii.Error`, which is a ValueError. Before that, "
        "refuse what it still lets pass: text that is not in groups of four, and more `=` than there can be.",
    ),
    passed="What is base64 is decoded, and everything else is refused.",
)
def check_decode64(my_decode64: Callable[[str], Any]) -> Iterator[Problem | None]:
    """Base64 is read strictly."""
    for text, octets in GOOD64.items():
        how, found = outcome(my_decode64, text, errors=ValueError)
        if found in (None, ...) and octets:
            raise NotYet(f"return the octets, {octets!r}, for {text!r}.")
        if how == "raised" or found != octets or not isinstance(found, bytes):
            yield Problem(gave=f"{found!r} for {text!r}", wire="Ana says what is right, and is refused.",
                          look=f"It should be {octets!r}. The empty text is the empty response.")
    for text, harm in BAD64.items():
        how, found = outcome(my_decode64, text, errors=(ValueError, TypeError))
        if not refuses(how, found):
            yield Problem(gave=f"{found!r} for {text!r}", wire=harm, look="Raise a ValueError (RFC 4954 §4).")


# --- your turn: read PLAIN -------------------------------------------------------------------------------------------

GOOD_PLAIN = [
    (f"\0{ANA}\0{TIDES}", "Ana is turned away, though she did no wrong."),
    (f"{ANA}\0{ANA}\0{TIDES}", "Ana may say that she wants to act as herself."),
    ("\0kenji@tokyo.example\0corrente é mar", "A password is UTF-8, not ASCII."),
    ("\0ana\0 a b ", "A password may have blanks, at its ends too."),
]
BAD_PLAIN = [
    (f"\0{ANA}\0{TIDES}\0more".encode(), "A password has no NUL: what comes after it was not compared."),
    (f"{ANA}\0{TIDES}".encode(), "Two parts: who wants to act as whom is a guess."),
    (b"", "`AUTH PLAIN =` opens the door, or breaks it."),
    (b"\0\0nobody", "A user without a name is let in."),
    (b"\0nobody@rio.example\0", "Whoever has no password yet is let in with none."),
    (b"\0ana\xff@rio.example\0tides", "What is not UTF-8 is nobody's name."),
    (b"\xff\0ana@rio.example\0tides", "The first part is text, too."),
]


@check(
    hints=(
        'How many parts does `response.split(b"\\0")` have, and which of them may be empty?',
        "len(parts) == 3, parts[1] and parts[2] are not empty, and `as_text` decodes each.",
        "Cut the response at its NULs. Three parts count, no more and no fewer, and the second and the third may not "
        "be empty. `as_text` makes text of each, and raises BadResponse itself for what is not UTF-8.",
    ),
    passed="Three parts, in the right form, and nothing else.",
)
def check_plain(my_read_plain: Callable[[bytes], Any]) -> Iterator[Problem | None]:
    """A response of PLAIN is read strictly."""
    def read(response: bytes) -> Any:
        found = my_read_plain(response)
        return tuple(found) if isinstance(found, Iterator) else found

    for text, harm in GOOD_PLAIN:
        parts = tuple(text.split("\0"))
        how, found = outcome(read, text.encode(), errors=(AuthError, theirs(my_read_plain, "BadResponse")))
        if how == "raised":
            yield Problem(gave=f"{type(found).__name__} for {text.encode()!r}", wire=harm,
                          look=f"It is right: return {parts!r}. The first part may be empty.")
        if found in (None, ...):
            raise NotYet(f"return the three parts, {parts!r}, for {text.encode()!r}.")
        if not isinstance(found, tuple | list) or tuple(found) != parts:
            yield Problem(gave=f"{found!r} for {text.encode()!r}", wire=harm, look=f"It should be {parts!r}, as text.")
    for response, harm in BAD_PLAIN:
        how, found = outcome(read, response, errors=Exception)
        if how == "returned":
            yield Problem(gave=f"{found!r} for {response!r}", wire=harm, look="Raise BadResponse (RFC 4616 §2).")
        if how == "raised" and not called(found, "BadResponse"):
            yield Problem(gave=f"{type(found).__name__} for {response!r}: {found}",
                          wire="Anything but a BadResponse is a mistake of ours: 454, and a traceback in the log.",
                          look="Raise BadResponse; `as_text` does so for what is not UTF-8.")


# --- your turn: CRAM-MD5's digest ------------------------------------------------------------------------------------

RESTON = b"<1896.697170952@postoffice.reston.mci.net>"
SECRETS = ["tanstaaftanstaaf", "maré alta", "x" * 100, "tides"]


@check(
    hints=(
        "What is the key here, and what is the message?",
        "`hmac.new(secret.encode(), challenge, hashlib.md5)`; then its digest in hexadecimal.",
        "HMAC makes a digest of a message that depends on a key. The secret, in UTF-8, is the key, the challenge is "
        "the message. The client says the 16 octets in hexadecimal, which is text of 32 small letters and digits.",
    ),
    passed="Tim's digest, and that of everybody else.",
)
def check_cram_md5(my_cram_md5: Callable[[str, bytes], Any]) -> Iterator[Problem | None]:
    """The digest of a secret and a challenge."""
    for secret in SECRETS:
        for challenge in (RESTON, b"<1@mx.tokyo.example>"):
            found, right = my_cram_md5(secret, challenge), hmac.new(secret.encode(), challenge, "md5").hexdigest()
            if found in (None, ...):
                raise NotYet("return the digest.")
            if found != right:
                upper = isinstance(found, str) and found.lower() == right
                yield Problem(gave=f"{found!r} for {secret[:20]!r} and {challenge!r}",
                              wire="The server computes another digest, and says 535.",
                              look="Small letters (RFC 2195 §2)." if upper else
                              f"It should be {right!r}: text. Which is the key, which the message?")


@check(
    hints=(
        "What may a challenge never be, so that yesterday's answer is worth nothing?",
        'f"<{secrets.randbits(63)}.{int(time.time())}@{hostname}>"',
        "A challenge must be one that never was before, and one that nobody can foresee. So random digits go into it, "
        "from `secrets`. Its form is that of a Message-ID: something unique, `@`, the host, in angle brackets.",
    ),
    passed="A new one each time, and nobody can tell which.",
)
def check_fresh(my_fresh: Callable[[str], Any]) -> Iterator[Problem | None]:
    """A challenge that never was before."""
    many = [my_fresh("mx.tokyo.example") for _ in range(300)]
    if many[0] in (None, ...):
        raise NotYet("return a challenge, as text.")
    for one in many:
        if not isinstance(one, str) or not one.isascii() or not one.isprintable() or " " in one:
            yield Problem(gave=repr(one), look="Text of printable ASCII, without a blank.")
        elif not (one.startswith("<") and one.endswith("@mx.tokyo.example>")):
            yield Problem(gave=repr(one), look="`<`, digits, `@`, the host, `>` (RFC 2195 §2).")
    if not str(elsewhere := my_fresh("mail.oslo.example")).endswith("@mail.oslo.example>"):
        yield Problem(gave=f"{elsewhere!r} for `hostname` mail.oslo.example",
                      look="`<`, digits, `@`, the host that was given, `>` (RFC 2195 §2).")
    if len(set(many)) < len(many):
        yield Problem(gave=f"{len(set(many))} challenges in {len(many)} calls",
                      wire="Eve waits for a challenge that she has an answer to, and is Ana.",
                      look="The clock alone does not help: two clients may come in one second. What is random?")
    if foreseeable(lambda: my_fresh("mx.tokyo.example")):
        yield Problem(gave=f"a challenge made with `random`, such as {many[0]!r}",
                      wire="Eve hears a few of them, computes the state of that generator, and foresees the next.",
                      look="Python has another module for what nobody may foresee: `secrets`.")
    columns = list(zip(*(re.findall(r"\w+", one.partition("@")[0]) for one in many), strict=False))
    if all(list(column) in (sorted(column), sorted(column, reverse=True)) for column in columns):
        yield Problem(gave=f"challenges that can be counted up: {many[0]!r}, {many[1]!r}",
                      wire="Eve foresees the next one, and asks Ana's client for the answer today.",
                      look="Something that nobody can guess: `secrets.randbits(63)`.")


# --- your turn: xtext ------------------------------------------------------------------------------------------------

XTEXT = {"ana@rio.example": "ana@rio.example", "ana+choir@rio.example": "ana+2Bchoir@rio.example", "a=b@x": "a+3Db@x",
         "a b@x": "a+20b@x", "josé@rio.example": "jos+C3+A9@rio.example", "\x7f\r\n": "+7F+0D+0A", "": "",
         "+2B": "+2B2B"}
BAD_XTEXT = {"a=b": "A `=` ends the parameter's name: this is not xtext.", "ana+2b": "Hexadecimal is in capitals.",
             "ana+": "Nothing comes after the plus.", "ana+2": "One digit.", "a b": "A blank ends a parameter.",
             "+ZZ": "Not hexadecimal.", "josé": "Not ASCII.", "jos+C3": "Half a character: not UTF-8.",
             "ana+2B\n": "A line end at the end."}


@check(
    hints=(
        'Which characters can stay as they are? Which two between "!" and "~" cannot?',
        'c if "!" <= c <= "~" and c not in "+=" else "".join(f"+{octet:02X}" for octet in c.encode())',
        "Go through the text character by character. Printable ASCII stays, except `+` and `=`. The rest becomes "
        "its octets in UTF-8, each as a plus and two hexadecimal digits in capitals.",
    ),
    passed="Nothing is left in it that a parameter cannot carry.",
)
def check_encode_xtext(my_encode_xtext: Callable[[str], Any]) -> Iterator[Problem | None]:
    """Text as a parameter can carry it."""
    for text, right in XTEXT.items():
        found = my_encode_xtext(text)
        if found in (None, ...):
            raise NotYet(f"return {right!r} for {text!r}.")
        if found != right:
            yield Problem(gave=f"{found!r} for {text!r}", wire="The server reads another mailbox, or says 501.",
                          look=f"It should be {right!r} (RFC 3461 §4).")


@check(
    hints=(
        "What does xtext consist of? Can you say it as one pattern?",
        r're.fullmatch(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*", text), then replace, then the octets as UTF-8.',
        "First see whether the whole text is xtext, with `fullmatch`, and raise a ValueError if it is not. Then put "
        "an octet in place of plus and its two digits, in one pass. The octets together are UTF-8.",
    ),
    passed="It reads what it should, and refuses the rest.",
)
def check_decode_xtext(my_decode_xtext: Callable[[str], Any]) -> Iterator[Problem | None]:
    """Xtext as text again."""
    for right, text in XTEXT.items():
        how, found = outcome(my_decode_xtext, text, errors=ValueError)
        if found in (None, ...):
            raise NotYet(f"return {right!r} for {text!r}.")
        if how == "raised" or found != right:
            yield Problem(gave=f"{found!r} for {text!r}", wire="Another mailbox than the client said.",
                          look=f"It should be {right!r}.")
    for text, harm in BAD_XTEXT.items():
        how, found = outcome(my_decode_xtext, text, errors=ValueError)
        if not refuses(how, found):
            yield Problem(gave=f"{found!r} for {text!r}", wire=harm, look="Raise a ValueError (RFC 3461 §4).")


GOOD_AUTH = ["<>", ANA, "ana+2Bchoir@rio.example", "+22a+20b+22@rio.example", "a@b@rio.example"]
BAD_AUTH: list[str | None] = ["ana", None, "", "ana@", "@rio.example", "ana+2@rio.example", "<ana@rio.example>=", "@"]


@check(
    hints=(
        "What has a value to be, if it is not `<>`? What does `decode_xtext` do with what is not xtext?",
        'local, _, domain = decode_xtext(value or "").rpartition("@")',
        "`<>` is always right. Everything else is xtext, and what comes out has something before its last `@` and "
        "something after it. Return None when all is well, and a Reply with 501 when it is not.",
    ),
    passed="A mailbox, or `<>`, and nothing else.",
)
def check_auth_value(my_check_auth: Callable[[Any, str | None], Any]) -> Iterator[Problem | None]:
    """The value of AUTH= on MAIL."""
    session = CodedSession("mx.tokyo.example")
    for value in GOOD_AUTH:
        how, found = outcome(my_check_auth, session, value, errors=ValueError)
        if found is not None:
            yield Problem(gave=f"{found!r} for {value!r}", wire="The message is refused for a value that is right.",
                          look="None means that there is nothing to refuse.")
    for bad in BAD_AUTH:
        how, found = outcome(my_check_auth, session, bad, errors=(ValueError, TypeError))
        if how == "raised":
            yield Problem(gave=f"{type(found).__name__} for {bad!r}", wire="The session answers 451 in place of 501.",
                          look="`my_decode_xtext` raises ValueError for what is not xtext, and there may be no value: "
                               "`value or \"\"`. Answer both with 501.")
        if found is None and bad is BAD_AUTH[0]:
            raise NotYet(f"return a Reply with 501 for {bad!r}.")
        if getattr(found, "code", None) != 501:
            yield Problem(gave=f"{found!r} for {bad!r}", wire="The next server is told that nobody sent it.",
                          look="`Reply(501, \"…\", \"5.5.4\")` (RFC 4954 §5). In `MAIL FROM:<…> AUTH` it is None.")


# --- your turn: the client -------------------------------------------------------------------------------------------


def way(name: str, clear: bool = True) -> Any:
    """What `choose` looks at in a mechanism."""
    return SimpleNamespace(name=name, clear=clear)


PLAIN, LOGIN, SEALED = way("PLAIN"), way("LOGIN"), way("SCRAM-SHA-256", clear=False)
CHOICES = [
    # offered, secure, ours, insecure, the choice (None: SMTPNotSupportedError), what is wrong with any other
    ("LOGIN PLAIN", True, [PLAIN, LOGIN], False, PLAIN, "The order is ours: we know what is better for Ana."),
    ("LOGIN", True, [PLAIN, LOGIN], False, LOGIN, "The server has no PLAIN, and says 504."),
    ("PLAIN LOGIN", False, [PLAIN, LOGIN], False, None, "Eve reads the password."),
    ("PLAIN LOGIN", False, [PLAIN, LOGIN], True, PLAIN, "Somebody has said `insecure`, and knows why."),
    ("PLAIN SCRAM-SHA-256", False, [PLAIN, SEALED], False, SEALED, "One of them is fit for an open line."),
    ("plain", True, [PLAIN], False, PLAIN, "Names of mechanisms are compared without regard to case."),
    ("XPLAIN PLAIN-CLIENTTOKEN", True, [PLAIN], False, None, "Another mechanism that has these letters in its name."),
    (None, True, [PLAIN], False, None, "The server offers no AUTH at all."),
    ("PLAIN", True, [], False, None, "None of ours is left."),
]


@check(
    hints=(
        "Whose order counts, the server's or ours? And on which line may a mechanism with `clear` not be used?",
        'offered = client.offered.get("AUTH", "").upper().split()',
        "Go through our mechanisms in order. The first that is offered, and that the line is fit for, is the choice: "
        "the line is secure, or somebody allowed it, or nothing is given away. When there is none, raise "
        "SMTPNotSupportedError.",
    ),
    passed="The first of ours that is offered, and no password on an open line.",
)
def check_choose(my_choose: Callable[[Any, Any, bool], Any]) -> Iterator[Problem | None]:
    """Which mechanism a client takes."""
    for offered, secure, ours, insecure, right, harm in CHOICES:
        client = CodedClientSession("rio.example", offered={} if offered is None else {"AUTH": offered}, secure=secure)
        how, found = outcome(my_choose, client, ours, insecure, errors=(SMTPNotSupportedError, ValueError))
        if found in (None, ...) and right is CHOICES[0][4]:
            raise NotYet("return one of the mechanisms.")
        where = f"`{offered or 'no AUTH'}` {'under TLS' if secure else 'on an open line'}"
        where += f"{', insecure' if insecure else ''}, ours: {' '.join(m.name for m in ours) or 'none'}"
        gave = repr(found) if how == "raised" else getattr(found, "name", repr(found))
        if isinstance(found, str):
            yield Problem(gave=f"{gave} for {where}", wire="The client asks it to `respond`, and a name cannot.",
                          look="Return the mechanism itself, not its name.")
        elif right is not None and found is not right:
            yield Problem(gave=f"{gave} for {where}", wire=harm, look=f"It should be {right.name}.")
        elif right is None and (how == "returned" or not isinstance(found, SMTPNotSupportedError)):
            yield Problem(gave=f"{gave} for {where}", look="Raise SMTPNotSupportedError.",
                          wire="The client goes on with None." if found is None else harm)


def spelled(octets: bytes) -> str:
    """A challenge, as the server says it."""
    return f"334 {base64.b64encode(octets).decode()}"


def answers(*responses: bytes, error: Exception | None = None) -> Any:
    """The client's end of a mechanism that has these responses, then ends, or raises."""
    turn = iter(responses)                     # `yield from` would hand challenges to a tuple, which takes none
    while (response := next(turn, None)) is not None:
        yield response
    if error:
        raise error


def interrogated(mine: Any, responses: Any, first: bytes | None, *asked: str) -> tuple[list[bytes], Outcome]:
    """The lines that the server heard when it said these replies, and how it ended."""
    heard: list[bytes] = []

    def server() -> Conversation[None]:
        with suppress(Interruption):
            for text in asked[1:]:
                heard.append((yield Line()))
                yield text.encode() + b"\r\n"

    def client() -> Conversation[Outcome]:
        reply = parse_reply([asked[0].encode()])
        try:
            talk = mine(CodedClientSession("rio.example"), responses, reply, first)
            return "returned", ((yield from talk) if isinstance(talk, Generator) else talk)
        except Exception as error:
            return "raised", error

    return heard, rehearse(client(), server(), patient=True).client


def started(*responses: bytes, error: Exception | None = None) -> Any:
    """The client's end of a mechanism that has begun, with nothing."""
    talk = answers(b"", *responses, error=error)
    next(talk)
    return talk


ASK_USER, ASK_PASSWORD = spelled(b"Username:"), spelled(b"Password:")
USER64, WORD64 = base64.b64encode(b"ana"), base64.b64encode(b"tides")
EXCHANGES: list[tuple[str, tuple[bytes, ...], bytes | None, tuple[str, ...], list[bytes]]] = [
    # what it is, the client's responses, the one that waits, what the server says, what it should hear
    ("LOGIN", (b"ana", b"tides"), None, (ASK_USER, ASK_PASSWORD, "235 welcome"), [USER64, WORD64]),
    ("a response that waits", (b"tides",), b"ana", (spelled(b""), spelled(b"?"), "235 welcome"), [USER64, WORD64]),
    ("an empty response", (b"",), None, (spelled(b"v=1"), "235 welcome"), [b""]),
    ("535 at once", (b"ana",), None, ("535 wrong",), []),
    ("535 after a response", (b"ana",), None, (ASK_USER, "535 wrong"), [USER64]),
]


@check(
    hints=(
        "What ends the loop? What does the client say when a challenge makes no sense?",
        "while reply.code == 334: decode64(reply.text), talk.send(challenge), encode64(response), client.read(300.0)",
        "As long as the server says 334, decode its challenge, hand it to `talk`, and say the response in base64. If "
        "`first` is waiting, it answers the first challenge in place of `talk`. When the challenge cannot be read, or "
        " `talk` has nothing more to say, say `*`, read the reply, and raise SMTPAuthenticationError with it.",
    ),
    passed="It answers as long as it is asked, and gives up with a star.",
)
def check_exchange(my_exchange: Any) -> Iterator[Problem | None]:
    """The client's part of an exchange."""
    for what, responses, first, asked, right in EXCHANGES:
        heard, (how, found) = interrogated(my_exchange, started(*responses), first, *asked)
        if found is None or found is ...:
            raise NotYet("return the reply that is not 334.")
        if how == "raised":
            yield Problem(gave=f"{found!r} at {what}; the server had heard {heard!r}",
                          look=f"It should hear {right!r}, and you return its last reply.")
        elif heard != right:
            yield Problem(gave=f"the lines {heard!r} at {what}", wire="The server cannot read them.",
                          look=f"It should hear {right!r}: base64, a line each.")
        elif not isinstance(found, Reply) or f"{found.code}" != asked[-1][:3]:
            yield Problem(gave=f"{found!r} at {what}", look=f"Return the last reply, {asked[-1]!r}.")
    yield from senseless_challenges(my_exchange)


def senseless_challenges(my_exchange: Any) -> Iterator[Problem]:
    """A client says `*`, and then raises, when it is asked what makes no sense."""
    error = theirs(my_exchange, "AuthError")("the server has proved nothing")
    for what, talk, asked in [("a challenge not in base64", started(b"ana"), "334 what?"),
                              ("one challenge too many", started(), ASK_USER),
                              ("a mechanism that raises AuthError", started(error=error), ASK_USER)]:
        heard, (how, found) = interrogated(my_exchange, talk, None, asked, "501 as you like")
        if heard != [b"*"]:
            yield Problem(gave=f"{heard!r} at {what}" + (f", then {found!r}" if how == "raised" else ""),
                          wire="The server waits for a response, and takes your next command for one.",
                          look="A line with a star alone ends the exchange (RFC 4954 §4).")
        elif how == "returned" or not called(found, "SMTPAuthenticationError"):
            yield Problem(gave=f"{found!r} at {what}", wire="Your program believes that Ana is logged in.",
                          look="After the star read the reply, and raise SMTPAuthenticationError with it.")


def unsettled(what: str, how: str, found: Any) -> Problem | None:
    """What is wrong with a client that goes on, or raises the wrong thing, after such a reply."""
    if how == "returned":
        return Problem(gave=f"a client that is content with {what}",
                       wire="A server that does not know Ana's password is believed." if "235" in what else
                       "MAIL is answered 530, and nobody knows why.", look="Raise SMTPAuthenticationError.")
    if not called(found, "SMTPAuthenticationError"):
        return Problem(gave=f"{type(found).__name__} for {what}: {found}",
                       look='`raise SMTPAuthenticationError(reply, "why")`.')
    return None


@check(
    hints=(
        "What does the mechanism still have to say, once the server has said 235?",
        "try: talk.send(None); except StopIteration: client.user = user",
        "235 alone is not enough: the mechanism must agree that it is over. Send it None. If it ends, Ana is known; if "
        "it yields again or raises AuthError, the server was content too early: SMTPAuthenticationError.",
    ),
    passed="Both ends are content, or nobody is.",
)
def check_settle(my_settle_auth: Any) -> Iterator[Problem | None]:
    """What the last reply of AUTH means."""
    early: list[str] = []

    def settled(reply: Reply, *responses: bytes, error: Exception | None = None) -> Outcome:
        talk, client = answers(b"", *responses, error=error), CodedClientSession("rio.example")
        next(talk)
        how, found = outcome(my_settle_auth, client, talk, ANA, reply, errors=Exception)
        early.extend([str(reply)] if how == "raised" and client.user else [])
        return how, found if how == "raised" else client.user

    how, found = settled(Reply(235, "welcome"))
    if how == "raised":
        yield Problem(gave=f"{found!r} for 235 when nothing is left to say", wire="Ana is in, and her client gives up.",
                      look="`talk.send(None)` raises StopIteration when the mechanism is done.")
    if not found:
        raise NotYet("note who we are: `client.user = user`.")
    if found != ANA:
        yield Problem(gave=f"{found!r} in `client.user`", look="It is `user` that we have proved to be.")
    error = theirs(my_settle_auth, "AuthError")("the server is content, and has proved nothing")
    for what, (how, found) in [("535", settled(Reply(535, "wrong"))), ("250", settled(Reply(250, "fine"))),
                               ("454", settled(Reply(454, "later"))),
                               ("235 while the mechanism has more to say", settled(Reply(235, "welcome"), b"more")),
                               ("235 at a mechanism that raises AuthError", settled(Reply(235, "ok"), error=error))]:
        yield unsettled(what, how, found)
    if early:
        yield Problem(gave=f"a client that has noted its user and then raises, for {early[0]}",
                      wire="`client.user` says that Ana is logged in.", look="Note it last, when all is well.")


# --- exercise 1: find the bug ----------------------------------------------------------------------------------------

BUGS = {
    "A": (2, "In CRAM-MD5 the server begins. What is the answer to a client that began anyway?"),
    "B": (4, "When does this server say 535? What does a guesser of names learn?"),
    "C": (4, "Between MAIL and the end of the message: is AUTH allowed there?"),
    "D": (2, "`=` is a response, an empty one. To what does a server say 334: to no response, or to an empty one?"),
    "E": (0, "The client begins, without an initial response; the server asks with nothing; that is all in order."),
    "F": (4, "Somebody who is logged in need not do it again. May they?"),
}


@check(
    hints=(
        "Take the rules of §4 one by one: who begins, when is it allowed, how often, what does `=` mean?",
        "Two of the six are wrong in line 2, three in line 4.",
        "RFC 4954 §4 says who begins, what an initial response is, and what `=` means. It also says when AUTH is "
        "forbidden: after a success, and during a transaction. And a reply should not tell a guesser whether the "
        "name or the password was wrong.",
    ),
    passed="Each of these was found in a server that somebody uses.",
)
def check_auth_bugs(my_bugs: dict[str, Any]) -> Iterator[Problem]:
    """The line in which a server breaks a rule."""
    for name, (line, look) in BUGS.items():
        if (answer := my_bugs.get(name, ...)) is ...:
            raise NotYet(f"`{name}` is missing.")
        answer = as_number(answer)
        if not isinstance(answer, int) or not 0 <= answer <= 4:
            yield Problem(gave=f"{answer!r} for {name}", look="The number of a line, 1 to 4, or 0.")
        if answer in (1, 3):
            yield Problem(gave=f"line {answer} for {name}", look="The client says that. Which of the server's?")
        if answer != line:
            yield Problem(gave=f"line {answer} for {name}" if answer else f"no bug in {name}", look=look)


# --- exercise 2: half a pair -----------------------------------------------------------------------------------------

TOKEN = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
NOTE = b'{"status":"401","schemes":"bearer"}'


class XOAuth2(Mechanism):
    """The server's end: a token, or a challenge that wants an empty answer."""

    name = "XOAUTH2"
    turns = 2

    def __init__(self, heard: list[bytes]) -> None:
        self.heard = heard

    def examine(self, users: Users) -> Examination:
        response = yield b""
        self.heard.append(response)
        user, token = read_token(as_text(response))
        right = yield Work(lambda: users.verify(user, token))
        if not right:
            after = yield NOTE
            self.heard.append(after)
            raise AuthError("wrong token")
        return user


def read_token(text: str) -> tuple[str, str]:
    """User and token; raises BadResponse."""
    who, sep, rest = text.partition("\1auth=Bearer ")
    if not sep or not who.startswith("user=") or not rest.endswith("\1\1"):
        raise BadResponse("not of XOAUTH2's form")
    return who.removeprefix("user="), rest.removesuffix("\1\1")


@cache
def tokyo() -> Authority:
    """One certificate for all checks."""
    return certificates("mx.tokyo.example")


def log_in_by(mechanism: Any, token: str, tls: bool) -> tuple[CodedClientSession, list[bytes], Exception | None]:
    """One session at a server that has the other end: the client, what the server heard, what was raised."""
    heard: list[bytes] = []
    ours: list[Extension] = [Auth(Passwords({ANA: TOKEN}), mechanisms=[XOAuth2(heard)], insecure=True), Pipelining()]
    theirs: list[Extension] = [Auth(user=ANA, password=token, mechanisms=[mechanism]), Pipelining()]
    if tls:
        ours, theirs = [StartTLS(tokyo().server), *ours], [StartTLS(tokyo().client), *theirs]
    client = CodedClientSession("rio.example", check_requirements(theirs), host="mx.tokyo.example")
    server = serve(CodedSession("mx.tokyo.example", extensions=ExtensionSet(ours)))

    def opening() -> Conversation[None]:
        yield from open_session(client)
        yield from client.read_replies()

    try:
        rehearse(opening(), server, patient=True)
    except Exception as error:
        return client, heard, error
    return client, heard, None


OF_OCTETS = "`yield` bytes, not str. `\\1` is one octet. (Base64 is the frame's.)"
OF_THE_CALLER = "The user and the token are those that `respond` was given; the token is `password`."


@check(
    hints=(
        "Like LOGIN, this client may have to speak twice. What does a generator yield first, what then?",
        'turns = 2, and: if (yield f"user=…".encode()) is not None: yield b""',
        "A client of this mechanism says one response and usually is done. If the token is refused the server "
        "sends a challenge that explains why, and wants an empty response before its 535. So after the first "
        "`yield` look at what comes back: None is the end, anything else needs one more `yield`.",
    ),
    passed="A mechanism that the package has never seen, and it takes it as one of its own.",
)
def check_token(MyXOAuth2: Any) -> Iterator[Problem | None]:
    """XOAUTH2's client, at a server that has the other end."""
    if MyXOAuth2.respond.__qualname__.split(".")[0] == "Mechanism" or is_unsolved(MyXOAuth2.respond):
        raise NotYet("write `respond(self, user, password)`: what does it yield first?")
    client, heard, error = log_in_by(MyXOAuth2(), TOKEN, tls=True)
    right = f"user={ANA}\1auth=Bearer {TOKEN}\1\1".encode()
    if heard[:1] != [right]:
        formed = heard and heard[0].startswith(b"user=") and heard[0].endswith(b"\1\1")
        yield Problem(gave=f"{heard[0]!r}" if heard else f"nothing that a server could read: {error!r}",
                      wire=f"The server waits for {right!r}.", look=OF_THE_CALLER if formed else OF_OCTETS)
    if error or client.user != ANA:
        yield Problem(gave=f"a client that is not logged in with a good token: {error!r}",
                      look="When 235 has come, the generator is sent None. Is there anything left to say?")
    client, heard, error = log_in_by(MyXOAuth2(), "run-out", tls=True)
    if isinstance(error, SMTPAuthenticationError) and error.reply.code == 334:
        yield Problem(gave="a client that takes the server's second challenge for the end",
                      wire="The server waits for an empty response, and takes your next command for one.",
                      look="Does `respond` yield a second time when it is sent a challenge? If so, which flag of "
                      "`Mechanism` says how often the client may have to speak?")
    if not isinstance(error, SMTPAuthenticationError) or error.reply.code != 535:
        yield Problem(gave=f"{error!r} for a token that has run out", wire="It should end with the server's 535.",
                      look="The second challenge wants an empty response: one `yield` more.")
    if heard[1:] != [b""]:
        yield Problem(gave=f"{heard[1:]!r} as the response to the second challenge", look="It is empty: b\"\".")
    client, heard, error = log_in_by(MyXOAuth2(), TOKEN, tls=False)
    if heard or not isinstance(error, SMTPNotSupportedError):
        yield Problem(gave="a client that says the token in the clear",
                      wire="Eve reads the token, and is Ana until it runs out.",
                      look="Whoever reads along can use what they read. Which flag says so? What is its default?")


# --- exercise 3: break the server ------------------------------------------------------------------------------------

NAMES = ["ana@rio.example", "bob@rio.example", "carla@rio.example", "kenji@tokyo.example", "li@beijing.example", "ola"]


class Gossip(Login):
    """LOGIN that asks only those for a password who have one."""

    def examine(self, users: Users) -> Examination:
        user = as_text((yield b"Username:"))
        if users.secret(user) is None:
            raise AuthError("wrong")
        password = as_text((yield b"Password:"))
        if not users.verify(user, password):
            raise AuthError("wrong")
        return user


class Puzzled(Login):
    """LOGIN that asks a user whom it does not know for the form of the password."""

    def examine(self, users: Users) -> Examination:
        user = as_text((yield b"Username:"))
        password = as_text((yield b"Password:"))
        if users.secret(user) is None:
            raise BadResponse("no such user")
        if not users.verify(user, password):
            raise AuthError("wrong")
        return user


class Call:
    """A server at the other end of a line, in memory: say a line, get the reply as text."""

    def __init__(self, conversation: Conversation[Any]) -> None:
        self.actor = Actor(conversation, Channel("S"))
        self.take()

    def take(self) -> str:
        return b"".join(flights(self.actor)).decode().strip()

    def __call__(self, line: str) -> str:
        if self.actor.done:
            raise ConnectionError("the server has hung up: dial again")
        self.actor.channel.receive(line.encode() + b"\r\n")
        return self.take()


def census_of(my_census: Callable[..., Any], mechanism: Mechanism, present: list[str]) -> Any:
    """What the learner's function finds out at a server with these users."""
    known = Auth(Passwords(dict.fromkeys(present, "correct horse battery")), mechanisms=[mechanism])

    def call() -> Call:
        session = CodedSession("mx.tokyo.example", extensions=ExtensionSet([known]), secure=True)
        line = Call(serve(session))
        line("EHLO mallory.example")
        return line

    return my_census(call, list(NAMES))


@check(
    hints=(
        "Say `AUTH LOGIN`, a name, a password that is surely wrong: what differs between two names?",
        "Note all the replies for each name, and compare them with those for a name that nobody has.",
        "A guesser tries each name with a password that is surely wrong and notes everything the server says. A "
        "name that nobody has gives the replies of a stranger. Each name whose replies differ from those, in code, "
        "text or number, exists.",
    ),
    passed="Any difference tells: another code, another text, another question. Ours shows none.",
)
def check_census(my_census: Callable[..., Any]) -> Iterator[Problem | None]:
    """Who exists, at servers that say too much."""
    weak: list[tuple[str, Mechanism]] = [("refuses a stranger before the password", Gossip()),
                                         ("has another code for strangers", Puzzled())]
    for what, mechanism in weak:
        for present in ([NAMES[0], NAMES[3]], NAMES[1:5], [NAMES[4]]):
            found = census_of(my_census, mechanism, present)
            found = list(found) if isinstance(found, Iterator) else found
            if found is None or found is ...:
                raise NotYet("return the list of those who exist.")
            if not isinstance(found, list | tuple | set) or sorted(map(str, found)) != sorted(present):
                yield Problem(gave=f"{found!r} at the server that {what}", wire=f"There were {present!r}.",
                              look="Print every reply for two names. What differs? (Names go in base64: `encode64`.)")
    found = census_of(my_census, Login(), [NAMES[0], NAMES[3]])
    found = list(found) if isinstance(found, Iterator) else found
    if found or not isinstance(found, list | tuple | set):
        yield Problem(gave=f"{found!r} at our server", wire="It tells nobody apart: all six got the same replies.",
                      look="Compare with the replies for a name that surely nobody has.")


# --- exercise 4: what it costs ---------------------------------------------------------------------------------------

METHODS: dict[str, Mechanism] = {"PLAIN": Plain(), "LOGIN": Login(), "CRAM-MD5": CramMd5()}


@cache
def seconds(name: str, pipelining: bool) -> float:
    """How long a session takes on a line with a round trip of one second."""
    def side(context: Any, *auth: Extension) -> list[Extension]:
        return [StartTLS(context), *([Pipelining()] if pipelining else []), *(auth if name else [])]

    methods = [METHODS[name]] if name else []
    known = Auth(user=ANA, password=TIDES, mechanisms=methods)
    client = CodedClientSession("rio.example", check_requirements(side(tokyo().client, known)), host="mx.tokyo.example")
    extensions = ExtensionSet(side(tokyo().server, Auth(Passwords({ANA: TIDES}), mechanisms=methods)))
    server = serve(CodedSession("mx.tokyo.example", extensions=extensions))

    def talk() -> Conversation[None]:
        yield from open_session(client)
        message = OutgoingMessage(Envelope(ANA, ["kenji@tokyo.example"]), [b"Subject: The choir\r\n\r\n"])
        yield from Plan(client, message).run()
        yield from leave(client)

    return rehearse(talk(), server, latency=0.5).seconds


@check(
    hints=(
        "How often must the client hear something before it can say the next thing?",
        "Count one for each challenge, and one for the reply to the last response, unless MAIL may fly with it.",
        "The client spends a round trip whenever it must hear something before it can speak. Each challenge costs "
        "one, and the last reply to AUTH costs one more. With PIPELINING that last one is free if MAIL flies in the "
        "same flight as the response. That is possible only when the client need not wait for a challenge.",
    ),
    passed="PLAIN under PIPELINING is free. Every question that waits for an answer costs the length of the line.",
)
def check_price(my_price: dict[str, dict[str, Any]]) -> Iterator[Problem]:
    """Round trips that AUTH adds to a session under TLS."""
    if not isinstance(my_price, dict) or not all(isinstance(row, dict) for row in my_price.values()):
        yield Problem(gave=repr(my_price)[:200], look="Two rows, and a number of round trips for each mechanism.")
        return
    for how in my_price:
        if how not in ("one at a time", "PIPELINING"):
            yield Problem(gave=f"a row {how!r}", look="The rows are `one at a time` and `PIPELINING`.")
    for how in ("one at a time", "PIPELINING"):
        for name in METHODS:
            answer = as_number(my_price.get(how, {}).get(name, ...))
            if answer is ...:
                raise NotYet(f"`{how}`, {name} is missing.")
            truth = seconds(name, how == "PIPELINING") - seconds("", how == "PIPELINING")
            if answer != truth:
                yield Problem(gave=f"{answer!r} for {name}, {how}", look=look_at(name, how))


def look_at(name: str, how: str) -> str:
    """Where the round trips are."""
    if name == "PLAIN":
        return ("AUTH with its initial response, and 235: how often does the client wait?" if how != "PIPELINING" else
                "May MAIL leave before AUTH PLAIN is answered, when the response came with it?")
    return (f"Write down the lines of AUTH {name} in our client: it waits before each line that answers a challenge, "
            "and before it may go on.")
