"""The server's session, rehearsed: every verb in every state, every error, every octet at which a line breaks."""
from __future__ import annotations

import io
import logging
from collections.abc import Callable, Generator, Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smtp_from_scratch import bodies
from smtp_from_scratch.conversation import Closing, Conversation, Line, Timeout, rehearse
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.session import STATES, VERBS, Limits, Session, one_reply, serve
from smtp_from_scratch.wire import HOPELESS, Reply, parse_reply

HELO, MAIL, RCPT = "HELO rio.example", "MAIL FROM:<ana@rio.example>", "RCPT TO:<kenji@tokyo.example>"
WAY = {"start": [], "ready": [HELO], "mail": [HELO, MAIL], "rcpt": [HELO, MAIL, RCPT]}
LETTER = b"Subject: Choir\r\n\r\nMonday, 8 pm.\r\n"
OPENING = f"{HELO}\r\n{MAIL}\r\n{RCPT}\r\nDATA\r\n".encode()


def pour(data: bytes) -> Conversation[None]:
    """A client that says everything at once, listens to nothing and hangs up."""
    yield data


class Kept(list[tuple[Envelope, bytes]]):
    """A delivery that keeps what it is given."""

    def __call__(self, envelope: Envelope, body: Any) -> None:
        self.append((envelope, body.read()))


def replies_to(data: bytes | Iterable[str], session: Session | None = None,
               cut: Callable[[bytes], Iterable[bytes]] | None = None) -> list[Reply]:
    """What a session says to these octets or lines, the greeting left out."""
    if not isinstance(data, bytes):
        data = "".join(f"{line}\r\n" for line in data).encode()
    rehearsal = rehearse(pour(data), serve(session or Session("mail.tokyo.example")), cut=cut)
    said = [parse_reply(entry.data.split(b"\r\n")[:-1]) for entry in rehearsal.said if entry.role == "S"]
    assert said[0].code == 220
    return said[1:]


def codes(data: bytes | Iterable[str], session: Session | None = None, **options: Any) -> list[int]:
    return [reply.code for reply in replies_to(data, session, **options)]


# -- every verb in every state --

ARGUMENTS = {"HELO": " rio.example", "MAIL": " FROM:<ana@rio.example>", "RCPT": " TO:<yui@tokyo.example>",
             "VRFY": " kenji"}
EXPECTED = {                                            # start, ready, mail, rcpt
    "HELO": (250, 250, 250, 250),
    "MAIL": (503, 250, 503, 503),
    "RCPT": (503, 503, 250, 250),
    "DATA": (503, 503, 503, 354),
    "RSET": (250, 250, 250, 250),
    "NOOP": (250, 250, 250, 250),
    "QUIT": (221, 221, 221, 221),
    "VRFY": (252, 252, 252, 252),
    "HELP": (214, 214, 214, 214),
    "EXPN": (502, 502, 502, 502),
    "EHLO": (500, 500, 500, 500),
    "DEBUG": (500, 500, 500, 500),
}
AFTER = {                                               # where a positive reply leads
    "HELO": ("ready",) * 4,
    "MAIL": ("start", "mail", "mail", "rcpt"),
    "RCPT": ("start", "ready", "rcpt", "rcpt"),
    "RSET": ("start", "ready", "ready", "ready"),
    "QUIT": ("closed",) * 4,
}


def test_the_table_is_examined_whole() -> None:
    assert set(VERBS) == set(EXPECTED) - {"EHLO", "DEBUG"}
    assert tuple(WAY) == STATES[:-1]


@pytest.mark.parametrize("state", WAY)
@pytest.mark.parametrize("verb", EXPECTED)
@pytest.mark.parametrize("case", [str.upper, str.lower, str.title], ids=["upper", "lower", "title"])
def test_every_verb_in_every_state(verb: str, state: str, case: Callable[[str], str]) -> None:
    session, column = Session("mail.tokyo.example"), list(WAY).index(state)
    said = codes([*WAY[state], case(verb) + ARGUMENTS.get(verb, "")], session)
    assert said[len(WAY[state]) :] == [EXPECTED[verb][column]]
    assert session.state == AFTER.get(verb, tuple(WAY))[column]


