"""README.md, docs/ and SECURITY.md say what is there: chapters, code that runs, options, defaults, files."""
from __future__ import annotations

import argparse
import inspect
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import picture
import pytest
import yaml

from smtp_from_scratch import Server
from smtp_from_scratch.__main__ import parser
from smtp_from_scratch.auth import MOST_FAILURES
from smtp_from_scratch.bodies import SPOOL_IN_MEMORY, Memory
from smtp_from_scratch.conformance.server.runner import all_dialogues
from smtp_from_scratch.smtp import sets
from smtp_from_scratch.testing import DEFAULTS, FakeServer
from smtp_from_scratch.throttle import Guesses

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = {"serve", "send", "pop3", "inbox", "class", "talk", "check", "check-client", "user", "queue"}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, *kinds: str) -> list[str]:
    """The blocks of code of a page in these languages."""
    return [code for kind, code in BLOCK.findall(text_of(name)) if kind in kinds]


# --- README.md ---------------------------------------------------------------------------------------------------


def test_readme_is_little_more_than_a_screen() -> None:
    assert len(text_of("README.md").splitlines()) <= 90, "the rest belongs into docs/"
    assert [name for name in sorted(path.name for path in (ROOT / "docs").iterdir())
            if f"docs/{name}" not in text_of("README.md")] == []


def test_every_notebook_is_in_the_table_of_chapters_in_order() -> None:
    notebooks = ROOT / "notebooks"
    there = [path.relative_to(ROOT).as_posix() for path in sorted(notebooks.glob("*.ipynb"))]
    beside = [path.relative_to(ROOT).as_posix() for folder in ("extra", "solutions")
              for path in notebooks.joinpath(folder).rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts]
    rows = [line for line in text_of("README.md").splitlines() if line.startswith("| [")]
    links = [re.findall(r"\]\(([^)]*)\)", row) for row in rows]
    assert [row[0] for row in links if re.fullmatch(r"notebooks/\d\d_\w+\.ipynb", row[0])] == there
    assert set(beside) <= {link for row in links for link in row}, "a page or solutions that no row names"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_number_is_that_of_the_chapter_it_leads_to(path: Path) -> None:
    """Numbers stand in the names of notebooks, and in what a link to one is called."""
    for words, target in re.findall(r"\[([^\]]*)\]\(([^)]*\.ipynb)\)", text := path.read_text(encoding="utf-8")):
        name = Path(target).name
        assert not (number := re.match(r"\d\d", words)) or name.startswith(number[0]), f"[{words}] leads to {name}"
    prose = re.sub(r"\[[^\]]*\]\([^)]*\)|`[^`]*`", "", BLOCK.sub("", text))
    assert not re.findall(r"(?<!\.)\b0\d\b|[Cc]hapters? \d+", prose), "name a chapter, or link to it"


def test_solutions_stand_in_the_row_of_their_chapter() -> None:
    for row in text_of("README.md").splitlines():
        if found := re.match(r"\| \[(\d\d) [^]]*\]\(notebooks/(\w+\.ipynb)\).*", row):
            assert row.endswith(f"| [{found[1]}](notebooks/solutions/{found[2]}) |")


def test_the_picture_is_as_it_is_drawn_and_small_enough_for_a_phone() -> None:
    drawn = picture.picture(picture.session())
    assert picture.TARGET.read_text(encoding="utf-8") == drawn, "python tools/picture.py"
    width, height = map(float, re.findall(r'<svg [^>]*width="([\d.]+)" height="([\d.]+)"', drawn)[0])
    letters = min(map(float, re.findall(r'font-size="([\d.]+)"', drawn)))
    assert height <= 562 / 2 and letters * min(1.0, 358 / width) >= 11, "px, in a window of 390"


# --- code --------------------------------------------------------------------------------------------------------


def test_the_code_of_the_package_s_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    plain = [code for code in blocks("docs/package.md", "python") if "(smtp_server" not in code]
    assert len(plain) >= 6
    for code in plain:
        exec(compile(code, "docs/package.md", "exec"), names)
    assert "C: MAIL FROM:<ana@rio.example>" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["README.md", "docs/package.md"])
