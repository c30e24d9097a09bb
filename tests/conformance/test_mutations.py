"""One rule at a time is taken from the extensions of our server: some dialogue must notice each time."""
from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

import smtp_from_scratch.smtp.server as front_door
from smtp_from_scratch import auth, bodies, chunking, dsn, ehlo, scram, starttls, submission
from smtp_from_scratch import session as rules
from smtp_from_scratch.channel import Channel
from smtp_from_scratch.conformance.server.player import Difference
from smtp_from_scratch.conformance.server.runner import Target, all_dialogues, obstacle
from smtp_from_scratch.dsn import Dsn
from smtp_from_scratch.envelope import BodyCutter
from smtp_from_scratch.smtputf8 import SmtpUtf8
from smtp_from_scratch.status import CodedSession
from smtp_from_scratch.wire import REPLY_LIMIT, Inbox, Reply
from tests.ours import MAX_SIZE, ROLES, Role, rehearsed

DIALOGUES = [dialogue for dialogue in all_dialogues() if dialogue.end == "server"]
MUTATIONS: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None]]] = {}
FINE = Reply(250, "fine")


def mutation(rfc: str, rule: str) -> Callable[[Callable[[pytest.MonkeyPatch], None]], None]:
    """Register a function that removes a rule."""
    def register(remove: Callable[[pytest.MonkeyPatch], None]) -> None:
        assert f"{rfc}: {rule}" not in MUTATIONS
        MUTATIONS[f"{rfc}: {rule}"] = rfc, remove

    return register


def change(rfc: str, rule: str, *changes: tuple[Any, str, Any]) -> None:
    """Register replacements: place, name, what stands there instead."""
    @mutation(rfc, rule)
    def remove(patch: pytest.MonkeyPatch) -> None:
        for place, name, value in changes:
            patch.setattr(place, name, value)


def moves(rfc: str, rule: str, extension: Any, verb: str, **changes: Any) -> None:
    """Register a change of an extension's row in the table of verbs."""
    whole = extension.verbs
    change(rfc, rule, (extension, "verbs", lambda self: {verb: replace(whole(self)[verb], **changes)}))


# --- RFC 5321: EHLO and parameters -----------------------------------------------------------------------------------

_check, _read = ehlo.check_parameters, ehlo.read_parameters


def end_now(cutter: BodyCutter, data: bytes) -> tuple[bytes, bytes]:
    """A body is over, and what remains of it is taken for commands."""
    cutter.ended = True
    return b"", data


def last_wins(text: str) -> Any:
    """Repeated parameters, the last of which counts."""
    words = dict.fromkeys(word.partition("=")[0].upper() for word in text.split())
    return _read(text) if len(words) == len(text.split()) else dict.fromkeys(words, "1")


def deaf_to_nonsense(text: str) -> Any:
    found = _read(text)
    return {} if isinstance(found, Reply) and "not a parameter" in found.text else found


def with_row(verb: str, **changes: Any) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setitem(ehlo.EXTENDED_VERBS, verb, replace(ehlo.EXTENDED_VERBS[verb], **changes))


def drop_what_was_pipelined(self: Inbox, limit: int = 512, whole: Any = Inbox.line) -> bytes | None:
    line = whole(self, limit)
    if line is not None and limit != REPLY_LIMIT:
        self._data, self._start = b"", 0
    return line


def lax_order(verb: str, *states: str) -> Callable[[pytest.MonkeyPatch], None]:
    def remove(patch: pytest.MonkeyPatch) -> None:
        row = ehlo.EXTENDED_VERBS.get(verb) or rules.VERBS[verb]
        leads = next(iter(row.moves.values()))
        patch.setitem(ehlo.EXTENDED_VERBS, verb, replace(row, moves={**row.moves, **dict.fromkeys(states, leads)}))

    return remove


change("5321", "an unknown parameter is refused",
       (ehlo, "check_parameters", lambda session, verb, given: _check(session, verb, {
           name: value for name, value in given.items() if name in session.extensions.parameters.get(verb, {})})))
change("5321", "a parameter is given once", (ehlo, "read_parameters", last_wins))
change("5321", "what is no parameter is refused", (ehlo, "read_parameters", deaf_to_nonsense))
change("5321", "a space stands before parameters",
       (ehlo, "read_parameters", lambda text: _read(" " + text.lstrip()) if text else {}))
