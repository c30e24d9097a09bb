"""The stage hands: every object's data and text faces, SVG that is well formed, widgets through their handlers."""
from __future__ import annotations

import ast
import gc
import itertools
import re
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from graphlib import TopologicalSorter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from export import ROOT

from smtp_from_scratch import lab
from smtp_from_scratch.client import deliver
from smtp_from_scratch.conversation import rehearse
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import check, is_unsolved
from smtp_from_scratch.lab.deadline import OutOfTime, Over
from smtp_from_scratch.lab.figures.states import steps_of
from smtp_from_scratch.lab.register import check_of, every_check
from smtp_from_scratch.session import VERBS, Session, serve
from smtp_from_scratch.smtp import Client, Server
from smtp_from_scratch.transcript import Rehearsal, Said, lines_of
from smtp_from_scratch.wire import Reply

LAB = Path(lab.__file__).parent
BODY = b"Subject: tide\r\n\r\n.5 m at nine.\r\n"


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    yield
    lab.begin_anew()


def rehearsal(latency: float = 0.0, recipients: int = 1, body: bytes = BODY) -> Rehearsal:
    people = [f"kenji{n or ''}@b.example" for n in range(recipients)]
    letters = [(Envelope("ana@a.example", people), [body])]
    return rehearse(deliver("a.example", letters), serve(Session("b.example")), latency=latency)


def said(*words: str) -> list[Said]:
    """Records from `C: …` and `S: …`, a second apart."""
    return [Said(float(n), w[0], w[3:].encode() + b"\r\n") for n, w in enumerate(words)]


def picture(figure: Any) -> str:
    """A figure's SVG, parsed to be sure that it is well formed, legible and self-contained."""
    svg = str(figure._repr_mimebundle_()["image/svg+xml"])
    root = ElementTree.fromstring(svg)
    names = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert "title" in names and "desc" in names
    assert not re.search(r'\bid="|href|url\(|<script|@import', svg)
    assert float(root.get("width", "999")) <= 860
    assert all(float(size) >= 12 for size in re.findall(r'font-size="([\d.]+)"', svg))
    return svg


# -- importing --


NO_CHAPTERS = "smtp_from_scratch.transcript smtp_from_scratch.conformance smtp_from_scratch.conformance.headings"


