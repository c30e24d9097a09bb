"""Long lines and tapped ones: the glass line, round trips counted over sockets, attackers, the wiretap."""
from __future__ import annotations

import base64
import random
import re
import smtplib
import socket
import ssl
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from smtp_from_scratch import lab
from smtp_from_scratch.client import deliver
from smtp_from_scratch.connection import Connection
from smtp_from_scratch.conversation import rehearse
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.figures.glass import Passage
from smtp_from_scratch.lab.figures.overheard import Row, overheard
from smtp_from_scratch.lab.figures.tlsrecords import Records
from smtp_from_scratch.session import Session, serve
from smtp_from_scratch.transcript import Rehearsal, Said

BODY = b"Subject: tide\r\n\r\n.5 m at nine.\r\n"


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    yield
    lab.begin_anew()


def plain(recipients: int = 1, latency: float = 0.1) -> Rehearsal:
    people = [f"kenji{n}@b.example" for n in range(recipients)]
    letters = [(Envelope("ana@a.example", people), [BODY])]
    return rehearse(deliver("a.example", letters), serve(Session("b.example")), latency=latency)


def said(*words: str, every: float = 1.0) -> list[Said]:
    """Records from `C: …` and `S: …`; a line that begins with `+` flies with the one before."""
    records: list[Said] = []
    for w in words:
        same = w.startswith("+")
        when = (records[-1].when if same else records[-1].when + every) if records else 0.0
        text = w[1:] if same else w[3:]
        records.append(Said(when, records[-1].role if same else w[0], text.encode() + b"\r\n"))
    return records


def grouped(recipients: int) -> list[Said]:
    return said("S: 220 hi", "C: EHLO a", "S: 250-b", "+250 PIPELINING", "C: MAIL FROM:<a@a.example>",
                *["+RCPT TO:<k@b.example>"] * recipients, "+DATA", "S: 250 OK", *["+250 OK"] * recipients, "+354 go",
                "C: Subject: x", "+", "+.", "+QUIT", "S: 250 ours", "+221 bye", every=0.093)


def play(recipients: int, switches: tuple[str, ...]) -> Any:
    return grouped(recipients) if "PIPELINING" in switches else plain(recipients)


def wellformed(svg: str, wide: float = 860) -> str:
    """An SVG, legible and self-contained."""
    root = ElementTree.fromstring(svg)
    names = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert "title" in names and "desc" in names
    assert not re.search(r'\bid="|href|url\(|<script|@import|nan', svg)
    assert float(root.get("width", "999")) <= wide
    assert all(float(size) >= 12 for size in re.findall(r'font-size="([\d.]+)"', svg))
    for element in root.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(element.get("width", "0")) >= 0 and float(element.get("height", "0")) >= 0
    return svg


# -- the glass line --


def test_passage_counts_the_dial_and_scales_with_the_line() -> None:
    slow, quick = Passage(plain(50)), Passage(grouped(50))
    assert (slow.round_trips, quick.round_trips) == (57, 5)
    assert (slow.seconds(0.186), quick.seconds(0.186)) == (pytest.approx(10.602), pytest.approx(0.93))
    assert [flight.left for flight in quick.flights] == [3, 4, 5, 6, 7, 8, 9]
    assert Passage(plain(50), dial=False).round_trips == 56
    assert Passage([]).round_trips == 1 and Passage([], dial=False).round_trips == 0


@pytest.mark.parametrize("rush", [0.0, 0.001, 0.02])
def test_passage_on_other_clocks(rush: float) -> None:
    """Records without a clock take turns; on a real line, pieces of one flight come a little after one another."""
    timeless = [Said(7.5, record.role, record.data) for record in grouped(3)]
    assert Passage(timeless).round_trips == 5
    real = [Said(1000 + record.when * (1 + rush) + rush * n / 50, record.role, record.data)
            for n, record in enumerate(grouped(3))]
    assert Passage(real, latency=0.093).round_trips == 5
    assert [len(flight.lines) for flight in Passage(real, latency=0.093).flights] == [1, 1, 2, 5, 5, 4, 2]