@pytest.mark.parametrize(("line", "state", "code"), [
    ("", "ready", 500), (" ", "ready", 500), (" NOOP", "ready", 500), ("NOOP\tx", "ready", 500), ("FROB", "ready", 500),
    ("NOOPS", "ready", 500), ("MAIL", "ready", 501), ("HELO", "start", 501), ("HELO a b", "start", 501),
    ("HELO a\x1b[2J", "start", 501), ("HELO \x7f", "start", 501), ("HELO   ", "start", 501),
    ("HELO [192.0.2.1]", "start", 250), ("HELO rio.example  ", "start", 250),
    ("MAIL ana@rio.example", "ready", 501), ("MAIL FROM ana@rio.example", "ready", 501),
    ("MAIL FROM:", "ready", 501), ("MAIL FROM:ana@rio.example", "ready", 501), ("MAIL TO:<a@b>", "ready", 501),
    ("MAIL FROM:<ana@rio.example", "ready", 501), ("MAIL FROM:<ana>", "ready", 501),
    ("MAIL FROM:<a@b@c>", "ready", 501),
    ("MAIL FROM:<postmaster>", "ready", 501), ("MAIL FROM:<a b@c>", "ready", 501), ("MAIL FROM:<a@-b>", "ready", 501),
    ("MAIL FROM:<a@b> SIZE=1", "ready", 501), ("MAIL FROM:<a@b>x", "ready", 501),
    ("MAIL FROM:<a@b><c@d>", "ready", 501),
    ("MAIL FROM:<a@[300.1.1.1]>", "ready", 501), (f"MAIL FROM:<{'a' * 65}@b>", "ready", 501),
    ("MAIL FROM:<>", "ready", 250), ("MAIL FROM: <a@b>", "ready", 250), ("mail from:<a@b>", "ready", 250),
    ('MAIL FROM:<"a b"@c>', "ready", 250), ("MAIL FROM:<@x,@y:a@b>", "ready", 250), ("MAIL FROM:<a@b> ", "ready", 250),
    ("RCPT", "mail", 501), ("RCPT FROM:<a@b>", "mail", 501), ("RCPT TO:a@b", "mail", 501), ("RCPT TO:<>", "mail", 501),
    ("RCPT TO:<a@b> NOTIFY=NEVER", "mail", 501), ("RCPT TO:<\"|/bin/sh\">", "mail", 501),
    ("RCPT TO:<|sh@b>", "mail", 250),
    ("RCPT TO:<Postmaster>", "mail", 250), ("RCPT TO:<POSTMASTER@tokyo.example>", "mail", 250),
    ("DATA now", "rcpt", 501), ("RSET now", "rcpt", 501), ("QUIT now", "ready", 501), ("VRFY", "ready", 501),
    ("NOOP whatever", "ready", 250), ("HELP MAIL", "ready", 214), ("HELP mail", "ready", 214),
    ("HELP FROB", "ready", 504), ("EXPN", "ready", 502),
])
def test_syntax(line: str, state: str, code: int) -> None:
    session = Session("mail.tokyo.example")
    said = codes([*WAY[state], line, "NOOP"], session)[len(WAY[state]) :]
    assert said == [code, 250]
    assert code < 400 or session.state == state, "a refused command moves nothing"


@pytest.mark.parametrize("state", WAY)
@pytest.mark.parametrize(("line", "code"), [
    (b"NOOP\n", 500), (b"NOOP\r", 500), (b"NOOP a\rMAIL FROM:<x@y>", 500), (b"NOOP\nQUIT", 500), (b"\n", 500),
    (b"NO\0OP", 501), (b"\0", 501), (b"NOOP \xc3\xa9", 501), (b"MAIL FROM:<jos\xc3\xa9@rio.example>", 501),
    (b"\xff", 501),
    (b"NOOP " + b"x" * 506, 500), (b"x" * 60_000, 500),
])
def test_a_line_that_is_none(state: str, line: bytes, code: int) -> None:
    session = Session("mail.tokyo.example")
    before = "".join(f"{step}\r\n" for step in WAY[state]).encode()
    said = codes(before + line + b"\r\nNOOP\r\n", session)[len(WAY[state]) :]
    assert said[0] == code and said[-1] == 250 and set(said[:-1]) == {code}
    assert session.state == state, "neither half is obeyed"