mutation("5321", "EHLO names a host")(with_row("EHLO", handler=lambda s, a: ehlo.ehlo(s, a or "nobody")))
mutation("5321", "EHLO ends a transaction")(with_row("EHLO", handler=lambda s, a: FINE, moves=rules.STAY
                                                     | {"start": "ready"}))
mutation("5321", "EHLO lists what is offered")(with_row("EHLO", handler=rules.helo))
mutation("5321", "RCPT needs MAIL")(lax_order("RCPT", "ready"))
mutation("5321", "DATA needs a recipient")(lax_order("DATA", "mail"))
mutation("5321", "MAIL does not come twice")(lax_order("MAIL", "mail", "rcpt"))
mutation("5321", "a session begins with EHLO")(lax_order("MAIL", "start"))
change("5321", "commands may be longer with extensions", (ehlo.ExtensionSet, "_octets", lambda self, verb: 0))

_spool, _add = bodies.Spool.__init__, bodies.Spool.add

# --- RFC 1870 --------------------------------------------------------------------------------------------------------

change("1870", "too large a SIZE= is refused at MAIL", (ehlo.Size, "check_size", lambda self, session, value: (
    None if value and value.isdigit() else Reply(501, "a number"))))
change("1870", "SIZE= is a number", (ehlo.Size, "check_size", lambda self, session, value: (
    Reply(552, "too large") if value and value.isdigit() and int(value) > session.limits.max_size else None)))
change("1870", "a body is measured", (bodies.Spool, "__init__", lambda self, limit, memory, binary=False: (
    _spool(self, None, memory, binary))))
change("1870", "a message too large is read to its end", (rules, "BodyCutter", type("Cutter", (BodyCutter,), {
    "seen": 0, "cut": lambda self, data: (setattr(self, "seen", self.seen + len(data)), (
        BodyCutter.cut if self.seen <= MAX_SIZE else end_now)(self, data))[1]})))
change("1870", "SIZE is announced with its number", (ehlo.Size, "advertise", lambda self, session: "SIZE many"))

# --- RFC 2034, 6152, 2920 --------------------------------------------------------------------------------------------

_coded = CodedSession.reply


def codes(rule: str, pick: Callable[[Any, Reply], str]) -> None:
    change("2034", rule, (CodedSession, "reply", lambda self, plain, verb=None: (
        replace(whole := _coded(self, plain, verb), enhanced=pick(self, whole)))))


codes("refusals have codes", lambda session, reply: reply.enhanced if reply.positive else "")
codes("good news has codes", lambda session, reply: "" if reply.positive else reply.enhanced)
codes("a code has the reply's class", lambda session, reply: reply.enhanced and "2.0.0")
codes("354 has none", lambda session, reply: "2.0.0" if reply.code == 354 else reply.enhanced)
codes("EHLO's reply has none", lambda session, reply: "2.0.0" if session.verb == "EHLO" else reply.enhanced)
change("2034", "the greeting has none", (front_door, "serve", lambda session: greeting_coded(rules.serve(session))))


def greeting_coded(talk: Any) -> Any:
    yield replace(next(talk), enhanced="2.0.0")
    yield from talk


change("2034", "every line has the code", (CodedSession, "reply", lambda self, plain, verb=None: (
    whole if not (whole := _coded(self, plain, verb)).enhanced else Reply(
        whole.code, f"{whole.enhanced} {whole.text}"))))

change("6152", "BODY= has two values", (ehlo.EightBitMime, "parameters", lambda self: {
    "MAIL": {"BODY": ehlo.Parameter(lambda session, value: None, octets=17)}}))
change("6152", "eight bits are carried", (rules, "BodyCutter", type("Cutter", (BodyCutter,), {
    "cut": lambda self, data: (end_now(self, data) if not data.isascii() else BodyCutter.cut(self, data))})))

change("2920", "what was pipelined is not thrown away", (Inbox, "line", drop_what_was_pipelined))
change("2920", "PIPELINING stands alone", (ehlo.Extension, "advertise", lambda self, session: f"{self.keyword} 100"))

# --- RFC 3030 --------------------------------------------------------------------------------------------------------