def test_passage_of_a_server_that_is_spoken_to_first() -> None:
    first = said("C: hello", "S: 220 hi", "C: QUIT", "S: 221 bye")
    assert Passage(first).round_trips == 3 and Passage(first).flights[0].left == 2


def test_a_handshake_heard_above_tls_is_time_that_passed() -> None:
    records = said("S: 220 hi", "C: EHLO a", "S: 250 STARTTLS", "C: STARTTLS", "S: 220 go")
    records += [Said(record.when + 7, record.role, record.data) for record in said("C: EHLO a", "S: 250 b")]
    passage = Passage(records)
    assert [(flight.role, flight.left) for flight in passage.hidden] == [("C", 8), ("S", 9)]
    assert passage.round_trips == 6
    assert str(lab.glass_line({"": records})).count("TLS handshake") == 2


def test_glass_line_text() -> None:
    lines = str(lab.GlassLine(play)).splitlines()
    assert lines[0] == "50 recipients, 186 ms a round trip: 10.6 s / 0.9 s"
    assert lines[2] == "one command at a time: 57 round trips, 10.60 s"
    assert "         … 46 more round trips …" in lines
    assert "with PIPELINING and CHUNKING: 5 round trips, 0.93 s" in lines
    assert lines[-2].endswith("client  letter (14 octets), QUIT")
    assert lines[-4].endswith("client  MAIL, 50 × RCPT, DATA") and lines[-1].endswith("server  250, 221")
    assert len(lines) < 45


def test_glass_line_picture() -> None:
    glass = lab.GlassLine(play)
    svg = wellformed(glass._repr_mimebundle_()["image/svg+xml"])
    for words in ("57 round trips, 10.60 s", "5 round trips, 0.93 s", "… 46 more round trips …", "50 × RCPT", "SYN-ACK",
                  ">10.6 s<", ">0.9 s<"):
        assert words in svg
    assert "SYN" not in wellformed(lab.GlassLine(play, dial=False).svg())
    wellformed(lab.GlassLine(play, switches=()).svg())
    wellformed(lab.glass_line({"one": plain(), "two": grouped(2), "three": []}).svg())
    wellformed(lab.glass_line({}).svg())
    for count in range(1, 20):                 # with and without a middle to leave out
        wellformed(lab.glass_line({"": plain(count)}).svg())


def test_glass_line_widget() -> None:
    pytest.importorskip("ipywidgets")
    asked: list[tuple[int, tuple[str, ...]]] = []

    def noted(recipients: int, switches: tuple[str, ...]) -> Any:
        asked.append((recipients, switches))
        return play(recipients, switches)

    glass = lab.GlassLine(noted)
    bundle = glass._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle and bundle["text/plain"] == str(glass)
    seen = glass._pane.value
    glass._rtt.value = 20
    assert "1.1 s" in glass._pane.value and glass._pane.value != seen
    assert len(asked) == 2, "a slower line needs no new rehearsal"
    glass._recipients.value = 3
    assert "3 recipients" in glass._pane.value and (3, ("PIPELINING", "CHUNKING")) in asked
    glass._toggles[0].value = False
    assert glass.on == ("CHUNKING",) and "with CHUNKING" in glass._pane.value
    glass._toggles[1].value = False
    assert "with " not in glass._pane.value and str(glass).startswith("3 recipients, 20 ms a round trip: 0.2 s\n")
    wellformed(glass._pane.value)


# -- counting over sockets --


class Tiny:
    """A server that knows a few lines by heart, and notes what it hears. It answers each line at once."""

    def __init__(self, answers: dict[bytes, bytes], greeting: bytes = b"220 hi\r\n") -> None:
        self.answers, self.greeting, self.heard = answers, greeting, list[bytes]()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.listener.getsockname()[:2]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        sock, _ = self.listener.accept()
        with sock, sock.makefile("rb") as lines:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(self.greeting)
            for line in lines:
                self.heard.append(line)
                sock.sendall(self.answers.get(line.strip().upper(), b"250 OK\r\n"))

    def stop(self) -> None:
        self.listener.close()