def test_the_code_for_pytest_runs_in_pytest(name: str, tmp_path: Path) -> None:
    """The page's blocks, one after another; in README.md the program is the one of the other page."""
    complete = [code for code in blocks("docs/package.md", "python") if "(smtp_server" in code]
    found = [code for code in blocks(name, "python") if "(smtp_server" in code]
    program = [] if found == complete else [complete[0].partition("def test_")[0]]
    (tmp_path / "test_page.py").write_text("\n".join(program + found), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"],
                          cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and f"{len(found)} passed" in done.stdout, done.stdout + done.stderr


# --- the command line --------------------------------------------------------------------------------------------


def lines_of_shell() -> Iterator[tuple[str, str]]:
    """Every command of ours on the pages, with the page's name."""
    for path in PAGES:
        name = path.relative_to(ROOT).as_posix()
        for code in blocks(name, "sh", "console"):
            for line in code.replace("\\\n", " ").splitlines():
                if line.removeprefix("$ ").startswith("smtp-from-scratch"):
                    yield name, line.removeprefix("$ ")


@pytest.mark.parametrize(("page", "line"), list(lines_of_shell()))
def test_commands_on_the_pages_are_understood(page: str, line: str) -> None:
    program, *words = shlex.split(line, comments=True)
    assert callable(parser().parse_args(words).run)


def test_there_are_commands_on_the_pages() -> None:
    assert {shlex.split(line)[1] for _, line in lines_of_shell()} == COMMANDS


def subparsers(of: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    [commands] = [action for action in of._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(commands.choices)


def test_every_command_has_its_section() -> None:
    sections = re.findall(r"^## (\S+)$", text_of("docs/command_line.md"), re.MULTILINE)
    assert set(sections) == set(subparsers(parser())) == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS - {"user"}))
def test_every_option_has_its_row_and_its_default(command: str) -> None:
    section = text_of("docs/command_line.md").partition(f"\n## {command}\n")[2].partition("\n## ")[0]
    rows = {option: row for row in section.splitlines() for option in re.findall(r"^\| `(--[a-z0-9-]+)", row)}
    actions = {action.option_strings[0]: action for action in subparsers(parser())[command]._actions
               if action.option_strings and action.dest != "help"}
    assert list(rows) == list(actions)
    for option, action in actions.items():
        if type(action.default) in (int, float):
            assert f"(default {action.default:.0f}" in rows[option], option
        assert ("may be repeated" in rows[option]) == isinstance(action, argparse._AppendAction), option


def test_exit_statuses_are_those_of_the_commands() -> None:
    from smtp_from_scratch.cli import common

    table = text_of("docs/command_line.md").partition("| exit status |")[2].partition("\n\n")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == sorted(
        {common.OK, common.REFUSED, common.USAGE, common.UNREACHABLE, common.NO_OUTPUT, common.DEFERRED})


def test_the_files_for_ci_can_be_read_and_call_us_as_we_are() -> None:
    action, gitlab = map(yaml.safe_load, blocks("docs/ci.md", "yaml"))
    steps = [step["run"] for step in action["jobs"]["conformance"]["steps"] if "run" in step]
    lines = [line for line in [*steps, *gitlab["smtp"]["script"]] if line.startswith("smtp-from-scratch")]
    assert len(lines) == 2
    for line in lines:
        assert callable(parser().parse_args(shlex.split(line)[1:]).run)
    [container] = blocks("docs/ci.md", "dockerfile")
    assert 'ENTRYPOINT ["smtp-from-scratch"]' in container


# --- facts -------------------------------------------------------------------------------------------------------


def test_limits_and_their_defaults() -> None:
    table = text_of("docs/package.md").partition("| argument | default |")[2].partition("\n\n")[0]
    said = {name: int(number) for name, number in re.findall(r"^\| `(\w+)` \| (\d+)", table, re.MULTILINE)}
    signature = inspect.signature(Server).parameters
    limits = [name for name in signature if name.startswith("max_") or name.endswith("timeout")]
    assert said == {name: signature[name].default for name in limits}
    assert f"{Memory().free >> 20} MiB of memory together" in text_of("docs/package.md")
    assert f"at most {SPOOL_IN_MEMORY >> 20} MiB" in text_of("docs/package.md")


def test_extensions_and_what_they_need() -> None:
    table = text_of("docs/package.md").partition("| keyword | class |")[2].partition("\n\n")[0]
    rows = [[cell.strip(" `") for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]
    assert {keyword for keyword, *_ in rows} == set(sets.KEYWORDS)
    import smtp_from_scratch

    for keyword, name, _, needs in rows:
        kind = getattr(smtp_from_scratch, name.partition("(")[0])
        assert (kind.keyword, set(needs.split())) == (keyword, set(kind.requires))


def test_what_a_server_for_tests_refuses_with() -> None:
    table = text_of("docs/package.md").partition("| method | what the server does |")[2].partition("\n\n")[0]
    for step, reply in DEFAULTS.items():
        assert f"{' '.join(reply.split()[:2])} at {step}" in table, step
    for name in ("refuse", "delay", "disconnect", "greylist", "clear"):
        [row] = re.findall(rf"^\| `{name}\((.*?)\)` \| (?!hangs up once)", table, re.MULTILINE)
        taken = inspect.signature(getattr(FakeServer, name)).parameters
        assert [word.partition("=")[0] for word in filter(None, row.split(", "))] == list(taken)[1:], name


def test_how_many_dialogues_there_are() -> None:
    text, ends = text_of("docs/conformance.md"), [dialogue.end for dialogue in all_dialogues()]
    [more_than], [nearly] = re.findall(r"more than (\d+) dialogues", text), re.findall(r"nearly (\d+) more", text)
    assert int(more_than) < ends.count("server") <= int(more_than) + 50
    assert int(nearly) - 20 <= ends.count("client") < int(nearly)


def test_how_guessing_passwords_is_slowed() -> None:
    numbers = {3: "three", 40: "forty"}
    text = " ".join(text_of("SECURITY.md").split())
    assert f"After {numbers[MOST_FAILURES]} wrong passwords a connection is closed." in text
    assert f"After {numbers[Guesses.FREE]} from one address" in text
    assert f"each costs {numbers[int(Guesses.PACE)]} seconds" in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_files_that_a_page_names_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|tools|binder|\.github|smtp_from_scratch)/[\w./*]*)`", text)
    assert not [name for name in named if not list(ROOT.glob(name.rstrip("/")))]