_bdat, _parse, _spool_of = chunking.bdat, chunking.parse_bdat, chunking.spool_of


def refused_unread(session: Any, argument: str) -> Any:
    if _spool_of(session) is None and _parse(argument):
        return Reply(503, "MAIL and RCPT come first")
    return (yield from _bdat(session, argument))


def any_number(argument: str) -> tuple[int, bool] | None:
    """What a lenient reader makes of a chunk's size."""
    match = re.match(r"[-+]?(?:0x)?(\d+)", argument)
    return (int(match[1]), "LAST" in argument.upper()) if match else None


def early_chunks(session: Any) -> Any:
    if "spool" not in session.resources and session.state == "mail":
        session.resources["spool"] = bodies.Spool(session.limits.max_size, session.limits.memory)
    return _spool_of(session)


def only_for(extension: Any, *verbs: str) -> Callable[..., Reply | None]:
    whole = extension.check
    return lambda self, session, command: whole(self, session, command) if command.verb in verbs else None


def bodies_without_end(session: Any, argument: str) -> Any:
    reply = yield from _bdat(session, argument)
    if reply.positive and argument.upper().endswith("LAST"):
        session.state = "rcpt"
        session.envelope.recipients.append("somebody@mx.example.org")
    return reply


change("3030", "the octets of a refused BDAT are read", (chunking, "bdat", refused_unread))
change("3030", "a size is made of digits", (chunking, "parse_bdat", any_number))
change("3030", "a size of 2 to the 32nd is large", (chunking, "parse_bdat", lambda argument: (
    (found[0] & 0xFFFF_FFFF, found[1]) if (found := _parse(argument)) else None)))
change("3030", "no DATA after BDAT", (chunking.Chunking, "check", only_for(chunking.Chunking, "RCPT")))
change("3030", "no RCPT after BDAT", (chunking.Chunking, "check", only_for(chunking.Chunking, "DATA")))
change("3030", "BDAT needs a recipient", (chunking, "spool_of", early_chunks))
change("3030", "LAST may be written small", (chunking, "parse_bdat", lambda argument: (
    None if "last" in argument else _parse(argument))))
change("3030", "an empty chunk may be the last", (chunking, "parse_bdat", lambda argument: (
    found if (found := _parse(argument)) != (0, True) else None)))
change("3030", "all chunks together are measured", (bodies.Spool, "add", lambda self, block: (
    setattr(self, "octets", 0), _add(self, block))[1]))
change("3030", "RSET gives chunks up", (rules.Session, "release", lambda self: None))
change("3030", "a transaction ends with its last chunk", (chunking, "bdat", bodies_without_end))
change("3030", "no DATA for a binary message", (chunking.BinaryMime, "check", ehlo.Extension.check))
change("3030", "BODY=BINARYMIME is a value", (chunking.BinaryMime, "parameters", lambda self: {}))
change("3030", "a binary message has any octets", (bodies.Spool, "__init__", lambda self, limit, memory, _=False: (
    _spool(self, limit, memory))))
change("3030", "every chunk is answered", (chunking, "bdat", lambda session, argument: (
    silent(_bdat(session, argument)))))


def silent(talk: Any) -> Any:
    reply = yield from talk
    return None if "so far" in reply.text else reply


# --- RFC 3207 --------------------------------------------------------------------------------------------------------


def keep_unread(self: Channel, layer: Any) -> None:
    self._sealed, self.layer = self.output(), layer


def keep(*names: str) -> Callable[[Any], None]:
    """Forget all but some things when TLS begins."""
    def restart(session: Any, whole: Any = ehlo.ExtendedSession.restart) -> None:
        kept = {name: getattr(session, name) for name in names}
        hello = session.envelope.hello
        whole(session)
        for name, value in kept.items():
            setattr(session, name, value)
        session.envelope.hello = session.envelope.hello or hello

    return restart


def again(self: Any, session: Any, argument: str) -> Any:
    if argument or not session.extended:
        return Reply(501, "no")
    yield Reply(220, "again")
    yield from starttls.secure_server(session, self.context)
    return None