@pytest.fixture
def tiny() -> Iterator[Callable[..., Tiny]]:
    made: list[Tiny] = []

    def make(*arguments: Any, **options: Any) -> Tiny:
        made.append(Tiny(*arguments, **options))
        return made[-1]

    yield make
    for server in made:
        server.stop()


EHLO = b"250-b.example\r\n250-SIZE 1000\r\n250-STARTTLS\r\n250 HELP\r\n"


def test_round_trips_of_a_whole_session() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def take_a_call() -> None:
            sock, _ = listener.accept()
            with sock:
                Connection(sock).play(serve(Session("b.example")))

        threading.Thread(target=take_a_call, daemon=True).start()
        with lab.count_turns(listener.getsockname()[:2]) as link, socket.create_connection(link.address) as sock:
            letter = Envelope("ana@a.example", ["kenji@b.example", "yui@b.example"]), [BODY]
            Connection(sock).play(deliver("a.example", [letter]))
    assert (link.round_trips, link.turns) == (9, plain(2).turns) == (9, 15)
    assert Passage(plain(2)).round_trips == 9, "the rehearsal counts the same"
    assert Passage(link.transcript, latency=link.rtt / 2).round_trips == 9


def test_pieces_of_a_flight_are_one_flight(tiny: Callable[..., Tiny]) -> None:
    server = tiny({})
    with lab.count_turns(server.address, rtt=0.2) as link, lab.raw(link.address) as line:
        line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.hear()
        for piece in (b"MAIL", b" FROM:<>\r\nRCPT TO:<a@b.example>\r\n", b"RCPT TO:<c@b.example>\r\n"):
            line.say(piece)
            time.sleep(0.004)
        assert [line.hear() for _ in range(3)] == [b"250 OK\r\n"] * 3
    assert (link.round_trips, link.turns) == (3, 3)


def test_dialing_costs_a_round_trip_whoever_speaks_first(tiny: Callable[..., Tiny]) -> None:
    server = tiny({b"HELLO": b"250 hello\r\n"}, greeting=b"")
    began = time.monotonic()
    with lab.count_turns(server.address, rtt=0.1) as link, lab.raw(link.address) as line:
        line.say(b"HELLO\r\n")
        assert line.hear() == b"250 hello\r\n"
        assert time.monotonic() - began >= 0.199
        assert (link.round_trips, link.turns) == (2, 2)
    with lab.count_turns(server.address) as link:
        assert link.round_trips == 0, "nobody has called"


def test_a_line_to_nobody_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()[:2]
    with lab.slow_link(address, 0.01) as link, lab.raw(link.address) as line:
        assert line.hear() == b"" and link.round_trips == 1


# -- attackers --


def test_stripper_takes_a_keyword_out(tiny: Callable[..., Tiny]) -> None:
    server = tiny({b"EHLO A.EXAMPLE": EHLO, b"DATA": b"354 go\r\n", b"STARTTLS": b"220 go\r\n"})
    with lab.strip(server.address, b"STARTTLS") as link, lab.raw(link.address) as line:
        line.hear()
        line.say(b"EHLO a.example\r\n")
        assert line.hear() == b"250-b.example\r\n250-SIZE 1000\r\n250 HELP\r\n"
        line.say(b"starttls\r\n")
        assert line.hear().startswith(b"502 ")
        line.say(b"DATA\r\n")
        line.hear()
        line.say(b"STARTTLS\r\n.\r\n")         # a letter may say what it likes
        line.hear()
        line.say(b"half a line")
        line.stop()
        deadline = time.monotonic() + 5
        while server.heard[-1] != b"half a line" and time.monotonic() < deadline:
            time.sleep(0.01)
    assert server.heard == [b"EHLO a.example\r\n", b"DATA\r\n", b"STARTTLS\r\n", b".\r\n", b"half a line"]
    notes = [note for record in link.transcript if (note := getattr(record, "note", ""))]
    assert notes == ["the attacker took STARTTLS out", "the attacker holds STARTTLS back", "the attacker said this"]


