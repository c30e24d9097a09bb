"""The devices of a chapter: predictions, yours or ours, progress, the map; with somebody there, and with nobody."""
from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from export import ROOT
from nbclient import NotebookClient
from refresh import kernel_environment

from smtp_from_scratch import client, lab, pipelining
from smtp_from_scratch.lab import prediction, record, rooms, swap
from smtp_from_scratch.lab.check import Problem, check


@pytest.fixture(autouse=True)
def a_fresh_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody is there, and nothing was asked yet."""
    for name in ("SMTP_FROM_SCRATCH_PROGRESS", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    for kept in (prediction._made, prediction._pairs, prediction._latest):
        monkeypatch.setattr(prediction, next(n for n, v in vars(prediction).items() if v is kept), type(kept)())
    monkeypatch.setattr(record, "_chapter", "")
    yield
    lab.restore()


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Somebody sits before JupyterLab, in the notebook 01_wire; the file in which that is kept."""
    monkeypatch.setenv("JPY_SESSION_NAME", "01_wire.ipynb")
    monkeypatch.setattr(record, "HERE", tmp_path)
    return tmp_path / "progress.json"


def asked(*choices: str, **options: Any) -> Any:
    made = lab.predict(*choices, **options)
    assert made is not None
    return made


def html(face: Any) -> str:
    return str(face._repr_mimebundle_()["text/html"])


# -- predictions --


def test_with_nobody_there_a_prediction_is_a_text() -> None:
    assert str(asked("0.1 s", "1 s", "10 s")) == "What do you think? 0.1 s · 1 s · 10 s"
    assert str(lab.reveal("10 s")) == "It is: 10 s"
    assert str(asked(unit="octets")) == "What do you think? A number, in octets."
    assert str(lab.reveal(57)) == "It is: 57 octets"
    assert str(asked("Who gets a letter tonight?")) == "Who gets a letter tonight? (A line of text.)"
    assert str(lab.foresaw()) == "No prediction was made in this run."
    assert "style=" not in html(asked("0.1 s", "1 s")) + html(lab.reveal("1 s")) + html(lab.foresaw())


def test_a_folded_output_still_begins_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.predict() is None
    assert capsys.readouterr().out == "Your prediction first; then open this.\n"


def test_choices_are_compared_and_counted() -> None:
    for answer, sign in (("1 s", "✗"), ("10 s", "✓")):
        asked("0.1 s", "1 s", "10 s", name=answer).say(answer)
        assert str(lab.reveal("10 s")) == f"{sign} You said: {answer}\n  It is:    10 s"
    assert str(lab.foresaw()) == "You foresaw 1 of 2."


@pytest.mark.parametrize("said, truth, right", [
    ("57", 57, True), ("60", 57, True), ("70", 57, False), ("1,000", 1000, True), ("1000 octets", "1,000", True),
    ("a lot", 57, False), ("0", 0, True), ("-3", 3, False)])
def test_numbers_are_compared_nearly(said: str, truth: Any, right: bool) -> None:
    asked(unit="octets").say(said)
    assert str(lab.reveal(truth)).startswith("✓" if right else "✗")


def test_a_number_without_a_unit_and_a_tighter_bound() -> None:
    asked(unit="").say("12")
    assert str(lab.reveal(11, within=0)).startswith("✗ You said: 12\n  It is:    11")


def test_a_line_of_text_is_judged_by_the_learner() -> None:
    pytest.importorskip("ipywidgets")
    asked("Who gets it?").say("  the  Mayor ")
    assert str(lab.reveal("The mayor")).startswith("✓")
    asked("Who gets what?").say("the mayor, a bridge")
    reveal = lab.reveal("The mayor, from Kenji")
    assert str(reveal).startswith("… You said")
    reveal.box.children[1].click()
    assert str(reveal).startswith("✓") and str(lab.foresaw()) == "You foresaw 2 of 2."