def test_the_longest_line() -> None:
    assert codes(b"NOOP " + b"x" * 505 + b"\r\n") == [250]


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\nNOOP\r\n"])
def test_a_line_without_an_end_is_given_up(end: bytes) -> None:
    session = Session("mail.tokyo.example")
    assert codes(b"x" * (HOPELESS + 1000) + end, session, cut=lambda data: pieces(data, 4096)) == [421]
    assert session.state == "closed"


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


# -- bounds --


def test_too_many_recipients_are_put_off() -> None:
    kept = Kept()
    many = [f"RCPT TO:<r{number}@tokyo.example>" for number in range(103)]
    session = Session("mail.tokyo.example", kept, limits=Limits(max_recipients=100))
    assert codes([HELO, MAIL, *many, "DATA", ".", "QUIT"], session)[2:] == [250] * 100 + [452] * 3 + [354, 250, 221]
    assert kept[0][0].recipients == [f"r{number}@tokyo.example" for number in range(100)]


def test_by_default_at_least_a_hundred_recipients() -> None:
    assert set(codes([HELO, MAIL, *[RCPT] * 100])) == {250}


@pytest.mark.parametrize("line", ["FROB", "MAIL FROM:ana", "DATA", "EXPN x", "HELP FROB", "NOOP \x00", "x" * 600])
def test_too_many_errors(line: str) -> None:
    session = Session("mail.tokyo.example", limits=Limits(max_errors=5))
    said = codes([HELO, *[line] * 9], session)
    assert said[6:] == [421] and all(500 <= code <= 504 for code in said[1:6])
    assert session.state == "closed"


def test_the_last_word_of_a_session_is_its_421() -> None:
    said = replies_to(["FROB"] * 30 + ["QUIT"])
    assert [reply.code for reply in said] == [500] * 20 + [421]


def test_refused_recipients_are_no_nonsense() -> None:
    session = Session(accept_recipient=lambda address, envelope: Reply(550, "no"))
    assert codes([HELO, MAIL, *[RCPT] * 60, "QUIT"], session)[-2:] == [550, 221]


@pytest.mark.parametrize("line", ["NOOP", "RSET", HELO, "VRFY kenji", "HELP"])
def test_too_much_idle_talk(line: str) -> None:
    assert codes([line] * 200)[-2:] in ([250, 421], [252, 421], [214, 421])
    assert len(codes([line] * 200)) == 101


def test_mail_and_rset_for_ever_is_idle_talk() -> None:
    assert codes([HELO, *[MAIL, "RSET"] * 300])[-1] == 421


def test_a_letter_makes_up_for_idle_talk() -> None:
    kept = Kept()
    letter = [MAIL, RCPT, "DATA", "."]
    assert 421 not in codes([HELO, *[*["NOOP"] * 60, *letter] * 5, "QUIT"], Session(deliver=kept))
    assert len(kept) == 5


# -- transactions --


def test_a_letter() -> None:
    kept = Kept()
    session = Session("mail.tokyo.example", kept, peer="192.0.2.7")
    assert codes(OPENING + LETTER + b"..\r\n.\r\nQUIT\r\n", session) == [250, 250, 250, 354, 250, 221]
    [(envelope, body)] = kept
    assert body == LETTER + b".\r\n"
    assert (envelope.sender, envelope.recipients) == ("ana@rio.example", ["kenji@tokyo.example"])
    assert (envelope.hello, envelope.peer) == ("rio.example", "192.0.2.7")


def test_an_empty_letter() -> None:
    kept = Kept()
    assert codes(OPENING + b".\r\n", Session(deliver=kept)) == [250, 250, 250, 354, 250]
    assert kept[0][1] == b""


def test_a_letter_larger_than_memory_is_allowed() -> None:
    kept, text = Kept(), b"x" * 998 + b"\r\n"
    assert codes(OPENING + text * 3000 + b".\r\n", Session(deliver=kept), cut=lambda d: pieces(d, 50_000))[-1] == 250
    assert kept[0][1] == text * 3000


@pytest.mark.parametrize("forgetting", ["RSET", "HELO lima.example", "DATA\r\nx\r\n."])
def test_nothing_is_left_of_an_earlier_transaction(forgetting: str) -> None:
    kept = Kept()
    yui = "RCPT TO:<yui@tokyo.example>"
    assert set(codes([HELO, MAIL, RCPT, forgetting, "DATA"], Session())[-1:]) == {503}
    codes([HELO, MAIL, RCPT, forgetting, "MAIL FROM:<>", yui, "DATA", "."], Session(deliver=kept))
    assert (kept[-1][0].sender, kept[-1][0].recipients) == ("", ["yui@tokyo.example"])
    assert kept[-1][0].hello == ("lima.example" if "lima" in forgetting else "rio.example")