def test_stripper_refuses_in_order(tiny: Callable[..., Tiny]) -> None:
    server = tiny({b"NOOP": b"250 noop\r\n", b"RSET": b"250 rset\r\n"})
    with lab.strip(server.address) as link, lab.raw(link.address) as line:
        line.say(b"NOOP\r\nSTARTTLS\r\nRSET\r\n")
        assert [line.hear()[:8] for _ in range(4)] == [b"220 hi\r\n", b"250 noop", b"502 5.5.", b"250 rset"]


@pytest.mark.parametrize(("reply", "stripped"), [
    (b"250-b\r\n250 STARTTLS\r\n", b"250 b\r\n"),
    (b"250-STARTTLS\r\n250-starttls\r\n250 SIZE\r\n", b"250-STARTTLS\r\n250 SIZE\r\n"),
    (b"250-b\r\n250-SIZE\r\n250 STARTTLS\r\n", b"250-b\r\n250 SIZE\r\n"),
    (b"250 b\r\n", b"250 b\r\n"),
    (b"502 STARTTLS\r\n", b"502 STARTTLS\r\n"),
])
def test_what_is_left_of_a_stripped_reply_is_a_reply(tiny: Callable[..., Tiny], reply: bytes, stripped: bytes) -> None:
    server = tiny({b"EHLO A": reply})
    with lab.Stripper(server.address) as link, lab.raw(link.address) as line:
        line.hear()
        line.say(b"EHLO a\r\n")
        assert line.hear() == stripped


def test_injector_adds_octets_in_the_same_flight(tiny: Callable[..., Tiny]) -> None:
    server = tiny({b"EHLO A": EHLO, b"STARTTLS": b"220 go\r\n"})
    with lab.inject(server.address, when=b"STARTTLS\r\n", what=b"RSET\r\nNOOP\r\n") as link, \
            lab.raw(link.address) as line:
        line.hear()
        line.say(b"EHLO a\r\nstarttls\r\n")
        assert [line.hear() for _ in range(4)] == [EHLO, b"220 go\r\n", b"250 OK\r\n", b"250 OK\r\n"]
    assert server.heard == [b"EHLO a\r\n", b"starttls\r\n", b"RSET\r\n", b"NOOP\r\n"]
    with pytest.raises(ValueError, match="'server' or 'client'"):
        lab.inject(server.address, b"a", b"b", into="both")
    with pytest.raises(TypeError, match="octets"):
        lab.inject(server.address, "STARTTLS", b"b")  # type: ignore[arg-type]


def test_injector_speaks_for_the_server(tiny: Callable[..., Tiny]) -> None:
    server = tiny({b"STARTTLS": b"220-go\r\n220 on\r\n"})
    with lab.inject(server.address, b"STARTTLS\r\n", b"250 AUTH PLAIN\r\n", into="client") as link, \
            lab.raw(link.address) as line:
        line.hear()
        line.say(b"NOOP\r\nSTARTTLS\r\nNOOP\r\n")
        assert [line.hear() for _ in range(4)] == [
            b"250 OK\r\n", b"220-go\r\n220 on\r\n", b"250 AUTH PLAIN\r\n", b"250 OK\r\n"]


# -- the wiretap --


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


SCRAM = ("C: AUTH SCRAM-SHA-256 " + b64("n,,n=user,r=rOpr"), "S: 334 " + b64("r=rOpr%hvY,s=W22Z,i=4096"),
         "C: " + b64("c=biws,r=rOpr%hvY,p=dHzb"), "S: 334 " + b64("v=6rri"), "C: ", "S: 235 in")