def test_what_is_said_after_the_truth_does_not_count() -> None:
    made = asked("yes", "no")
    lab.reveal("no")
    made.say("no")
    assert str(lab.reveal("no")).startswith("✓") and str(lab.foresaw()) == "No prediction was made in this run."
    made = asked("yes", "no", name="another")
    made.say("yes")
    lab.reveal("no")
    made.say("no")
    assert made.said == "yes" and "You said: yes. It was: no." in str(made)


def test_cells_can_be_run_twice_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = ["first"]
    monkeypatch.setattr(prediction, "running_cell", lambda: cell[0])
    asked("yes", "no", name="a").say("yes")
    assert str(lab.reveal("yes")).startswith("✓ You said: yes")
    cell[0] = "second"
    asked("yes", "no", name="b").say("no")
    assert str(lab.reveal("yes")).startswith("✗ You said: no")
    cell[0] = "first"
    assert str(lab.reveal("yes")).startswith("✓ You said: yes")
    assert asked("yes", "no", name="a").said == "yes" and str(lab.foresaw()) == "You foresaw 1 of 2."


def test_a_prediction_is_named_to_be_revealed_elsewhere() -> None:
    asked("yes", "no", name="early").say("yes")
    asked("red", "blue").say("red")
    assert "You said: yes" in str(lab.reveal("yes", name="early"))
    assert str(lab.reveal("red", name="nobody asked")) == "It is: red"


def test_buttons_say_it() -> None:
    pytest.importorskip("ipywidgets")
    made = asked("0.1 s", "1 s")
    _, controls, pane = made.box.children
    assert [one.description for one in controls.children] == ["0.1 s", "1 s"]
    controls.children[1].click()
    assert made.said == "1 s" and "You said: 1 s." in pane.value and controls.children[1].button_style == "info"
    lab.reveal("0.1 s")
    assert all(one.disabled for one in controls.children) and "It was: 0.1 s." in pane.value
    made = asked(unit="s")
    _, controls, pane = made.box.children
    controls.children[0].value = "3"
    controls.children[1].click()
    assert made.said == "3" and "3" in pane.value


def test_a_prediction_survives_a_restart(somebody: Path) -> None:
    asked("1 s", "10 s").say("1 s")
    lab.reveal("10 s")
    kept = json.loads(somebody.read_text())["wire"]["predictions"]
    assert kept == {"1 s | 10 s": {"said": "1 s", "truth": "10 s", "foresaw": False}}
    prediction._made.clear()
    assert "You said: 1 s. It was: 10 s." in str(asked("1 s", "10 s"))
    assert str(lab.foresaw()) == "You foresaw 0 of 1."


# -- progress --


def passing(thing: Any) -> Any:
    return lab.check_ports(thing)


RIGHT = {"a": 465, "b": 587, "c": 25, "d": 993, "e": 465}


def test_nothing_is_kept_where_nobody_sits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(record, "HERE", tmp_path)
    assert passing(RIGHT).passed and not list(tmp_path.iterdir())
    neutral = str(lab.progress())
    assert neutral.startswith("Nothing is kept yet.") and str(lab.progress("wire")) == neutral
    (tmp_path / "progress.json").write_text('{"wire": {"checks": {"check_lines": true}}}')
    assert str(lab.progress()) == neutral, "a file that lies there by chance must not change a stored output"


def test_what_passed_is_kept_and_counted(somebody: Path) -> None:
    assert passing(RIGHT).passed and not lab.check_holders({"a": "rio"}).passed
    asked("yes", "no").say("no")
    lab.reveal("no")
    assert str(lab.progress()).splitlines() == ["`start_here`: 1 of 3 checks passed",
                                                "`wire`: 0 of 9 checks passed, 1 of 1 predictions right"]
    assert str(lab.progress("start_here")) == "`start_here`: 1 of 3 checks passed"
    assert "<code>wire</code>" in html(lab.progress()) and "style=" not in html(lab.progress())
    assert [path.name for path in somebody.parent.iterdir()] == ["progress.json"], "no temporary file stays"


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"wire": {"checks": {}}}'])
def test_a_broken_file_is_begun_anew(somebody: Path, text: str) -> None:
    somebody.write_text(text)
    assert str(lab.progress()).startswith("Nothing is kept yet.")
    passing(RIGHT)
    assert str(lab.progress()) == "`start_here`: 1 of 3 checks passed"


