"""Paths, envelopes, and bodies with dots: what must hold for every input and every way to cut it."""
from __future__ import annotations

import io
import smtplib
import time
from collections.abc import Iterator
from email import message_from_string, policy
from email.message import EmailMessage

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smtp_from_scratch.envelope import (
    NULL_PATH,
    BadPath,
    BodyCutter,
    Path,
    encode_path,
    envelope_of,
    few_quotes,
    has_bare_newline,
    normalize,
    parse_path,
    stuff,
)
from tests.bodies import unstuffed

# Octets that matter to a cutter, and a few that do not; whole marks now and then, or they would be too rare.
PIECES = [b"\r\n.\r\n", b"\r\n", b"\r\n.", b"\r\n..", b".", b"\r", b"\n", b"a", b"\0", b"\xff", b"\n.\n", b"\r.\r",
          b"\n.\r\n", b"\r\n.\n", b"MAIL FROM:<eve@evil.example>\r\n"]
hostile = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=24).map(b"".join)
cuts = st.lists(st.integers(0, 200), max_size=12)


def split(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces, cut at these places; some pieces may be empty."""
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in zip(edges, edges[1:], strict=False)]


# --- by the letter of RFC 5321 §4.5.2, line by line and slowly -------------------------------------------------------


def stuffed_by_the_book(text: bytes) -> bytes:
    """A text whose line ends are CR LF, as it follows 354."""
    lines = text.split(b"\r\n")
    lines = lines[:-1] if lines[-1] == b"" else lines
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\n"


def read_by_the_book(data: bytes) -> tuple[bytes, bytes, bool]:
    """The body at the start of the data, what stands behind it, and whether it has ended."""
    body = b""
    while (end := data.find(b"\r\n")) >= 0:
        line, data = data[: end + 2], data[end + 2 :]
        if line == b".\r\n":
            return body, data, True
        body += line[1:] if line.startswith(b".") else line
    return body, data, False


def bare_by_the_book(text: bytes) -> bool:
    without = text.replace(b"\r\n", b"")
    return b"\r" in without or b"\n" in without


# --- line ends -------------------------------------------------------------------------------------------------------


@given(hostile)
def test_bare_newlines_are_found(text: bytes) -> None:
    assert has_bare_newline(text) == bare_by_the_book(text)


@given(hostile, cuts)
@example(b"\r\n", [1])
@example(b"\r\r\n\n", [1, 1, 2])
def test_normalize_makes_every_line_end_cr_lf(text: bytes, places: list[int]) -> None:
    expected = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    assert b"".join(normalize(split(text, places))) == expected


# --- dots ------------------------------------------------------------------------------------------------------------


@given(hostile, cuts)
@example(b"", [])
@example(b".", [])
@example(b"a\r\n.\r\nb\r\n", [2, 3, 4])
def test_stuff_does_what_the_book_says(text: bytes, places: list[int]) -> None:
    expected = stuffed_by_the_book(b"".join(normalize([text])))
    assert b"".join(stuff(split(text, places))) == expected


@settings(max_examples=500)
@given(hostile, cuts, cuts)
def test_unstuff_undoes_stuff_however_both_are_cut(text: bytes, before: list[int], after: list[int]) -> None:
    text = b"".join(normalize([text]))
    wire = b"".join(stuff(split(text, before)))
    complete = text if text.endswith(b"\r\n") or not text else text + b"\r\n"
    assert unstuffed(split(wire, after)) == complete


@given(hostile, cuts)
def test_what_leaves_has_one_end_and_no_bare_newline(text: bytes, places: list[int]) -> None:
    wire = b"\r\n" + b"".join(stuff(split(text, places)))
    assert wire.find(b"\r\n.\r\n") == len(wire) - 5
    assert not bare_by_the_book(wire)


@given(st.text(st.characters(codec="ascii"), min_size=1))       # of nothing, smtplib makes an empty line
def test_smtplib_stuffs_as_we_do(text: str) -> None:
    class Wire(smtplib.SMTP):
        sent = b""

        def send(self, s: str | bytes) -> None:  # type: ignore[override]
            self.sent += s.encode() if isinstance(s, str) else s

        def getreply(self) -> tuple[int, bytes]:
            return 354, b"go ahead"

    peer = Wire()
    peer.data(text)
    assert peer.sent == b"data\r\n" + b"".join(stuff([text.encode()]))


# --- the cutter ------------------------------------------------------------------------------------------------------


def play(pieces: list[bytes]) -> tuple[BodyCutter, bytes, bytes]:
    """Feed pieces until the end; returns the cutter, the body, and everything behind it."""
    cutter, body = BodyCutter(), b""
    for number, piece in enumerate(pieces):
        block, rest = cutter.cut(piece)
        body += block
        if cutter.ended:
            return cutter, body, rest + b"".join(pieces[number + 1 :])
        assert rest == b"", "before the end nothing stands behind it"
    return cutter, body, b""


@settings(max_examples=1000)
@given(hostile, cuts)
@example(b".\r\nQUIT\r\n", [1, 2])
@example(b"\r\n.\r\n", [0, 1, 2, 3, 4])
@example(b"a\r\n..\r\n.\r\n.\r\n", [4, 5])
def test_any_cut_gives_the_same_body(data: bytes, places: list[int]) -> None:
    cutter, body, rest = play(split(data, places))
    expected, expected_rest, ended = read_by_the_book(data)
    assert cutter.ended == ended
    whole = play([data])
    assert (body, rest, cutter.ended) == (whole[1], whole[2], whole[0].ended)
    if ended:
        assert (body, rest) == (expected, expected_rest)
        assert has_bare_newline(body) == bare_by_the_book(data[: len(data) - len(rest)])
    else:
        assert (body + rest).startswith(expected[:-2]), "only what may belong to the end mark is held back"


@pytest.mark.parametrize("data", [b"Subject: Rio\r\n\r\nHello\r\n..\r\n.hidden\r\n\r\n.\r\nQUIT\r\n", b".\r\nQUIT\r\n",
                                  b"\r\n.\r\n.\r\n", b"..\r\n.\r\n\r\n.\r\n"])
def test_every_pair_of_cuts(data: bytes) -> None:
    body, rest, _ = read_by_the_book(data)
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            assert play(split(data, [first, second]))[1:] == (body, rest), (first, second)
    assert play([data[i : i + 1] for i in range(len(data))])[1:] == (body, rest)


# What security researchers sent in place of CR LF . CR LF (SMTP smuggling, 2023).
SMUGGLERS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\r.\r\n", b"\r\n.\rX",
             b"\r\n\0.\r\n", b"\r\n.\0\r\n"]


@pytest.mark.parametrize("mark", SMUGGLERS)
def test_no_other_mark_ends_a_body(mark: bytes) -> None:
    data = b"Subject: a\r\n\r\nx" + mark + b"MAIL FROM:<eve@evil.example>\r\n.\r\n"
    for step in (1, 2, 3, len(data)):
        cutter, body, rest = play([data[i : i + step] for i in range(0, len(data), step)])
        assert cutter.ended and rest == b"" and data.endswith(b"\r\n.\r\n")
        assert has_bare_newline(body) == (b"\0" not in mark)


@pytest.mark.parametrize("mark", SMUGGLERS)
def test_none_of_them_leaves(mark: bytes) -> None:
    wire = b"".join(stuff([b"x" + mark + b"MAIL FROM:<eve@evil.example>\r\n"]))
    assert wire.count(b"\r\n.\r\n") == 1 and not bare_by_the_book(wire)


def test_a_cutter_holds_little_back() -> None:
    cutter = BodyCutter()
    for _ in range(1000):
        assert cutter.cut(b"x" * 1000 + b"\r\n.") is not None
        assert len(cutter._held) <= 4
    assert not cutter.ended


# --- paths -----------------------------------------------------------------------------------------------------------

LOCAL_64, DOMAIN_255 = "l" * 64, ".".join(["d" * 63] * 4)
VALID = {
    # from RFC 821 and RFC 5321
    "<Smith@Alpha.ARPA>": Path("Smith", "Alpha.ARPA"),
    "<@USC-ISIE.ARPA:JQP@MIT-AI.ARPA>": Path("JQP", "MIT-AI.ARPA", ("USC-ISIE.ARPA",)),
    "<@hosta.int,@jkl.org:userc@d.bar.org>": Path("userc", "d.bar.org", ("hosta.int", "jkl.org")),
    r'<"Joe\,Smith"@foo.example>': Path(r'"Joe\,Smith"', "foo.example"),
    "<jones@[123.255.37.2]>": Path("jones", "[123.255.37.2]"),
    "<Postmaster>": Path("Postmaster", ""),
    "<POSTMASTER>": Path("POSTMASTER", ""),
    "<postmaster@foo.example>": Path("postmaster", "foo.example"),
    "<>": NULL_PATH,
    # unusual
    "<a@b>": Path("a", "b"),
    "<!#$%&'*+-/=?^_`{|}~@x.example>": Path("!#$%&'*+-/=?^_`{|}~", "x.example"),
    "<ana.maria+rio@a-b.1.example>": Path("ana.maria+rio", "a-b.1.example"),
    '<"ana maria"@x.example>': Path('"ana maria"', "x.example"),
    '<"a@b>"@x.example>': Path('"a@b>"', "x.example"),
    '<""@x.example>': Path('""', "x.example"),
    r'<"\"\\"@x.example>': Path(r'"\"\\"', "x.example"),
    '<"ana..maria."@x.example>': Path('"ana..maria."', "x.example"),
    "<a@[IPv6:2001:db8::1]>": Path("a", "[IPv6:2001:db8::1]"),
    "<a@[ipv6:::ffff:192.0.2.1]>": Path("a", "[ipv6:::ffff:192.0.2.1]"),
    "<user%other.example@x.example>": Path("user%other.example", "x.example"),
    "<josé@exemplo.example>": Path("josé", "exemplo.example"),
    "<用户@例え.example>": Path("用户", "例え.example"),
    # as long as can be
    f"<{LOCAL_64}@x.example>": Path(LOCAL_64, "x.example"),
    f"<a@{DOMAIN_255[:-3]}>": Path("a", DOMAIN_255[:-3]),
    "<" + "é" * 32 + "@x.example>": Path("é" * 32, "x.example"),
}
INVALID = [
    "", "<", ">", "<@>", "<@x.example>", "<a@>", "<a>", "<a@b", "a@b", "a@b>", "< >", " <a@b>", "< a@b>", "<a@b >",
    "<a b@x.example>", "<.a@x.example>", "<a.@x.example>", "<a..b@x.example>", "<a,b@x.example>", "<a@b@c>",
    "<a@.example>", "<a@x..example>", "<a@x.example.>", "<a@-x.example>", "<a@x-.example>", "<a@x_y.example>",
    "<a@x y>", "<a@x.example,b@y.example>", "<<a@x.example>>", "<a@x.example\r\n>", "<a\r\n@x.example>",
    "<a\0@x.example>", "<a@x\0.example>", "<a\t@x.example>", "<a\x7f@x.example>", '<"a\r\nRCPT TO:<b"@x.example>',
    '<"a\0"@x.example>', '<"a"b"@x.example>', '<"a@x.example>', '<"a\\"@x.example>', '<a"b"@x.example>',
    '<"a".b@x.example>', r"<a\ b@x.example>", '<"\\é"@x.example>',
    "<@:a@b>", "<@x.example:>", "<@x.example:@y.example:a@b>", "<@x.example,y.example:a@b>", "<@x.example,:a@b>",
    "<x.example:a@b>", "<@[192.0.2.1]:a@b>", "<@x.example:Postmaster>", "<postmaster@>", "<postmasters>",
    "<a@[]>", "<a@[192.0.2]>", "<a@[192.0.2.256]>", "<a@[192.0.2.1>", "<a@192.0.2.1]>", "<a@[192.0.2.1].example>",
    "<a@[192.0.2.1/24]>", "<a@[2001:db8::1]>", "<a@[IPv6:2001:db8::g]>", "<a@[IPv6:192.0.2.1]>", "<a@[IPv6:]>",
    "<a@[IPv6:fe80::1%eth0]>", "<a@[IPv6:1:2:3:4:5:6:7:8:9]>", "<a@[x400:c=jp]>", "<a@[\u0661.0.2.1]>",
    # an octet too long
    f"<{LOCAL_64}l@x.example>", f"<a@{DOMAIN_255}>", "<" + "é" * 32 + "l@x.example>", "<" + "用" * 22 + "@b.example>",
    "<@" + ".".join(["d" * 60] * 4) + ":ana@x.example>",
    # octets that are not UTF-8, as parse_command hands them over
    "<\udcff@x.example>", "<a@\udcc3.example>",
]


@pytest.mark.parametrize("text", VALID)
def test_valid_paths(text: str) -> None:
    assert parse_path(text) == (VALID[text], "")
    assert parse_path(text + " SIZE=5") == (VALID[text], " SIZE=5")
    assert str(VALID[text]) == text
    assert encode_path(text[1:-1]) == text.replace("\\,", ",")       # needless, and not sent


@pytest.mark.parametrize("text", INVALID)
def test_invalid_paths(text: str) -> None:
    with pytest.raises(BadPath) as caught:
        parse_path(text)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("length", [256, 257])
def test_a_path_has_at_most_256_octets(length: int) -> None:
    path = f"<@{'r' * 60}.example:{LOCAL_64}@" + "d" * 63 + "." + "e" * 40 + ".x"
    path += "x" * (length - len(path) - 1) + ">"
    assert len(path) == length
    if length == 256:
        assert str(parse_path(path)[0]) == path
    else:
        with pytest.raises(BadPath):
            parse_path(path)


@pytest.mark.parametrize("address", ["a@b>", "a@b> SIZE=1", "a@b>\r\nRCPT TO:<c@d", "a@b\r\n", ">", "><", "> <a@b",
                                     "a@b><c@d", "a@b>,<c@d", " a@b", "a", "Ana <a@b>", "postmaster>"])
def test_encode_path_lets_nothing_ride_along(address: str) -> None:
    with pytest.raises(BadPath):
        encode_path(address)


QUOTES = {r'"kenji"@x': "kenji@x", r'"\k\enji"@x': "kenji@x", r'"a.b"@x': "a.b@x", r'"\""@x': r'"\""@x',
          r'"a\@b"@x': '"a@b"@x', r'"\\"@x': r'"\\"@x', r'"a..b"@x': '"a..b"@x', r'"\ "@x': '" "@x',
          '"é"@x': "é@x", '"ana"': "ana", '""@x': '""@x', "a@b": "a@b", "": "", '"': '"',
          '"@': '"@', '"a"@b@c': '"a"@b@c'}


@pytest.mark.parametrize("address", QUOTES)
def test_needless_quotes(address: str) -> None:
    assert few_quotes(address) == QUOTES[address] == few_quotes(QUOTES[address])
    assert few_quotes(address.lower()) == few_quotes(address).lower()


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20), st.data())
def test_every_way_to_quote_is_one_mailbox_and_the_shortest_is_sent(text: str, data: st.DataObject) -> None:
    """Any character may have a backslash before it, those that need one must (RFC 5321 §4.1.2)."""
    def quoted() -> str:
        return '"' + "".join("\\" * (c in '\\"' or data.draw(st.booleans())) + c for c in text) + '"'

    ways = [quoted() + "@tokyo.example" for _ in range(3)]
    assert len({few_quotes(way) for way in ways}) == len({encode_path(way) for way in ways}) == 1
    sent = encode_path(ways[0])
    assert len(sent) <= len(min(ways, key=len)) + 2 and few_quotes(sent[1:-1]) == sent[1:-1]
    path, rest = parse_path(sent)
    local = path.local
    if local[:1] == '"':
        local = local[1:-1].replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")
    assert (local, path.domain, rest) == (text, "tokyo.example", "")


@given(st.text() | st.text('<>@:,."\\[] ab1-\r\n\0é\udc80', max_size=40).map("<{}>".format))
def test_parse_path_answers_or_says_badpath(text: str) -> None:
    try:
        path, rest = parse_path(text)
    except BadPath:
        return
    assert str(path) + rest == text
    assert not set(str(path)) & set("\r\n\0")
    assert parse_path(str(path)) == (path, "")
    assert len(str(path).encode()) <= 256


def long_paths(size: int) -> Iterator[str]:
    """Paths that make a careless expression try every way to cut them."""
    bits = ["a", "a.", ".", "a-", "-", "@a,", "@a:", "@a,@", '"', '\\"', "\\\\", '"."', "1.", "1:", ":", "[", "é", "a@",
            "<", ">", "a-.", "<>", " ", "\0"]
    fronts = ["<", '<"', "<a@", "<a@a", "<a@[", "<a@[IPv6:", "<@", "<@a", "<@a,@", "<@a:", '<@a:"', "<a@a-"]
    for front in fronts:
        for bit in bits:
            for back in ("", ">", "!", "-", '"@a>', ":a@b>", "]>"):
                yield front + bit * (size // len(bit)) + back


def test_no_path_of_64_kb_takes_long() -> None:
    slow = {}
    for text in long_paths(65_536):
        begin = time.process_time()
        try:
            parse_path(text)
        except BadPath:
            pass
        if (seconds := time.process_time() - begin) > 0.25:
            slow[text[:16] + "…" + text[-8:]] = seconds
    assert not slow


# --- the envelope that a message asks for ----------------------------------------------------------------------------


def letter(header: str, **options: object) -> EmailMessage:
    return message_from_string(header + "\n\nHello\n", policy=policy.default)  # type: ignore[return-value]


def test_envelope_of_a_letter() -> None:
    envelope = envelope_of(letter("From: Ana <ana@rio.example>\nTo: Kenji <kenji@tokyo.example>, li@beijing.example\n"
                                  "Cc: kenji@tokyo.example\nBcc: Party: secret@oslo.example, yui@kyoto.example;"))
    assert envelope.sender == "ana@rio.example"
    assert envelope.recipients == ["kenji@tokyo.example", "li@beijing.example", "secret@oslo.example",
                                   "yui@kyoto.example"]


def test_sender_goes_before_from() -> None:
    header = "From: ana@rio.example, bia@rio.example\nTo: kenji@tokyo.example"
    assert envelope_of(letter(header)).sender == "ana@rio.example"
    assert envelope_of(letter(header + "\nSender: office@rio.example")).sender == "office@rio.example"


def test_a_resent_letter_goes_to_its_new_recipients() -> None:
    header = "From: ana@rio.example\nTo: kenji@tokyo.example\n"
    resent = "Resent-Date: Tue, 24 Nov 2026 09:00:00 +0900\nResent-From: kenji@tokyo.example\n"
    envelope = envelope_of(letter(resent + "Resent-To: li@beijing.example\nResent-Bcc: yui@kyoto.example\n" + header))
    assert envelope.sender == "kenji@tokyo.example"
    assert envelope.recipients == ["li@beijing.example", "yui@kyoto.example"]
    with pytest.raises(ValueError, match="more than once"):
        envelope_of(letter(resent + resent + header))


def test_a_letter_without_sender() -> None:
    with pytest.raises(ValueError, match="no sender"):
        envelope_of(letter("To: kenji@tokyo.example"))


@pytest.mark.parametrize("name", ["=?utf-8?q?a=3Ceve=40evil=2Eexample=3E=2C?=", '"eve@evil.example, "',
                                  "=?utf-8?q?=22=2C_eve=40evil=2Eexample=2C_=22?=", "(eve@evil.example,)"])
def test_a_name_adds_no_recipient(name: str) -> None:
    for rules in (policy.default, policy.compat32):
        message = message_from_string(f"From: ana@rio.example\nTo: {name} <kenji@tokyo.example>\n\n", policy=rules)
        assert envelope_of(message).recipients == ["kenji@tokyo.example"]


@pytest.mark.parametrize("cc", ["(c,) <kenji@tokyo.example>", "kenji@[192.0.2.1]", "K (a, b) <kenji@tokyo.example>",
                                "undisclosed-recipients:;, kenji@tokyo.example", "kenji@tokyo.example,,"])
def test_no_odd_comma_loses_a_recipient(cc: str) -> None:
    """`getaddresses` of Debian 12 and of Python 3.13 gives up on the whole field, and says nothing."""
    for rules in (policy.default, policy.compat32):
        message = message_from_string(f"From: ana@rio.example\nTo: li@beijing.example\nCc: {cc}\n\n", policy=rules)
        assert len(envelope_of(message).recipients) == 2


@pytest.mark.parametrize("cc", ["a@x.example; b@x.example", "a@x.example b@x.example", "a@b@c", "<a@x.example",
                                "a@x.example <b@x.example> c@x.example", "<", "::;b", 3000 * "("])
def test_a_field_that_cannot_be_read_is_told(cc: str) -> None:
    for rules in (policy.default, policy.compat32):
        message = message_from_string(f"From: ana@rio.example\nTo: li@beijing.example\nCc: {cc}\n\n", policy=rules)
        with pytest.raises(ValueError, match="cannot read the addresses in Cc"):
            envelope_of(message)


def test_the_decoder_that_counts_line_ends_is_as_we_think() -> None:
    # `has_bare_newline` and the cutter rest on this corner of the standard library.
    decoder = io.IncrementalNewlineDecoder(None, False)
    seen = [(decoder.decode(text), decoder.newlines)[1] for text in ("a\r", "\nb", "\r\n", "c\r", "d")]
    assert seen == [None, "\r\n", "\r\n", "\r\n", ("\r", "\r\n")]