MECHANISMS = {
    "PLAIN": ("C: AUTH PLAIN " + b64("\0ana\0tides"), "S: 235 in"),
    "PLAIN, asked": ("C: AUTH PLAIN", "S: 334 ", "C: " + b64("\0ana\0tides"), "S: 235 in"),
    "LOGIN": ("C: AUTH LOGIN", "S: 334 " + b64("Username:"), "C: " + b64("ana"), "S: 334 " + b64("Password:"),
              "C: " + b64("tides"), "S: 235 in"),
    "CRAM-MD5": ("C: AUTH CRAM-MD5", "S: 334 " + b64("<1896.697@b.example>"),
                 "C: " + b64("ana b913a602c7eda7a495b4e6e7334d3890"), "S: 235 in"),
    "SCRAM-SHA-256": SCRAM,
}


@pytest.mark.parametrize(("mechanism", "given"), [
    ("PLAIN", ["the password", "the user name"]), ("PLAIN, asked", ["the password", "the user name"]),
    ("LOGIN", ["the password", "the user name"]),
    ("CRAM-MD5", ["a proof to try passwords on", "the user name"]),
    ("SCRAM-SHA-256", ["a proof to try passwords on", "the user name"]),
])
def test_what_each_mechanism_gives_away(mechanism: str, given: list[str]) -> None:
    panel, = lab.wiretap({mechanism: said("S: 220 hi", *MECHANISMS[mechanism])}).panels
    assert panel.given_away == given
    assert ("tides" in str(panel)) == ("⚠ password" in str(panel)) == ("the password" in given)
    assert [row.means for row in panel.rows if row.secret and row.mark != "D"] == []


def test_rows_do_not_depend_on_the_cuts() -> None:
    records = said("S: 220 hi", *MECHANISMS["LOGIN"], "C: MAIL FROM:<a@a.example>", "S: 250 OK", "C: DATA", "S: 354 go",
                   "C: Subject: x", "+", "+" + b64("Meet me at nine by the lighthouse."), "+.", "S: 250 OK")
    rows = overheard(records)
    bytewise = [Said(s.when, s.role, s.data[i : i + 1]) for s in records for i in range(len(s.data))]
    assert overheard(bytewise) == rows
    assert [row.mark for row in rows] == list("RRDDDDRRRRRRRDRR")
    text = "Meet me at nine by the lighthouse."
    assert Row("C", "D", b64(text), text, ("the letter",), octets=50, kind="body") in rows


def test_no_base64_is_no_secret() -> None:
    records = said("S: 220 hi", "C: AUTH PLAIN", "S: 334 ", "C: *", "S: 501 no", "C: AUTH PLAIN !!!!", "S: 501 no",
                   "C: AUTH PLAIN " + base64.b64encode(b"\xff\xfe\xfd").decode(), "S: 501 no", "C: AUTH", "S: 501 no")
    assert {row.mark for row in overheard(records)} == {"R"}
    assert str(lab.wiretap({"": []}).panels[0]) == "Given away: nothing."


def test_long_letters_are_shortened() -> None:
    records = said("S: 354 go", "C: x", *["+y"] * 40, "+.", "S: 250 OK")
    texts = [row.text for row in overheard(records)]
    assert texts == ["354 go", "x", *["y"] * 5, "… 35 lines more of the letter …", ".", "250 OK"]