def test_solutions_are_no_progress(monkeypatch: pytest.MonkeyPatch, somebody: Path) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "solutions/00_start_here.ipynb")
    assert passing(RIGHT).passed and not somebody.exists()


def test_progress_can_be_elsewhere_or_off(monkeypatch: pytest.MonkeyPatch, somebody: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("SMTP_FROM_SCRATCH_PROGRESS", "off")
    assert passing(RIGHT).passed and not somebody.exists()
    monkeypatch.setenv("SMTP_FROM_SCRATCH_PROGRESS", str(tmp_path / "other.json"))
    assert passing(RIGHT).passed and (tmp_path / "other.json").exists() and not somebody.exists()


def test_a_folder_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch, somebody: Path) -> None:
    monkeypatch.setattr(record, "HERE", somebody.parent / "gone")
    assert passing(RIGHT).passed


def test_the_chapter_is_told_by_the_map_or_by_the_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    assert record.here() == ""
    monkeypatch.setenv("JPY_SESSION_NAME", "course/09_pipelining.ipynb")
    assert record.here() == "pipelining"
    lab.map("envelope")
    assert record.here() == "envelope"


def test_progress_is_ignored_by_git() -> None:
    assert "progress.json" in (ROOT / ".gitignore").read_text().splitlines()


# -- yours or ours --


def my_groups(verbs: Any) -> Any:
    ...


def good_groups(verbs: Any) -> Any:
    cut: list[list[str]] = [[]]
    for verb in verbs:
        cut[-1].append(verb)
        if verb not in pipelining.FREE:
            cut.append([])
    return [group for group in cut if group]


good_groups.__name__ = "my_groups"


def bad_groups(verbs: Any) -> Any:
    return [list(verbs)]


bad_groups.__name__ = "my_groups"


@pytest.mark.parametrize("mine, line", [
    (my_groups, "ours: `my_groups` is not written yet"), (..., "ours: `my_groups` is not written yet"),
    (lambda verbs: [None][0], "ours: `my_groups` is not finished yet"),
    (bad_groups, "ours: `my_groups` does not pass its check yet"),
    (good_groups, "yours: `my_groups` runs from here on")])