change("3207", "TLS forgets the state", (ehlo.ExtendedSession, "restart", keep("state", "extended")))
change("3207", "TLS forgets EHLO's name", (ehlo.ExtendedSession, "restart", lambda session: None))
change("3207", "what was said before the handshake is not obeyed", (Channel, "upgrade", keep_unread))
change("3207", "STARTTLS is not offered under TLS", (starttls.StartTLS, "advertise", lambda self, session: "STARTTLS"))
change("3207", "STARTTLS does not come twice", (starttls.StartTLS, "starttls", again))
change("3207", "STARTTLS stands alone", (starttls.StartTLS, "starttls", lambda self, session, argument, whole=(
    starttls.StartTLS.starttls): whole(self, session, "")))
change("3207", "STARTTLS is said to be ready with 220", (starttls.StartTLS, "starttls", lambda self, session, arg: (
    Reply(454, "not now"))))

# --- RFC 4954 and mechanisms -----------------------------------------------------------------------------------------

_examine, _auth = auth.examine, auth.auth


def open_line(self: Any, session: Any) -> str:
    return " ".join(["AUTH", *(m.name for m in self.possible)])


def stars_are_answers(mechanism: Any, users: Any, initial: bytes | None) -> Any:
    talk = _examine(mechanism, users, initial)
    said = next(talk)
    while True:
        try:
            heard = yield said
            said = talk.send(encoded if heard == b"*" and (encoded := b"Kg==") else heard)
        except StopIteration as end:
            return end.value


def loose64(text: str) -> bytes:
    return base64.b64decode("".join(c for c in text if c.isalnum() or c in "+/") + "===")


def twice(extension: Any, session: Any, argument: str) -> Any:
    session.user = ""
    return (yield from _auth(extension, session, argument))


def anybody(self: Any, users: Any) -> Any:
    yield b""
    return "tim"


def lenient(self: Any, users: Any) -> Any:
    user, password = (yield b"").split(b"\0")[-2:]
    if not users.verify(user.decode(), password.decode()):
        raise auth.AuthError
    return user.decode()


def forget_user(session: Any, whole: Any = rules.Session.reset) -> None:
    session.user = ""
    whole(session)


change("4954", "AUTH is not offered in the clear", (auth.Auth, "advertise", open_line))
change("4954", "AUTH is refused in the clear", (auth, "auth", lambda extension, session, argument: (
    insecurely(extension, session, argument))))


def insecurely(extension: Any, session: Any, argument: str) -> Any:
    secure, session.secure = session.secure, True
    try:
        return (yield from _auth(extension, session, argument))
    finally:
        session.secure = secure


moves("4954", "no AUTH in a transaction", auth.Auth, "AUTH", moves=rules.STAY)
change("4954", "no second AUTH", (auth, "auth", twice))
change("4954", "* gives up", (auth, "examine", stars_are_answers))
change("4954", "base64 is base64", (auth, "decode64", loose64), (scram, "decode64", loose64))
change("4954", "AUTH= names a mailbox", (auth, "check_auth", lambda session, value: None))
change("4954", "AUTH= is known", (auth.Auth, "parameters", lambda self: {}))
change("4954", "an unknown mechanism is refused", (auth, "auth", lambda extension, session, argument: (
    _auth(extension, session, argument if argument.partition(" ")[0].upper() in ("PLAIN", "LOGIN", "CRAM-MD5")
          or "SCRAM" in argument else "PLAIN"))))
change("4954", "mechanisms may be written small", (auth, "auth", lambda extension, session, argument: (
    _auth(extension, session, argument) if argument.partition(" ")[0].isupper() else never(Reply(504, "no")))))
change("4954", "a line of AUTH may be long", (auth, "AUTH_LIMIT", 300))
change("4954", "RSET keeps who logged in", (rules.Session, "reset", forget_user))
change("4954", "mail needs AUTH where it is required", (auth.Auth, "check", ehlo.Extension.check))
change("4954", "235 says so", (auth, "auth", lambda extension, session, argument: (
    renamed(_auth(extension, session, argument)))))
change("4616", "a password is compared", (auth.Plain, "examine", anybody))
change("4616", "PLAIN has three parts", (auth.Plain, "examine", lenient))
change("4616", "nobody acts for somebody else", (auth.Plain, "examine", lambda self, users, whole=auth.Plain.examine: (
    without_identity(whole(self, users)))))