def test_a_source_route_is_dropped() -> None:
    kept = Kept()
    codes([HELO, MAIL, "RCPT TO:<@local.example:user@other.example>", "DATA", "."], Session(deliver=kept))
    assert kept[0][0].recipients == ["user@other.example"]


def test_policies_decide() -> None:
    kept = Kept()
    said = {"": Reply(550, "no"), "a@b": Reply(550, "no"), "c@d": Reply(251, "moved")}
    session = Session(deliver=kept, accept_sender=lambda address, _: said.get(address),
                      accept_recipient=lambda address, _: said.get(address))
    lines = [HELO, "MAIL FROM:<>", MAIL, "RCPT TO:<a@b>", "DATA", "RCPT TO:<c@d>", "RCPT TO:<e@f>", "DATA", "."]
    assert codes(lines, session) == [250, 550, 250, 550, 503, 251, 250, 354, 250]
    assert kept[0][0].recipients == ["c@d", "e@f"]


class Friends(set[str]):
    """Who may write and be written to: a policy with a length, which is 0, and so no truth."""

    def __call__(self, address: str, envelope: Envelope) -> Reply | None:
        return None if address in self else Reply(550, "no friend of ours")


def test_a_policy_is_asked_even_if_it_is_empty() -> None:
    assert codes([HELO, MAIL], Session(accept_sender=Friends())) == [250, 550]
    assert codes([HELO, MAIL, RCPT], Session(accept_recipient=Friends())) == [250, 250, 550]


def broken(*_: object) -> None:
    raise OSError("broken")


def test_a_policy_that_breaks_is_no_fault_of_the_clients(caplog: pytest.LogCaptureFixture) -> None:
    assert codes([HELO, MAIL, "NOOP"], Session(accept_sender=broken)) == [250, 451, 250]
    session = Session(accept_recipient=broken)
    assert codes([HELO, MAIL, RCPT, "DATA", "NOOP"], session) == [250, 250, 451, 503, 250]
    assert session.envelope.recipients == [] and "broken" in caplog.text


# -- delivery --


@pytest.mark.parametrize(("outcome", "code"), [
    (None, 250), (Reply(250, "kept"), 250), (Reply(451, "later"), 451), (Reply(554, "spam"), 554),
    ({"a@x": Reply(250), "b@x": Reply(550)}, 550), ({"a@x": Reply(550), "b@x": Reply(450)}, 450),
    ({"a@x": Reply(250), "b@x": Reply(251)}, 250),
])
def test_what_delivery_says(outcome: Any, code: int) -> None:
    session = Session(deliver=lambda envelope, body: outcome)
    said = [HELO, MAIL, "RCPT TO:<a@x>", "RCPT TO:<b@x>", "DATA", ".", MAIL]
    assert codes(said, session)[-2:] == [code, 250]


def test_a_delivery_that_breaks(caplog: pytest.LogCaptureFixture) -> None:
    session = Session(deliver=broken)
    assert codes(OPENING + LETTER + b".\r\nDATA\r\n", session)[-2:] == [451, 503]
    assert session.envelope.recipients == [] and "delivery failed" in caplog.text


@pytest.mark.parametrize("fails", ["write", "seek", "close"])
def test_a_full_disk(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()

    class Full(io.BytesIO):
        """A file on a disk without room."""

    setattr(Full, fails, broken)
    monkeypatch.setattr(bodies, "BytesIO", Full)
    said = codes(OPENING + LETTER * 9 + b".\r\nNOOP\r\n", Session(deliver=kept), cut=lambda data: pieces(data, 40))
    assert said[3:] == [354, {"write": 452, "seek": 451, "close": 250}[fails], 250]
    assert len(kept) == (fails == "close")


# -- the true end of a letter --

ENDS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\r.\r\n", b"\r\n.\rX",
        b"\r\n\x00.\r\n", b"\r\n.\x00\r\n"]
SMUGGLED = b"MAIL FROM:<eve@shady.example>\r\nRCPT TO:<yui@tokyo.example>\r\nDATA\r\nSubject: b\r\n\r\ny"