def handshakes(name: str = "mx.b.example", version: ssl.TLSVersion | None = None) -> list[Said]:
    """A real handshake in memory, as it would cross the wire, and a letter behind it."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("mx.b.example").configure_cert(theirs)
    authority.configure_trust(ours)
    if version:
        ours.maximum_version = version
    pipes = {who: (ssl.MemoryBIO(), ssl.MemoryBIO()) for who in "CS"}
    ends = {"C": ours.wrap_bio(*pipes["C"], server_hostname=name),
            "S": theirs.wrap_bio(*pipes["S"], server_side=True)}
    records: list[Said] = []
    done: set[str] = set()
    while len(done) < 2:
        for who, other in ("CS", "SC"):
            try:
                ends[who].do_handshake()
                done.add(who)
            except ssl.SSLWantReadError:
                pass
            if who == "C" and who in done:
                ends[who].write(b"MAIL FROM:<ana@a.example>\r\n")
            if data := pipes[who][1].read():
                records.append(Said(float(len(records)), who, data))
                pipes[other][0].write(data)
    return records


def test_tls_seals_all_but_names_and_sizes() -> None:
    records = said("S: 220 hi", "C: STARTTLS", "S: 220 go") + handshakes()
    rows = overheard(records)
    assert rows[3].text == "TLS ClientHello (TLS 1.3)" and rows[3].means == "server name: mx.b.example"
    assert rows[4].text == "TLS ServerHello (TLS 1.3)"
    panel, = lab.wiretap({"": records}).panels
    assert panel.given_away == ["the server's name", "when, and how many octets"] and "ana" not in str(panel)
    assert panel.counts["opaque"] >= 2 and panel.counts["readable"] == 3
    bytewise = [Said(s.when, s.role, s.data[i : i + 1]) for s in records for i in range(len(s.data))]
    assert overheard(bytewise) == rows
    assert sum(row.octets for row in rows) == sum(len(record.data) for record in records)


def test_tls_1_2_shows_the_certificate() -> None:
    texts = [row.text for row in overheard(handshakes(version=ssl.TLSVersion.TLSv1_2))]
    assert texts[0] == "TLS ClientHello (TLS 1.2)"
    assert any("Certificate" in text for text in texts[1:])
    assert "TLS handshake" in texts, "Finished is sealed already"


def test_damaged_records_are_still_rows() -> None:
    hello = handshakes()[0].data
    for end in range(5, len(hello)):           # cut the message short, and say so in the record's header
        cut = hello[:3] + (end - 5).to_bytes(2, "big") + hello[5:end]
        sealed, = Records().feed(cut)
        assert sealed.size == end and not sealed.opaque
    assert next(Records().feed(b"\x63\x03\x03\x00\x01x")).text == "record of kind 99"
    assert list(Records().feed(b"\x16\x03")) == []
    assert next(Records().feed(b"\x15\x03\x03\x00\x02\x02\x28")).text == "alert 40"


def test_attackers_deeds_are_marked(tiny: Callable[..., Tiny]) -> None:
    server = tiny({b"EHLO A": EHLO})
    with lab.strip(server.address) as link, lab.raw(link.address) as line:
        line.hear()
        line.say(b"EHLO a\r\n")
        line.hear()
    panel, = lab.wiretap({"stripped": link.transcript}).panels
    assert str(panel).splitlines() == [
        "stripped", "R  S→C  220 hi", "R  C→S  EHLO a", "R  S→C  250-b.example", "R  S→C  250-SIZE 1000",
        "R  S→C  250 HELP", "⚠  the attacker took STARTTLS out", "Given away: nothing."]
    wellformed(panel.svg())


def wires(starttls: bool, mechanism: str, strip: bool) -> list[Said]:
    login = said("S: 220 hi", *MECHANISMS.get(mechanism, ()), "C: MAIL FROM:<a@a.example>", "S: 250 OK")
    sealed = [Said(0.0, "C", b"\x17\x03\x03\x00\x02xx"), Said(1.0, "S", b"\x17\x03\x03\x00\x02xx")]
    return [Said(0.0, "C", b"\x16\x03\x01\x00\x01\x0e"), *sealed] if starttls and not strip else login


def test_wiretap_panels() -> None:
    wiretap = lab.Wiretap(wires)
    assert list(wiretap.panels) == ["In the clear, AUTH PLAIN", "In the clear, AUTH SCRAM-SHA-256",
                                    "STARTTLS, AUTH PLAIN", "STARTTLS, stripped by an attacker, AUTH PLAIN"]
    assert [panel.given_away[0] for panel in wiretap.static] == [
        "the password", "a proof to try passwords on", "when, and how many octets", "the password"]
    assert str(wiretap).count("Given away: ") == 4 and str(wiretap).splitlines()[-1].startswith("R readable")
    svg = wellformed(wiretap._repr_mimebundle_()["image/svg+xml"])
    assert svg.count("as an eavesdropper has it") == 4 and "⚠ password" in svg
    assert list(lab.Wiretap(wires, ()).panels) == ["In the clear", "STARTTLS", "STARTTLS, stripped by an attacker"]
    assert list(lab.Wiretap(wires, (), {"mine": (True, "", False)}).panels) == ["mine"]
    wellformed(lab.wiretap({}).svg())
    wellformed(lab.wiretap({"": said("S: 220 " + "x" * 500, *["C: NOOP", "S: 250 OK"] * 40)}).svg())


def test_wiretap_widget() -> None:
    pytest.importorskip("ipywidgets")
    wiretap = lab.Wiretap(wires, ("PLAIN", "LOGIN"))
    assert "application/vnd.jupyter.widget-view+json" in wiretap._repr_mimebundle_()
    assert wiretap._pane.value.count("as an eavesdropper has it") == 1 and "⚠ password" in wiretap._pane.value
    wiretap._starttls.value = True
    assert wiretap.chosen == (True, "PLAIN", False) and wiretap.before == (False, "PLAIN", False)
    assert wiretap._pane.value.count("as an eavesdropper has it") == 2
    wiretap._strip.value = True
    wiretap._mechanism.value = "LOGIN"
    assert wiretap.chosen == (True, "LOGIN", True) and "STARTTLS, stripped by an attacker" in wiretap._pane.value
    assert wiretap._starttls.icon == "check"
    wellformed(wiretap._pane.value)


@pytest.mark.parametrize("seed", range(20))
def test_any_octets_can_be_drawn(seed: int) -> None:
    chance = random.Random(seed)
    pieces = [b"", b"\0\1\x7f\x85\r", "\ufffe\ud7ff é".encode(), b"\xff\xfe", b"\r\n", b"\n", b"<&>\"'", b"b: c\x0b",
              b"250-", b"354 ", b"334 ", b"AUTH PLAIN AAEC\r\n", b"BDAT 7 LAST\r\n", b"DATA\r\n",
              b"\x16\x03\x01\0\4\1\0\0\0"]
    records = [Said(chance.random() * n, chance.choice("CS"), b"".join(chance.choices(pieces, k=3))) for n in range(30)]
    wellformed(lab.wiretap({"<&>": records}).svg())
    for latency in (None, 0.1):
        wellformed(lab.glass_line({"<&>": records}, title="<&>", latency=latency).svg())


def test_lines_take_foreign_records() -> None:
    records = [SimpleNamespace(when=s.when, role=s.role, data=s.data) for s in grouped(2)]
    assert Passage(records).round_trips == 5
    assert len(overheard(records)) == len(grouped(2))


def test_round_trips_and_wiretap_of_real_starttls() -> None:
    pytest.importorskip("aiosmtpd")
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    authority.configure_trust(ours)
    with lab.aiosmtpd_server(tls_context=theirs) as peer, lab.count_turns(peer.address) as link:
        with smtplib.SMTP("localhost", link.address[1], local_hostname="a.example") as smtp:
            smtp.starttls(context=ours)
            smtp.sendmail("ana@a.example", "kenji@b.example", "hi")
    # dial, greeting, EHLO, STARTTLS, the handshake, EHLO, MAIL, RCPT, DATA, the letter, QUIT
    assert link.round_trips == 11
    panel, = lab.wiretap({"STARTTLS": link.transcript}).panels
    assert "server name: localhost" in str(panel) and "the letter" not in panel.given_away