change("2195", "CRAM-MD5 has no initial response", (auth.CramMd5, "takes_initial", True))
change("2195", "a digest is compared", (auth, "cram_md5", lambda secret, challenge: ""), (
    auth.hmac, "compare_digest", lambda one, other: True))


def renamed(talk: Any) -> Any:
    reply = yield from talk
    return Reply(250, reply.text) if reply and reply.code == 235 else reply


def never(reply: Reply) -> Any:
    yield from ()
    return reply


def without_identity(exam: Any) -> Any:
    said, answer = next(exam), None
    while True:
        answer = yield said
        if isinstance(answer, bytes):
            answer = b"\0" + answer.partition(b"\0")[2]
        try:
            said = exam.send(answer)
        except StopIteration as end:
            return end.value


# --- RFC 6531 --------------------------------------------------------------------------------------------------------

_utf8 = SmtpUtf8.check
change("6531", "UTF-8 must be announced", (SmtpUtf8, "check", lambda self, session, command: (
    refusal if (refusal := _utf8(self, session, command)) and refusal.code == 501 else None)))
change("6531", "SMTPUTF8 has no value", (SmtpUtf8, "parameters", lambda self: {
    "MAIL": {"SMTPUTF8": ehlo.Parameter(lambda session, value: None, octets=10)}}))
change("6531", "8BITMIME is offered, too", (ehlo.EightBitMime, "advertise", lambda self, session: None))
mutation("6531", "VRFY takes SMTPUTF8")(lambda patch: patch.setitem(ehlo.EXTENDED_VERBS, "VRFY", replace(
    rules.VERBS["VRFY"], handler=lambda session, argument: (
        Reply(501, "whom?") if " " in argument else rules.vrfy(session, argument)))))

# --- RFC 5802 and 7677 -----------------------------------------------------------------------------------------------

_attributes, _client_first, _scram = scram.attributes, scram.client_first, scram.ScramSha256.examine


class Equal(list[str]):
    """Whatever it is compared with."""

    def __ne__(self, other: object) -> bool:
        return False


def liberal(message: str, names: str) -> list[str]:
    """Whatever a client's first message has behind its nonce, or before its name."""
    return _attributes(message.removeprefix("m=x,").replace("m=", "x="), names)


def retold(change: Callable[[bytes], bytes]) -> Callable[[Any, Any], Any]:
    """What the server says in SCRAM, changed."""
    def examine(self: Any, users: Any) -> Any:
        exam = _scram(self, users)
        said = next(exam)
        while True:
            answer = yield change(said) if isinstance(said, bytes) else said
            try:
                said = exam.send(answer)
            except StopIteration as end:
                return end.value

    return examine


change("7677", "a proof is compared", (scram, "proves", lambda keys, spoken, proof: True))
change("7677", "a proof may be too short", (scram, "proves", lambda keys, spoken, proof: (
    len(proof) < 32 or _proves(keys, spoken, proof))))
change("7677", "nonce and binding are compared", (scram, "attributes", lambda message, names: (
    Equal() if names == "cr" else _attributes(message, names))))
change("7677", "every exchange has its nonce", (scram, "secrets", type("Constant", (), {
    "token_urlsafe": staticmethod(lambda count: "x"), "token_bytes": staticmethod(lambda count: b"x" * count)})))
change("7677", "the server proves itself, too", (scram.ScramSha256, "examine", retold(
    lambda said: b"v=" + base64.b64encode(bytes(32)) if said.startswith(b"v=") else said)))
change("7677", "at least 4096 iterations", (scram.ScramSha256, "examine", retold(
    lambda said: said.replace(b",i=4096", b",i=4095"))))
change("7677", "no binding that we do not have", (scram, "client_first", lambda message: (
    re.findall("^[^,]*,[^,]*,", message)[0], *_client_first(re.sub("^p=[^,]*", "n", message))[1:])))
change("7677", "a header begins with n, y or p", (scram, "client_first", lambda message: (
    _client_first("n" + message[1:] if message[1:2] == "," else message))))
change("7677", "what must be understood, and is not, is refused", (scram, "attributes", liberal))
change("7677", "nobody acts for somebody else", (scram, "client_first", lambda message: (
    (header := _client_first(message))[0], "", *header[2:])))