@pytest.mark.parametrize("end", ENDS, ids=repr)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100_000])
@pytest.mark.parametrize("limit", [None, 5], ids=["roomy", "oversize"])
def test_nothing_is_smuggled(end: bytes, size: int, limit: int | None) -> None:
    kept = Kept()
    text = b"Subject: a\r\n\r\nx" + end + SMUGGLED
    said = replies_to(OPENING + text + b"\r\n.\r\nNOOP\r\n", Session(deliver=kept, limits=Limits(max_size=limit)),
                      cut=lambda data: pieces(data, size))
    assert [reply.code for reply in said[:4]] == [250, 250, 250, 354] and len(said) == 6 and said[5].code == 250
    if b"\0" in end:                            # an odd letter, and no line end in it that is none
        assert said[4].code == (552 if limit else 250)
        assert [body for _, body in kept] == ([] if limit else [(text + b"\r\n").replace(b"\r\n.\0", b"\r\n\0")])
    else:
        assert str(said[4]).startswith("554 5.6.0") and not kept


@pytest.mark.parametrize("text", [b"\n", b"\r", b"a\nb\r\n", b"a\rb\r\n", b"a\r\r\n", b"\n\r\n", b"a\r\n\r", b"a\n"])
def test_a_bare_newline_is_refused_once(text: bytes) -> None:
    kept = Kept()
    said = replies_to(OPENING + text + b"\r\n.\r\nQUIT\r\n", Session(deliver=kept))
    assert [reply.code for reply in said[3:]] == [354, 554, 221] and not kept
    assert said[4].text.startswith("5.6.0 ")


@pytest.mark.parametrize("extra", [-1, 0, 1, 500_000])
def test_an_oversize_letter_is_read_to_its_end(extra: int) -> None:
    kept, limit = Kept(), 100_000
    size = limit + extra
    text = (b"QUIT\r\n" * (size // 6 - 1)).ljust(size - 2, b"!") + b"\r\n"
    assert len(text) == size
    session = Session(deliver=kept, limits=Limits(max_size=limit))
    said = codes(OPENING + text + b".\r\n" + MAIL.encode() + b"\r\n", session, cut=lambda data: pieces(data, 9_999))
    assert said[3:] == [354, 552 if extra > 0 else 250, 250]
    assert [body for _, body in kept] == ([] if extra > 0 else [text])


# -- a line that breaks, and a line that is cut --

WHOLE = OPENING + LETTER + b"..\r\n.\r\n" + b"MAIL FROM:<>\r\n" + RCPT.encode() + b"\r\nDATA\r\nsecond\r\n.\r\nQUIT\r\n"


def test_a_client_that_vanishes_at_every_octet() -> None:
    first, second = LETTER + b".\r\n", b"second\r\n"
    done = [WHOLE.index(b"\r\n.\r\n") + 5, WHOLE.rindex(b"\r\n.\r\n") + 5]
    for octets in range(len(WHOLE) + 1):
        kept = Kept()
        said = codes(WHOLE[:octets], Session(deliver=kept))
        bodies = [body for _, body in kept]
        assert bodies == [first, second][: sum(octets >= end for end in done)], octets
        assert sum(before == 354 and after == 250 for before, after in zip(said, said[1:], strict=False)) == len(bodies)


FRAGMENTS = [line.encode() + b"\r\n" for line in (HELO, MAIL, RCPT, "DATA", "RSET", "NOOP", "VRFY x", "FROB", "")]
FRAGMENTS += [OPENING, WHOLE[:-6], LETTER, b".\r\n", b"..\r\n", b"\r\n.\r\n", *ENDS, b"\r", b"\n", b"\0\r\n"]
FRAGMENTS += [b"DATA x\r\n", b"\xff\r\n"]
FRAGMENTS += [b"x" * 509 + b"\r\n", b"x" * 511, b"x" * 600, b"x" * 600 + b"\r\n", b"x" * HOPELESS]


@settings(max_examples=400)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12), st.lists(st.integers(0, 3000), max_size=30))
@example([OPENING, LETTER, b".\r\n"], list(range(300)))
@example([b"x" * HOPELESS, b"x" * 600, b"\r\n"], [1, 600, 2000])
def test_however_the_octets_are_cut(fragments: list[bytes], places: list[int]) -> None:
    data, cuts = b"".join(fragments), sorted(places)

    def cut(flight: bytes) -> list[bytes]:
        edges = [0, *(place for place in cuts if place < len(flight)), len(flight)]
        return [flight[a:b] for a, b in zip(edges, edges[1:], strict=False) if a < b]

    whole, parts = Kept(), Kept()
    expected = replies_to(data, Session(deliver=whole, limits=Limits(max_size=2000)))
    assert replies_to(data, Session(deliver=parts, limits=Limits(max_size=2000)), cut) == expected
    assert parts == whole