def test_yours_or_ours(mine: Any, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    got = lab.yours(mine, pipelining.groups)
    assert capsys.readouterr().out == line + "\n"
    assert got is (mine if line.startswith("yours") else pipelining.groups)


def test_yours_within_the_package_and_back_again() -> None:
    ours = pipelining.groups
    lab.yours(my_groups, ours, "pipelining")
    assert pipelining.groups is ours, "a stub replaces nothing"
    lab.yours(good_groups, ours, "pipelining")
    assert pipelining.groups is good_groups
    lab.restore()
    assert pipelining.groups is ours


def test_use_reaches_every_room_and_no_judge() -> None:
    def reply_reader() -> Any:
        raise AssertionError("never called")

    from smtp_from_scratch import conversation
    from smtp_from_scratch.conformance.server import player as examiner
    from smtp_from_scratch.lab.checks import conversation as checks

    before = conversation.read_reply
    lab.use("conversation", read_reply=reply_reader)
    assert {conversation.read_reply, client.read_reply} == {reply_reader}
    for judge in (examiner, checks):
        assert reply_reader not in vars(judge).values()
    lab.use("conversation", read_reply=bad_groups)
    lab.restore()
    assert conversation.read_reply is client.read_reply is before and not swap._replaced
    with pytest.raises(AttributeError):
        lab.use("conversation", no_such_name=1)


def test_yours_needs_a_check() -> None:
    with pytest.raises(LookupError, match="no check examines my_nonsense"):
        lab.yours(..., nonsense)

    @check(hints=("?", "-", "a. b. c."))
    def check_nonsense(my_nonsense: Any) -> Any:
        """Fine."""
        return None if my_nonsense(1) == 1 else Problem("wrong")

    assert lab.yours(lambda n: n, nonsense, check=check_nonsense)(5) == 5


def nonsense(n: int) -> int:
    return n + 1


def test_classes_are_swapped_too(capsys: pytest.CaptureFixture[str]) -> None:
    class MyLimits:
        """Nothing yet."""

    class Limits:
        """Ours."""

    assert lab.yours(MyLimits, Limits) is Limits
    assert capsys.readouterr().out == "ours: `MyLimits` is not written yet\n"


# -- the map --


def test_the_map_is_drawn_from_the_imports() -> None:
    drawn = lab.map("pipelining")
    assert "ehlo" in drawn.uses and "smtp" in drawn.used_by and drawn.lit == "pipelining"
    assert drawn.floors[0] == ["wire"] and "[pipelining]" in str(drawn)
    for floor, names in enumerate(drawn.floors):
        below = {name for names in drawn.floors[:floor] for name in names}
        assert all(drawn.graph[name] <= below for name in names)


def test_a_chapter_of_the_third_part_changes_no_map_before_it() -> None:
    from smtp_from_scratch.lab.rooms import imports, numbers

    late = {name for name, number in numbers().items() if number > 20 and name not in imports()["smtp"]}
    assert "queue" in late and "loop" not in late
    for chapter in ("start_here", "wire", "report"):
        assert not late & set(lab.map(chapter).graph)
    assert "report" in lab.map("queue").uses and "queue" in lab.map("loop").graph


def test_attempts_are_drawn_and_told() -> None:
    figure = lab.Attempts([0.0, 0.5, 26.0], {26.0: "failed"})
    first, _, day, other = figure.text().splitlines()
    assert first == "3 attempts in 2 days; after 26 hours the sender hears: failed"
    assert day.endswith("||" + "." * 46) and other.endswith("...." + "!" + "." * 43)
    root = ElementTree.fromstring(figure.svg())
    assert "failed" in figure.svg() and "3 attempts in 2 days" in "".join(root.itertext())
    assert lab.Attempts([]).text().startswith("0 attempts in 1 day\n")


def test_where_a_message_was_offered() -> None:
    from smtp_from_scratch.queue import Relayed
    from smtp_from_scratch.relay import Carried
    from smtp_from_scratch.wire import Reply

    outcome = Carried()
    for host, said in (("mx", {"yui@a.example": Reply(250, "kept"), "li@a.example": Reply(452, "<full>")}),
                       ("backup", {"li@a.example": Reply(550, "nobody")}),
                       ("oslo", {"bo@b.example": Reply(250, "ok")})):
        outcome.attempts.append((host, Relayed(said)))
        outcome |= said
    outcome["eve@c.example"] = Reply(556, "takes no mail", "5.1.10")
    figure = lab.Tried(outcome)
    assert [line.split() for line in figure.text().splitlines()] == [
        "4 recipients, 3 attempts: 2 handed on, 0 for later, 2 refused".split(), [],
        ["yui@a.example,", "li@a.example"], ["✓", "mx", "yui:", "250", "kept"], ["~", "li:", "452", "<full>"],
        ["✗", "backup", "550", "nobody"], ["bo@b.example"], ["✓", "oslo", "250", "ok"],
        ["eve@c.example"], ["✗", "no", "host", "to", "ask", "556", "5.1.10", "takes", "no", "mail"]]
    assert "&lt;full&gt;" in figure.svg() and "2 handed on" in figure.svg()
    assert lab.Tried(Carried()).text().startswith("0 recipients, 0 attempts")


def test_the_map_says_which_stages_of_an_own_server_a_chapter_lights() -> None:
    several, one, none = lab.map("session"), lab.map("pipelining"), lab.map("maildir")
    assert "lights stages 1 to 6 of 19, from A greeting to" in several.text() and several.stages in several.svg()
    assert "lights stage 13 of 19, PIPELINING." in one.text() and one.stages in one.svg()
    assert none.stages == "" and "lights" not in none.text()


@pytest.mark.parametrize("chapter", ["wire", "envelope", "session", "smtp", "start_here"])
def test_the_map_survives_github_and_dark_themes(chapter: str) -> None:
    bundle = lab.map(chapter)._repr_mimebundle_()
    svg = bundle["image/svg+xml"]
    root = ElementTree.fromstring(svg)
    assert "style=" not in svg and "<img" not in svg and "text/html" not in bundle
    assert 'fill="#ffffff"' in svg, "paper of its own is legible in the dark theme"
    drawn = {element.text for element in root.iter() if element.tag.endswith("}text")}
    assert set(lab.map(chapter).graph) <= drawn and float(root.get("width", "999")) <= 860
    for rect in (element for element in root.iter() if element.tag.endswith("}rect")):
        assert 0 <= float(rect.get("x", 0)) and float(rect.get("x", 0)) + float(rect.get("width", 0)) <= 860


def test_a_map_of_many_rooms_and_of_circles() -> None:
    many = {f"a_room_with_a_name_{n}": frozenset[str]() for n in range(12)}
    assert rooms.RoomMap("", many).svg().count("<text") == 12
    assert len(rooms.floors({"a": frozenset("b"), "b": frozenset("a")})) == 2


# -- in a kernel --

CELLS = [
    "from smtp_from_scratch import lab\nlab.map('pipelining')",
    "lab.predict('0.1 s', '1 s')", "'a cell between'", "lab.reveal('1 s')", "lab.predict('yes', 'no')",
    "print('reveals')\nlab.reveal('no')",
    "def my_groups(verbs): ...\nfrom smtp_from_scratch.pipelining import groups\n"
    "groups = lab.yours(my_groups, groups, 'pipelining')\nlab.check_groups(my_groups)", "lab.check_groups.hint(3)",
    "lab.foresaw()", "lab.progress()",
]


def run(tmp_path: Path, cells: list[str], **environment: str) -> list[str]:
    """What a notebook of these cells shows: the plain text of each output."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client_ = NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client_.execute(env=kernel_environment(str(tmp_path)) | environment)
    return ["\n".join(out.get("text", "") or out.data["text/plain"] for out in cell.outputs) for cell in notebook.cells]


def test_in_a_kernel_with_nobody_there(tmp_path: Path) -> None:
    shown = run(tmp_path, CELLS)
    assert shown == run(tmp_path, CELLS), "a stored output is the same every time"
    assert shown[1] == "What do you think? 0.1 s · 1 s" and shown[3] == "It is: 1 s"
    assert shown[6].startswith("ours: `my_groups` is not written yet\nNot yet: replace the `...` by your answer")
    assert shown[8] == "No prediction was made in this run." and not (tmp_path / "progress.json").exists()


def test_in_a_kernel_with_somebody_there(tmp_path: Path) -> None:
    answered = ["from smtp_from_scratch import lab\none = lab.predict('yes', 'no')\none.say('yes')", "lab.reveal('no')",
                "lab.predict('red', 'blue').say('blue')", "lab.reveal('blue')", "lab.foresaw()",
                "def my_groups(verbs):\n    print('in the thread')\n    return 1 / 0\nlab.check_groups(my_groups)"]
    shown = run(tmp_path, answered, JPY_SESSION_NAME="09_pipelining.ipynb")
    assert shown[1].startswith("✗ You said: yes") and shown[3].startswith("✓ You said: blue")
    assert shown[4] == "You foresaw 1 of 2."
    assert shown[5].startswith("in the thread\n") and re.search("ZeroDivisionError in line 3 of `my_groups`", shown[5])
    kept = json.loads((tmp_path / "progress.json").read_text())
    assert set(kept["pipelining"]["predictions"]) == {"yes | no", "red | blue"}