change("7677", "who is unknown has the same salt every time", (scram, "decoy", lambda secret, user, *iterations: (
    _decoy(secret + next(NUMBERS).to_bytes(), user, *iterations))))

_proves, _decoy, NUMBERS = scram.proves, scram.decoy, iter(range(256))

# --- RFC 3461 and 6409 -----------------------------------------------------------------------------------------------


def on_mail(**changes: ehlo.Parameter) -> tuple[Any, str, Any]:
    """Other parameters of MAIL than DSN has."""
    return Dsn, "parameters", lambda self: {"MAIL": dsn.ON_MAIL | changes, "RCPT": dsn.ON_RCPT}


def on_rcpt(**changes: ehlo.Parameter) -> tuple[Any, str, Any]:
    return Dsn, "parameters", lambda self: {"MAIL": dsn.ON_MAIL, "RCPT": dsn.ON_RCPT | changes}


def lax(parameter: ehlo.Parameter, takes: Callable[[str | None], Any]) -> ehlo.Parameter:
    """A parameter that also takes the values that `takes` says."""
    return replace(parameter, check=lambda session, value: None if takes(value) else parameter.check(session, value))


_RET, _ENVID, _NOTIFY, _ORCPT = dsn.ON_MAIL["RET"], dsn.ON_MAIL["ENVID"], dsn.ON_RCPT["NOTIFY"], dsn.ON_RCPT["ORCPT"]
change("3461", "RET= has two values", on_mail(RET=lax(_RET, bool)))
change("3461", "RET= has a value", on_mail(RET=lax(_RET, lambda value: not value)))
change("3461", "ENVID= is xtext", on_mail(ENVID=lax(_ENVID, bool)))
change("3461", "ENVID= hides no line end", on_mail(ENVID=dsn.readable(auth.decode_xtext, "", 107)))
change("3461", "NOTIFY= has three values", on_rcpt(NOTIFY=lax(_NOTIFY, bool)))
change("3461", "NEVER stands alone", on_rcpt(NOTIFY=lax(_NOTIFY, lambda value: "NEVER" in str(value))))
change("3461", "NOTIFY= has a value", on_rcpt(NOTIFY=lax(_NOTIFY, lambda value: not value)))
change("3461", "NOTIFY= takes a list", on_rcpt(NOTIFY=ehlo.one_of("NEVER", *dsn.EVENTS, octets=30)))
change("3461", "ORCPT= has a type", on_rcpt(ORCPT=lax(_ORCPT, lambda value: ";" not in str(value))))
change("3461", "ORCPT= is xtext", on_rcpt(ORCPT=lax(_ORCPT, bool)))
change("3461", "parameters of RCPT are none of MAIL", on_mail(**dsn.ON_RCPT))
change("3461", "parameters of MAIL are none of RCPT", on_rcpt(**dsn.ON_MAIL))
change("3461", "DSN is offered alone", (Dsn, "advertise", lambda self, session: "DSN NOTIFY"))
change("6409", "a message without Date is mended", (submission, "additions", lambda start, user, hostname, utf8: (
    b"" if b"Date:" in start else Reply(554, "a letter has a date"))))

# --- each of them must be noticed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_server_without_this_rule_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rfc, remove = MUTATIONS[name]
    targets = {role: role.target for role in ROLES.values()}        # asked while the rule is still there
    remove(monkeypatch)
    assert any(caught(rfc, near, role, target) for near in (True, False)
               for role, target in (*targets.items(), *asked_again())), "no dialogue notices"


def asked_again() -> Iterator[tuple[Role, Target]]:
    """What roles offer without the rule."""
    for role in ROLES.values():
        yield role, replace(role).target


def caught(rfc: str, near: bool, role: Role, target: Target) -> str:
    """The first dialogue of this RFC, or, if not `near`, of another one, that a server in this role fails."""
    chosen = [d for d in DIALOGUES if (d.rfc == rfc) == near and not obstacle(d, target)]
    with role.sessions() as session:
        for dialogue in chosen:
            try:
                rehearsed(dialogue, target, session)
            except Difference:
                return dialogue.title
    return ""


def test_there_are_many() -> None:
    assert len(MUTATIONS) >= 90