def test_import_needs_nothing_and_loads_no_chapter() -> None:
    code = ("import sys\nfor name in ('IPython', 'ipywidgets', 'aiosmtpd', 'matplotlib'): sys.modules[name] = None\n"
            "from smtp_from_scratch import lab\nfor name in lab.__all__: getattr(lab, name)\n"
            "print(*(m for m in sys.modules if m.startswith('smtp_from_scratch.') and '.lab' not in m))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, NO_CHAPTERS), done.stderr


def test_without_ipywidgets_a_widget_shows_its_static_face(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    for thing in (lab.Player(rehearsal()), lab.YouAreTheServer(), lab.Journey().step(),
                  lab.RepliesInStream(b"250 OK\r\n", [3])):
        assert set(thing._repr_mimebundle_()) <= {"text/plain", "text/html", "image/svg+xml"}


def test_a_check_that_nobody_wrote_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="check_nothing"):
        _ = lab.check_nothing
    with pytest.raises(AttributeError):
        _ = lab.nothing
    assert "Transcript" in dir(lab)


# -- transcripts --


def test_transcript_in_the_notation_of_the_rfcs() -> None:
    transcript = lab.Transcript(rehearsal())
    assert str(transcript).splitlines()[:4] == [
        "S: 220 b.example SMTP ready", "C: HELO a.example", "S: 250 b.example", "C: MAIL FROM:<ana@a.example>"]
    assert "C: ..5 m at nine." in str(transcript).splitlines()
    assert "C: QUIT␍␊" in transcript.text(octets=True).splitlines()
    assert transcript.turns == rehearsal().turns == 13
    assert transcript.said == rehearsal().said and len(transcript) == len(transcript.said)
    bundle = transcript._repr_mimebundle_()
    assert bundle["text/plain"] == str(transcript) and "<details" in bundle["text/html"]
    assert "C: QUIT<sup>CR</sup><sub>LF</sub>\n" in bundle["text/html"] and "␍" not in bundle["text/html"]


def test_controls_are_spelled_in_small_letters() -> None:
    from smtp_from_scratch.lab.figures.faces import pre, rich

    assert "a<sup>NUL</sup>b<sup>CR</sup><sub>LF</sub>\n<sup>DEL</sup>" in pre("a␀b␍␊\n␡")
    assert rich("`QUIT␍␊`") == "<code>QUIT<sup>CR</sup><sub>LF</sub></code>"


def test_transcript_is_a_tap_at_either_end_and_forgets() -> None:
    transcript, theirs = lab.Transcript(), lab.Transcript()
    with Server(hostname="b.example", tap=theirs, extensions=None) as server, \
            Client(*server.address, local_hostname="a.example", tap=transcript, extensions=None) as client:
        client.sendmail("ana@a.example", "kenji@b.example", BODY)
    assert str(transcript) == str(theirs) == str(lab.Transcript(rehearsal()))
    transcript.clear()
    assert len(transcript) == 0 and str(transcript) == "(nothing was said)"


def test_transcript_of_foreign_records() -> None:
    records = [SimpleNamespace(when=0.0, role="S", data=b"220 hi\r\n"), SimpleNamespace(when=1.0, role="C", data=b"QU"),
               SimpleNamespace(when=2.0, role="C", data=b"IT\r\n")]
    assert str(lab.Transcript(records)) == "S: 220 hi\nC: QUIT"


def test_transcript_masks_passwords() -> None:
    transcript = lab.Transcript(said(
        "C: AUTH PLAIN AGFuYQBzZWNyZXQ=", "S: 334", "C: c2VjcmV0", "S: 334 ", "C: *", "S: 235 in", "C: NOOP"))
    for text in (transcript.text(), transcript.text(octets=True), transcript.html()):
        assert "AGFu" not in text and "c2Vj" not in text
    assert str(transcript).splitlines() == [
        "C: AUTH PLAIN ***", "S: 334", "C: ***", "S: 334", "C: *", "S: 235 in", "C: NOOP"]


def test_transcript_shortens_long_bodies() -> None:
    transcript = lab.Transcript(rehearsal(body=(b"x" * 98 + b"\r\n") * 1000))
    text = str(transcript)
    assert len(text) < 5500 and "C: … 96,000 octets more …" in text.splitlines()
    assert text.splitlines()[-4:-2] == ["C: .", "S: 250 the message is ours now"]


def test_lines_do_not_depend_on_the_cuts() -> None:
    whole = rehearsal().said
    bytewise = [Said(s.when, s.role, s.data[i : i + 1]) for s in whole for i in range(len(s.data))]
    assert [(x.role, x.data, x.kind) for x in lines_of(bytewise)] == [(x.role, x.data, x.kind) for x in lines_of(whole)]


def test_chunks_are_body_whatever_is_in_them() -> None:
    records = [Said(0, "C", b"BDAT 12 LAST\r\nQUIT\r\nAUTH xQUIT\r\n"), Said(1, "S", b"250 OK\r\n221 bye\r\n")]
    assert [line.kind for line in lines_of(records)] == ["command", "body", "body", "command", "reply", "reply"]


# -- ladders --


def test_ladder_counts_flights_and_seconds() -> None:
    far = lab.Ladder(rehearsal(latency=0.093), title="Rio to Tokyo")
    near = lab.Ladder(rehearsal())
    assert len(far.flights) == len(near.flights) == 13
    assert far.seconds == pytest.approx(rehearsal(latency=0.093).seconds)
    assert "13 flights, 1.21 s" in str(far) and str(near).splitlines()[-1] == "13 flights"
    computed = lab.Ladder(lab.Transcript(rehearsal()), latency=0.093)
    assert [f.left for f in computed.flights] == pytest.approx([f.left for f in far.flights])
    for ladder in (far, near, computed):
        assert picture(ladder) == picture(ladder)


def test_ladder_groups_what_flies_together_and_leaves_out_the_middle() -> None:
    group = lab.Ladder(said("S: 220 hi", "C: MAIL", "C: RCPT", "C: DATA", "S: 250", "S: 250", "S: 354"))
    assert [flight.labels for flight in group.flights] == [
        ["220 hi"], ["MAIL", "RCPT", "DATA"], ["250", "250", "354"]]
    long = lab.Ladder(rehearsal(latency=0.1, recipients=50))
    assert "flights more" in str(long) and len(str(long).splitlines()) < 40
    picture(long)
    picture(lab.Ladder([]))


def test_side_by_side() -> None:
    pair = lab.side_by_side(lab.Ladder(rehearsal(), title="one"), lab.Transcript(rehearsal()))
    assert str(pair).startswith("one\n") and "\n\nS: 220" in str(pair)
    assert "<svg" in pair._repr_mimebundle_()["text/html"]


# -- checks --


HINTS = ("How many?", "return n", "Give it back. Change nothing. That is all.")


def verdict_on(thing: Any, **options: Any) -> Any:
    @check(hints=HINTS, **options)
    def check_same(my_same: Any) -> Any:
        """It returns what it is given."""
        got = my_same(3)
        if got != 3:
            yield lab.Problem(gave=f"{got} for 3", wire="Kenji gets four letters.", look="the last line")
            yield lab.Problem(gave="never reported")

    return check_same(thing)


def test_a_check_passes() -> None:
    verdict = verdict_on(lambda n: n)
    assert verdict.passed and verdict and str(verdict) == "Passed: It returns what it is given."
    assert str(verdict_on(lambda n: n, passed="Every cut.")) == "Passed: Every cut."


def test_a_check_reports_one_thing() -> None:
    verdict = verdict_on(lambda n: n + 1)
    assert not verdict.passed and not verdict
    assert str(verdict).splitlines() == [
        "You gave: 4 for 3", "On the wire: Kenji gets four letters.", "Where to look: the last line",
        "Stuck: put `.hint(1)` after the check"]
    assert "text/html" in verdict._repr_mimebundle_()


@pytest.mark.parametrize("answer", [lambda n: n, lambda n: n + 1, ..., lambda n: n / 0],
                         ids=["passes", "wrong", "untouched", "raises"])
def test_hints_are_there_whatever_was_given(answer: Any) -> None:
    verdict = verdict_on(answer)
    assert [repr(verdict.hint(number)) for number in (1, 2, 3)] == list(HINTS)
    for number in (0, 4, -1):
        assert "hints 1, 2 and 3" in str(verdict.hint(number)) and "solutions" in str(verdict.hint(number))


@pytest.mark.parametrize("name", every_check())
def test_every_check_has_three_hints_before_any_attempt(name: str) -> None:
    check = getattr(lab, name)
    assert len(check.hints) == 3, f"{name}: a question, a line, the idea in three sentences"
    question, _, idea = (str(check.hint(number)) for number in (1, 2, 3))
    assert "?" in question or "." in question
    assert 3 <= len(re.findall(r"[.?:;](?=\s|$)", idea)), f"{name}: the idea in three sentences, not {idea!r}"
    assert len(set(check.hints)) == 3 and check(...).hint(3).words == idea


def stub(n: int) -> int: ...                    # type: ignore[empty-body]
def documented_stub(n: int) -> Any:
    """Not written yet."""
class EmptyStub: ...
def raising_stub(n: int) -> int:
    raise NotImplementedError
def saying_stub(n: int) -> int:
    raise lab.NotYet("write the second line first.")


@pytest.mark.parametrize("thing", [None, ..., [], "", [1, ...], {"a": ...}, stub, documented_stub, EmptyStub,
                                   raising_stub], ids=lambda thing: getattr(thing, "__name__", repr(thing)))
def test_a_stub_is_not_yet_an_answer(thing: Any) -> None:
    assert str(verdict_on(thing)).startswith("Not yet: ") and not verdict_on(thing).passed


def test_a_stub_may_say_what_is_missing() -> None:
    assert str(verdict_on(saying_stub)).splitlines()[0] == "Not yet: write the second line first."
    assert not is_unsolved(lambda n: n) and not is_unsolved(0) and not is_unsolved(["a"])


def test_a_check_never_raises() -> None:
    def my_same(n: int) -> float:
        return n / 0

    verdict = verdict_on(my_same)
    assert "ZeroDivisionError in line 2 of `my_same`" in str(verdict)
    assert "in another form: 3" in str(verdict_on(3)) and "TypeError" in str(verdict_on(lambda: 3))


def forever(n: int) -> int:
    while True:
        n += 1
def stubborn(n: int) -> int:
    while True:
        try:
            n += 1
        except Exception:
            pass
def sleeper(n: int) -> int:
    time.sleep(3600)
    return n
def leaver(n: int) -> int:
    sys.exit("goodbye")


@pytest.mark.parametrize("thing, line", [
    (forever, "in line [23] of `forever`"), (stubborn, "in line [2-6] of `stubborn`"),
    (sleeper, "in line 2 of `sleeper`")])
def test_a_check_never_hangs(thing: Any, line: str) -> None:
    verdict = verdict_on(thing, seconds=0.2)
    assert not verdict.passed and "still running after 0.2 seconds" in str(verdict)
    assert re.search(line, str(verdict)), str(verdict)


def test_what_was_stopped_does_not_go_on() -> None:
    def running() -> list[str]:
        return [t.name for t in threading.enumerate() if t.name == "check"]

    before = len(running())
    verdict_on(forever, seconds=0.1)
    assert len(running()) == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_list_that_grows_for_ever_is_stopped() -> None:
    """Nearly all of its time passes in the garbage collector, and in what is called before and after it."""
    def hoard(n: int) -> int:
        return len([[thing] for thing in itertools.repeat(n)])

    def called(phase: str, facts: dict[str, int]) -> None:
        for _ in range(1000):
            pass

    before = set(threading.enumerate())
    gc.callbacks.append(called)
    try:
        assert "still running after 0.3 seconds" in str(verdict_on(hoard, seconds=0.3))
    finally:
        gc.callbacks.remove(called)
    assert not set(threading.enumerate()) - before and gc.isenabled()


def test_a_check_never_hangs_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_threads(thread: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", no_threads)
    assert "still running after 0.1 seconds in line" in str(verdict_on(forever, seconds=0.1))
    assert verdict_on(lambda n: n).passed and sys.gettrace() is None


@pytest.mark.parametrize("early", [True, False])
def test_what_is_over_is_not_struck(early: bool) -> None:
    over, ready, go, struck = Over(), threading.Event(), threading.Event(), list[bool]()

    def work() -> None:
        try:
            if not early: over.note()
            ready.set()
            go.wait(30)
        except OutOfTime:
            struck.append(True)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(30)
    over.strike(thread)
    go.set()
    thread.join(30)
    assert struck == [True] * early


def test_a_check_survives_exit_and_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "SystemExit in line 2 of `leaver`: goodbye" in str(verdict_on(leaver))
    join = threading.Thread.join

    def interrupted(thread: Any, timeout: Any = None) -> None:
        if timeout == 5.0:
            raise KeyboardInterrupt
        join(thread, timeout)

    monkeypatch.setattr("threading.Thread.join", interrupted)
    assert str(verdict_on(forever, seconds=5.0)).startswith("Not yet: you stopped the check")


def test_verdicts_are_rendered_and_plain_text_stays_plain() -> None:
    @check(hints=HINTS)
    def check_rich(my_rich: Any) -> Any:
        """It is rich."""
        return lab.Problem("`my_rich(3)` is <3>\n  indented", "RFC 5321 §4.2.1 and §4.5 want a*b*c", "`x`")

    verdict = check_rich(3)
    html = verdict.html()
    assert "<code>my_rich(3)</code> is &lt;3&gt;<br>&nbsp;&nbsp;indented" in html and "`" not in html
    assert '<a href="https://www.rfc-editor.org/rfc/rfc5321#section-4.2.1">RFC 5321 §4.2.1</a>' in html
    assert '<a href="https://www.rfc-editor.org/rfc/rfc5321#section-4.5">§4.5</a>' in html and "a*b*c" in html
    assert "style=" not in html and "✗ <b>You gave:</b>" in html
    assert "You gave: `my_rich(3)` is <3>" in str(verdict)
    for thing, sign in ((lambda n: n, "✓ <b>Passed:</b>"), (..., "… <b>Not yet:</b>")):
        assert sign in verdict_on(thing).html()


# -- states, matrix, diagram --


def test_steps_follow_the_server() -> None:
    steps = steps_of(rehearsal())
    assert [step.state for step in steps] == ["start", "start", "ready", "ready", "mail", "mail", "rcpt", "rcpt",
                                              "body", "body", "ready", "ready", "closed"]
    assert [step.next for step in steps[:2]] == ["C", "S"] and steps[-1].next == ""
    assert "promise" in steps[10].means


def test_refusals_change_no_state() -> None:
    steps = steps_of(said("S: 220 hi", "C: EHLO a", "S: 250-b", "S: 250 HELP", "C: RCPT x", "S: 503 no", "C: NOOP",
                          "S: 421 leaving"))
    assert [step.state for step in steps] == ["start", "start", "ready", "ready", "ready", "ready", "closed"]


def test_reply_matrix_by_rehearsal() -> None:
    matrix = lab.reply_matrix(lambda: Session("b.example"), extra=["FROB"])
    assert matrix.states == ["start", "ready", "mail", "rcpt"]
    assert matrix.rows["DATA"] == {"start": 503, "ready": 503, "mail": 503, "rcpt": 354}
    assert matrix.rows["MAIL"] == {"start": 503, "ready": 250, "mail": 503, "rcpt": 503}
    assert set(matrix.rows["FROB"].values()) == {500}
    assert str(matrix.cell("DATA", "rcpt").transcript).count("\nC:") == 8
    assert matrix.cell("RCPT", "mail").ruled and not matrix.cell("RCPT", "ready").ruled
    assert "503" in matrix.rule("RCPT", "ready") and "rcpt" in matrix.rule("RCPT", "mail")
    assert "DATA  ✗ 503   ✗ 503   ✗ 503   … 354" in str(matrix).splitlines()
    assert "<table" in matrix._repr_mimebundle_()["text/html"]


def test_reply_matrix_of_a_learners_server() -> None:
    ours = lab.reply_matrix(Session)
    deny = replace(VERBS["VRFY"], handler=lambda session, argument: Reply(550, "no"))
    table = VERBS | {"VRFY": deny}
    theirs = lab.reply_matrix(lambda: Session(verbs=table))
    assert ours.diff(theirs) == {("VRFY", state): (252, 550) for state in ours.states}
    assert ours.diff(ours) == {}
    assert lab.reply_matrix(lambda: serve(Session()), VERBS).diff(ours) == {}


def test_reply_matrix_survives_broken_servers() -> None:
    def mute() -> Any:
        yield Reply(220, "hi")
        yield from ()

    def crashes() -> Any:
        yield Reply(220, "hi")
        raise ValueError("oops")

    assert {cell.fault for row in lab.reply_matrix(mute, VERBS).cells.values() for cell in row.values()} == {"crash"}
    assert "? crash" in str(lab.reply_matrix(crashes, VERBS))


def test_matrix_explorer() -> None:
    pytest.importorskip("ipywidgets")
    explorer = lab.reply_matrix(Session).explore()
    buttons = [w for row in explorer.box.children for w in row.children if hasattr(w, "click")]
    next(b for b in buttons if b.tooltip == "RCPT in state ready").click()
    assert explorer.chosen == ("RCPT", "ready") and "out of order" in explorer._pane.value
    assert explorer._repr_mimebundle_()["text/plain"] == str(explorer.matrix)


def test_state_diagram() -> None:
    diagram = lab.state_diagram(VERBS)
    assert diagram.states == ["start", "ready", "mail", "rcpt", "closed"]
    assert diagram.edges["ready", "mail"] == ["MAIL"] and diagram.edges["rcpt", "ready"] == ["HELO", "DATA", "RSET"]
    assert diagram.everywhere == ["NOOP", "VRFY", "HELP", "EXPN"]
    assert "mail    HELO RSET → ready; RCPT → rcpt; QUIT → closed" in str(diagram).splitlines()
    picture(diagram)
    odd = {"A": {"start": "x"}, "B": {"x": "y", "y": "y"}, "C": {"start": "y", "y": "start"}}
    picture(lab.state_diagram({name: SimpleNamespace(moves=moves) for name, moves in odd.items()}))
    picture(lab.state_diagram({}))


# -- widgets --


def test_player_steps() -> None:
    pytest.importorskip("ipywidgets")
    player = lab.Player(lab.Transcript(rehearsal()))
    assert " 3  ready         S: 250 b.example" in str(player).splitlines()
    bundle = player._repr_mimebundle_()
    assert bundle["text/plain"] == str(player) and "application/vnd.jupyter.widget-view+json" in bundle
    back, following = player.box.children[0].children
    assert (back.description, following.description) == ("Back", "Next") and back.disabled
    seen = [player._pane.value]
    for _ in player.steps:
        following.click()
        seen.append(player._pane.value)
    assert len(set(seen)) == len(player.steps) + 1 and following.disabled
    back.click()
    assert player._pane.value == seen[-2] and "state <b>ready</b>" in seen[-2]
    assert "Nobody has spoken" in lab.Player([]).box.children[1].value


def test_you_are_the_server() -> None:
    pytest.importorskip("ipywidgets")
    quiz = lab.YouAreTheServer()
    assert "Answers: 1 b, 2 c" in str(quiz)
    assert all(len(r.choices) == len(r.why) == 4 and 0 <= r.right < 4 for r in quiz.rounds)
    assert all("RFC 5321 §" in why for r in quiz.rounds for why in r.why)
    _ = quiz.box
    quiz._buttons[0].click()
    assert (quiz.at, quiz.wrong) == (0, 1) and "Not that one." in quiz._pane.value
    for played in quiz.rounds:
        quiz._buttons[played.right].click()
    assert quiz.at == len(quiz.rounds) and "1 wrong answer." in quiz._pane.value
    quiz._buttons[0].click()
    quiz._again.click()
    assert (quiz.at, quiz.wrong) == (0, 0)


def test_replies_do_not_change_with_the_cuts() -> None:
    data = b"220 hi\r\n250-a\r\n250-SIZE 1\r\n250 b\r\n250 O"
    figure = lab.RepliesInStream(data, [3, 20])
    assert [len(cutting.pieces) for cutting in figure.cuttings] == [1, 3, 5]
    assert {tuple(cutting.replies) for cutting in figure.cuttings} == {((0, 8), (8, 34))}
    assert figure.cutting.lines == [(0, 8), (8, 15), (15, 27), (27, 34)]
    assert "octets   220 hi␍␊250-a␍␊" in str(figure)
    picture(figure)
    picture(lab.RepliesInStream(b"250-" + b"x" * 200 + b"\r\n250 OK\r\n", [[1], [2, 70]]))
    pytest.importorskip("ipywidgets")
    _ = figure.box
    before = figure._pane.value
    figure._sliders[0].value = 10
    assert figure.cutting.cuts == (10, 20) and figure._pane.value != before


def test_journey() -> None:
    journey = lab.Journey()
    picture(journey)
    assert "Responsible: the MX." in " ".join(str(journey).split())
    pytest.importorskip("ipywidgets")
    stepper = journey.step()
    assert not stepper.svg() and "The MTA keeps the letter and tries for days" in stepper.html()
    assert "application/vnd.jupyter.widget-view+json" in stepper._repr_mimebundle_()
    _ = stepper.box
    for _ in range(3):
        stepper._next.click()
    assert "4. Relay" in stepper._pane.value and "responsible: the MX" in stepper._pane.value
    stepper._stop.click()
    assert "Down: MX" in stepper._pane.value and "responsible: the MTA" in stepper._pane.value
    stepper._back.click()
    assert "3. Which server" in stepper._pane.value and not stepper.stopped


# -- peers and lines --


def test_aiosmtpd_takes_a_letter_and_is_overheard(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("aiosmtpd")
    with lab.aiosmtpd_server(refuse=["nobody@b.example"]) as peer:
        with Client(*peer.address, local_hostname="a.example") as client:
            receipt = client.sendmail("ana@a.example", ["kenji@b.example", "nobody@b.example"], BODY)
        with lab.raw(peer.address) as idle:
            assert idle.hear() == b"220 mx.example aiosmtpd\r\n"
            peer.stop()                        # with a caller on the line
    assert list(receipt.refused) == ["nobody@b.example"]
    letter, = peer.messages
    assert (letter.mail_from, letter.rcpt_tos, letter.data) == ("ana@a.example", ["kenji@b.example"], BODY)
    assert "C: DATA\nS: 354" in str(peer.transcript)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(OSError):
        socket.create_connection(peer.address, 1)


def test_raw_hears_one_reply_at_a_time() -> None:
    with Server(hostname="b.example", extensions=None) as server, lab.raw(server.address, timeout=0.2) as line:
        line.say(b"HELO a.example\r\nHELP\r\nQU")
        assert [line.hear() for _ in range(3)] == [
            b"220 b.example SMTP ready\r\n", b"250 b.example\r\n",
            b"214-I understand\r\n214 HELO MAIL RCPT DATA RSET NOOP QUIT VRFY HELP EXPN\r\n"]
        with pytest.raises(TimeoutError, match="end of your line"):
            line.hear()
        line.say(b"IT\r\n")
        assert line.hear() == b"221 b.example says goodbye\r\n" and line.hear() == b""
        with pytest.raises(TypeError, match="bytes"):
            line.say("NOOP\r\n")  # type: ignore[arg-type]
        assert "C: QUIT" in str(line.transcript)


def test_a_line_that_was_closed_says_so() -> None:
    with lab.aiosmtpd_server() as peer:
        line = lab.raw(peer.address)
        assert line.hear().startswith(b"220")
        line.stop()
        for again in (lambda: line.say(b"NOOP\r\n"), line.hear):
            with pytest.raises(ConnectionError, match="this line is closed: run the cell again"):
                again()
        assert [said.role for said in line.transcript] == ["S"]


def test_slow_link_makes_every_round_trip_cost() -> None:
    with Server(hostname="b.example") as server, lab.slow_link(server.address, rtt=0.05) as link:
        began = time.monotonic()
        with Client(*link.address, local_hostname="a.example") as client:
            dialed = time.monotonic()
            client.noop()
            once = time.monotonic()
    assert dialed - began >= 0.149, "dial, greeting, HELO"
    assert once - dialed >= 0.049


def test_tap_notes_both_sides() -> None:
    with Server(hostname="b.example", extensions=None) as server, lab.tap(server.address) as link:
        with Client(*link.address, local_hostname="a.example", extensions=None) as client:
            client.sendmail("ana@a.example", "kenji@b.example", BODY)
    assert str(link.transcript) == str(lab.Transcript(rehearsal()))


def test_stop_all_stops_what_was_left() -> None:
    pytest.importorskip("aiosmtpd")
    peer = lab.aiosmtpd_server()
    peer.start()
    link = lab.slow_link(peer.address, 0.0)
    lab.stop_all()
    for address in (peer.address, link.address):
        with pytest.raises(OSError):
            socket.create_connection(address, 1)


def test_transcripts_and_taps_of_tls(tmp_path: Any) -> None:
    pytest.importorskip("aiosmtpd")
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    authority.configure_trust(ours)
    with lab.aiosmtpd_server(tls_context=theirs) as peer, lab.tap(peer.address) as link:
        with smtplib.SMTP("localhost", link.address[1], local_hostname="a.example") as smtp:
            smtp.starttls(context=ours)
            smtp.sendmail("ana@a.example", "kenji@b.example", "hi")
    assert "C: hi\nC: .\nS: 250 OK, kept" in str(peer.transcript), "aiosmtpd's own ears are above TLS"
    assert "C: (sealed by TLS)\nS: (sealed by TLS)" in str(link.transcript) and "kenji" not in str(link.transcript)


# -- rooms --


def imports_in(path: Path) -> set[str]:
    """The modules of the lab that a file imports, type-only imports and those within functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("smtp_from_scratch.lab."):
            found.add(str(node.module).removeprefix("smtp_from_scratch.lab."))
        if isinstance(node, ast.ImportFrom) and node.module == "smtp_from_scratch.lab":
            found |= {alias.name for alias in node.names}
    return found


def test_no_import_circle_in_the_lab() -> None:
    graph = {".".join(path.relative_to(LAB).with_suffix("").parts): imports_in(path) for path in LAB.rglob("*.py")}
    assert list(TopologicalSorter(graph).static_order())


def test_figures_know_no_wires_and_neither_knows_the_checks() -> None:
    allowed = {"figures": {"figures"}, "wires": {"figures", "wires"}}
    for room, others in allowed.items():
        for path in (LAB / room).glob("*.py"):
            wrong = {name for name in imports_in(path) if name.partition(".")[0] not in others}
            assert not wrong, f"{room}/{path.name} imports {wrong}"


def test_checks_are_found_without_loading_a_chapter() -> None:
    code = ("import sys\nfrom smtp_from_scratch import lab\nassert 'check_groups' in dir(lab)\nlab.check_ports\n"
            "print(*(m for m in sys.modules if m.startswith('smtp_from_scratch.lab.checks.')))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["smtp_from_scratch.lab.checks.start_here"], done.stderr


def test_a_check_is_found_by_its_old_name_and_by_what_it_examines() -> None:
    for old, new in (("check_09_groups", "check_groups"), ("check_05_codes", "check_session_codes"),
                     ("check_14_codes", "check_utf8_codes"), ("check_00_order", "check_commands")):
        assert getattr(lab, old) is getattr(lab, new)
    assert check_of("my_groups") is lab.check_groups and check_of("my_nothing") is None
    assert check_of("my_bugs", "client") is lab.check_client_bugs
    assert check_of("my_bugs", "auth") is lab.check_auth_bugs


def test_every_check_can_be_called_by_its_name() -> None:
    for name, entry in every_check().items():
        assert getattr(lab, name).__module__ == f"smtp_from_scratch.lab.checks.{entry.chapter}"
        assert not re.search(r"(_|^)\d\d(_|$)", name), "names have no chapter's number"


# -- as seen --


def on_github(face: Any) -> ElementTree.Element:
    """The HTML that GitHub makes of a stored output: no `style`, no `class`; parsed, so it must be well formed."""
    html = str(face._repr_mimebundle_()["text/html"]).replace("&nbsp;", " ").replace("<br>", "<br/>")
    stripped = re.sub(r' (style|class)="[^"]*"', "", html)
    return ElementTree.fromstring(f"<div>{stripped}</div>")


def cells(face: Any) -> list[list[str]]:
    """The table in an output, cell by cell."""
    return [["".join(cell.itertext()) for cell in row] for row in on_github(face).iter("tr")]


def test_the_player_shows_the_whole_dialogue_under_headings_where_styles_are_stripped() -> None:
    rows = cells(lab.Player(rehearsal()))
    assert rows[0] == ["", "who", "what is said", "server is then in"] and len(rows) == 14
    assert rows[1] == ["1", "server", "220 b.example SMTP ready", "start"] and rows[-1][-1] == "closed"


def test_the_player_keeps_every_step_in_view() -> None:
    pytest.importorskip("ipywidgets")
    player = lab.Player(rehearsal())
    _ = player.box
    player.go(13)
    shown = player._pane.value
    assert shown.count("<tr>") == 14 and "220 b.example" in shown and "▶&nbsp;13" in shown
    assert "server is then in" in shown


def test_other_tables_survive_github() -> None:
    assert cells(lab.Transcript(rehearsal()))[:3] == [["who", "what is said"], ["server", "220 b.example SMTP ready"],
                                                      ["client", "HELO a.example"]]
    matrix = cells(lab.reply_matrix(Session))
    assert matrix[0] == ["", "start", "ready", "mail", "rcpt"]
    assert ["DATA", "✗ 503", "✗ 503", "✗ 503", "… 354"] in matrix
    quiz = cells(lab.YouAreTheServer())
    assert len(quiz) == 10 and quiz[1][1] == "(the client has connected)" and "250 Hello" in quiz[1][2]
    played = cells(lab.dialogues(lambda: serve(Session("b.example")), "rfc5321-order"))
    assert played[0] == ["", "dialogue", "rule", "what was different"] and played[1][0] == "✓"


@pytest.mark.parametrize("face", [
    lambda: lab.Transcript(rehearsal()), lambda: lab.Transcript(), lambda: lab.Player(rehearsal()),
    lambda: lab.reply_matrix(Session), lambda: lab.YouAreTheServer(),
    lambda: lab.dialogues(lambda: serve(Session("b.example")), "rfc6152")],
    ids=["transcript", "empty", "player", "matrix", "quiz", "dialogues"])
def test_stored_html_takes_the_colors_of_the_theme(face: Any) -> None:
    html = str(face()._repr_mimebundle_()["text/html"])
    for style in re.findall('style="([^"]*)"', html):
        paper = "background:#" in style
        assert ("color:#1a1a1a" in style) == paper, "its own paper needs its own ink, and none of both is the theme's"
    names = ["".join(name.itertext()).strip() for name in on_github(face()).iter("summary")]
    assert all(names), "folds have names"


def test_a_picture_of_its_own_has_no_style() -> None:
    for figure in (lab.Ladder(rehearsal()), lab.Journey(), lab.state_diagram(VERBS), lab.map("wire")):
        assert "style=" not in figure._repr_mimebundle_()["image/svg+xml"]