@settings(max_examples=300)
@given(st.lists(st.one_of(
    st.binary(max_size=60),
    st.sampled_from(FRAGMENTS),
    st.builds(lambda verb, rest: verb.encode() + b" " + rest,
              st.sampled_from([*VERBS, "MAIL FROM:", "RCPT TO:<", "HELO"]), st.binary(max_size=600)),
), max_size=15))
def test_no_octets_make_it_stumble(lines: list[bytes]) -> None:
    data = b"".join(line + b"\r\n" for line in lines)
    rehearsal = rehearse(pour(data), serve(Session("mail.tokyo.example")))
    for entry in rehearsal.said:
        if entry.role == "S":
            reply = parse_reply(entry.data.split(b"\r\n")[:-1])
            assert all(len(line) <= 510 and line.isascii() and b"\r" not in line and b"\n" not in line
                       for line in entry.data.split(b"\r\n")), reply
            assert all(text.isprintable() for text in reply.lines), reply


# -- the ends of a session --


def throw_at(session: Session, lines: list[str], error: Exception) -> list[Reply]:
    """What a session says when something else than the next line comes."""
    talk, said, pending = serve(session), list[Reply](), [line.encode() for line in lines]
    want = next(talk)
    try:
        while True:
            if isinstance(want, Line):
                want = talk.send(pending.pop(0)) if pending else talk.throw(error)
            else:
                if isinstance(want, Reply):
                    said.append(want)
                elif type(want).__name__ == "Body":
                    want = talk.throw(error)
                    continue
                want = talk.send(None)
    except StopIteration:
        return said


@pytest.mark.parametrize("error", [Timeout(), Closing()], ids=["timeout", "closing"])
@pytest.mark.parametrize("lines", [*WAY.values(), [*WAY["rcpt"], "DATA"]], ids=[*WAY, "data"])
def test_421_says_why_it_ends(error: Exception, lines: list[str]) -> None:
    kept = Kept()
    said = throw_at(Session("mail.tokyo.example", kept), lines, error)
    assert said[-1].code == 421 and len(said) == len(lines) + 2 and not kept
    assert said[-1].text.startswith("mail.tokyo.example "), "RFC 5321 §4.2.3: the domain comes first"


def test_silence_is_waited_out() -> None:
    def mute() -> Generator[Any, Any, list[bytes]]:
        heard = []
        while True:
            try:
                heard.append((yield Line(timeout=900.0)))
            except Exception:
                return heard

    rehearsal = rehearse(mute(), serve(Session("mail.tokyo.example")), patient=True)
    assert [line[:3] for line in rehearsal.client] == [b"220", b"421"] and rehearsal.seconds == 300.0


@pytest.mark.parametrize("lines", [*WAY.values()], ids=[*WAY])
def test_only_an_idle_session_may_be_sent_away(lines: list[str]) -> None:
    talk, pending = serve(Session()), [line.encode() for line in lines]
    want = next(talk)
    while not isinstance(want, Line) or pending:
        want = talk.send(pending.pop(0) if isinstance(want, Line) else None)
    assert want.idle is (len(lines) < 2)
    talk.close()


def test_nothing_follows_quit() -> None:
    assert codes([HELO, "QUIT", "NOOP", MAIL]) == [250, 221]


def test_a_session_leaves_a_line_in_the_log_and_no_body(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    codes(OPENING + LETTER + b".\r\nQUIT\r\n", Session(peer="192.0.2.7"))
    assert "192.0.2.7 from=<ana@rio.example> to=1" in caplog.text and "Monday" not in caplog.text


def test_a_message_that_is_for_nobody_is_not_taken() -> None:
    """The table lets no DATA through without a recipient; an extension's verb might."""
    assert one_reply({}).code == 451
