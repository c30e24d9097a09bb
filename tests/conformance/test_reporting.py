"""What a run looks like to a person, to a program, to somebody's CI."""
from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from smtp_from_scratch import Server
from smtp_from_scratch.__main__ import main
from smtp_from_scratch.cli import examine
from smtp_from_scratch.conformance import baseline, report
from smtp_from_scratch.conformance.notation import parse
from smtp_from_scratch.conformance.server import runner
from smtp_from_scratch.conformance.server.runner import (
    FAILED,
    GAP,
    KEPT,
    PASSED,
    SKIPPED,
    Outcome,
    Record,
    all_dialogues,
)
from smtp_from_scratch.conversation import Channel, Said
from smtp_from_scratch.lab import aiosmtpd_server

RULE = "== rule {}\nrfc: 5321 §4.1.4\nlevel: {}\nasks: something\n--\nS: 220\n"


def outcome(title: str, status: str, level: str = "MUST", reason: str = "") -> Outcome:
    [dialogue] = parse(RULE.format(title, level))
    return Outcome(dialogue, status, reason, said=[said("S", b"220 hello\r\n")])


def said(role: str, data: bytes) -> Said:
    """A record of what an end said."""
    record = Record()
    Channel(role, record).say(data)
    return record.said[0]


OUTCOMES = [outcome("one", PASSED), outcome("two", FAILED, reason="expected 1"), outcome("three", FAILED, "SHOULD"),
            outcome("four", SKIPPED, reason="is old"), outcome("five", FAILED, "SHOULD", "expected 2")]


@pytest.mark.parametrize("outcomes, line", [
    (OUTCOMES, "1 MUST, 2 SHOULD broken; 1 passed; 1 skipped"),
    (OUTCOMES[:1], "nothing broken; 1 passed; 0 skipped"),
    (OUTCOMES[2:], "2 SHOULD broken; 0 passed; 1 skipped"),
])
def test_the_last_line(outcomes: list[Outcome], line: str) -> None:
    assert report.last_line(outcomes) == line


def test_the_table_tells_levels_apart() -> None:
    assert " 5321        1        1        2        1" in report.table(OUTCOMES)


def test_repeats_are_folded() -> None:
    lines = ["C: MAIL", "S: 250", *(f"{who} {n}" for n in range(50) for who in ("C: RCPT", "S: 250")), "C: DATA"]
    assert list(report.folded(lines)) == ["C: MAIL", "S: 250", "C: RCPT 0", "S: 250 0", "… 48 times more …",
                                          "C: RCPT 49", "S: 250 49", "C: DATA"]
    assert list(report.folded(["a", "b", "a", "b", "a", "b"])) == ["a", "b", "a", "b", "a", "b"]
    assert list(report.folded([])) == []


def test_the_deciding_reply_is_kept_and_no_line_is_called_broken_that_is_not() -> None:
    record = Record()
    for number in range(3 * KEPT):
        record(said("C", b"NOOP") if number % 2 else said("S", b"250 ok\r\n"))
        record(said("C", b"\r\n")) if number % 2 else None
    record(said("S", b"500 the end\r\n"))
    lines = list(report.transcript(record.said))
    assert lines[-1] == "S: 500 the end" and any(GAP in line and "left out" in line for line in lines)
    assert not [line for line in lines if "missing" in line]
    assert list(report.transcript([said("C", b"NOOP\n"), said("S", b"250 ok")])) == [
        "C: NOOP␍ is missing", "S: 250 ok␍ is missing"]
    assert list(report.transcript([said("C", b"x" * 100_000), said("C", b"\r\n")])) == [
        f"C: {'x' * 200} … (65537 characters)"]


def test_json_has_a_schema_a_sum_and_transcripts() -> None:
    shown = json.loads(report.as_json(OUTCOMES, "here"))
    assert (shown["schema"], shown["target"]) == (1, "here")
    assert shown["summary"] == {"passed": 1, "must": 1, "should": 2, "skipped": 1}
    assert set(shown["dialogues"][0]) == {"title", "rfc", "section", "level", "end", "source", "asks", "status",
                                          "reason", "transcript"}
    assert shown["dialogues"][0]["transcript"] == ["S: 220 hello"]


def test_json_marks_what_is_known() -> None:
    known = ("rule one", "rule two")
    shown = json.loads(report.as_json(OUTCOMES, "here", lambda outcome: outcome.dialogue.title in known))
    assert [one.get("known") for one in shown["dialogues"]] == [None, True, None, None, None]


def test_colors_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    assert report.failure(OUTCOMES[1], color=True).startswith("\x1b[31m✗ rule two\x1b[0m\n")
    assert report.failure(OUTCOMES[2], color=True).startswith("\x1b[33m")
    assert "\x1b" not in report.failure(OUTCOMES[1]) and not report.in_color()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert report.in_color()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not report.in_color()


def test_a_baseline_keeps_reasons_and_names_what_has_healed(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    assert baseline.write(file, OUTCOMES, {"5321 rule two": "they know", "5321 rule one": "it was so"}) == 3
    known = baseline.read(file)
    assert known == {"5321 rule two": "they know", "5321 rule three": baseline.NO_REASON,
                     "5321 rule five": f"{baseline.NO_REASON}expected 2"}
    assert baseline.healed(OUTCOMES, {"5321 rule one": "it was so", **known}) == ["5321 rule one"]
    for wrong in ("no toml", '"5321 rule two" = ""', '"5321 rule two" = 3'):
        file.write_text(wrong)
        with pytest.raises(ValueError, match="known.toml"):
            baseline.read(file)


def test_a_baseline_keeps_what_was_not_played(tmp_path: Path) -> None:
    file, kept = tmp_path / "known.toml", {"5321 rule four": "skipped", "1870 another": "not played"}
    assert baseline.write(file, OUTCOMES, kept | {"5321 rule one": "passes"}) == 5
    assert set(baseline.read(file)) == {"5321 rule two", "5321 rule three", "5321 rule five", *kept}


@pytest.mark.parametrize("option", ["--junit", "--write-baseline"])
def test_a_file_that_cannot_be_written_is_told_before_the_run(
        option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def never(*_: object) -> Iterator[Outcome]:
        raise AssertionError("it was played")
        yield

    with Server() as server:
        command = ["check", "{}:{}".format(*server.address), "--only", "EHLO twice", option]
        good = tmp_path / "report"
        assert main([*command, str(good)]) == 0 and good.exists()
        monkeypatch.setattr(runner, "check", never)
        before = good.read_bytes()
        for file in (tmp_path / "none" / "report", tmp_path):
            assert main([*command, str(file)]) == 2
            assert "cannot write the report" in capsys.readouterr().err
        with pytest.raises(AssertionError, match="it was played"):
            main([*command, str(good)])
        with pytest.raises(AssertionError, match="it was played"):
            main([*command, str(tmp_path / "new")])
    assert good.read_bytes() == before and not (tmp_path / "new").exists()


def test_a_report_that_fails_at_the_end_leaves_the_outcomes(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(examine, "unwritable", lambda files: "")
    with Server() as server:
        command = ["check", "{}:{}".format(*server.address), "--only", "EHLO twice", "--junit", str(tmp_path)]
        assert main(command) == 2
    told = capsys.readouterr()
    assert "nothing broken; 1 passed" in told.out and "cannot write the report" in told.err


@pytest.mark.parametrize("reason", ["\U0001f600 \x7f", 'a "quote" and a \\ and \t\r\n', "\x85\u2028", "\ud800"])
def test_a_baseline_can_be_read_whatever_a_server_said(reason: str, tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    assert baseline.write(file, [outcome("one", FAILED, reason=reason)], {}) == 1
    shown = reason.replace("\ud800", "?")
    assert baseline.read(file) == {"5321 rule one": baseline.NO_REASON + shown}
    baseline.write(file, [outcome("one", FAILED)], baseline.read(file))
    assert baseline.read(file) == {"5321 rule one": baseline.NO_REASON + shown}


def test_the_exit_code_and_junit_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """aiosmtpd 1.4.6 takes RCPT TO:<> (a MUST) and does not look at a NUL (a SHOULD)."""
    known, junit = tmp_path / "known.toml", tmp_path / "junit.xml"

    def run(*options: str) -> tuple[int, int]:
        code = main(["check", "{}:{}".format(*theirs.address), "--section", "5321:4.1.1.3", "--junit", str(junit),
                     *options])
        return code, int(ElementTree.parse(junit).getroot().attrib["failures"])

    with aiosmtpd_server() as theirs:
        assert run("--write-baseline", str(known)) == (1, 2)
        names = {"5321 RCPT with the null path", "5321 RCPT with an open bracket"}
        assert set(tomllib.loads(known.read_text())) == names
        assert run("--baseline", str(known)) == (0, 0)
        out = capsys.readouterr().out
        assert out.endswith("\n\n2 MUST broken; 3 passed; 0 skipped\n") and "2 known failures" in out
        known.write_text('"5321 RCPT with the null path" = "old"\n"5321 RCPT alone" = "gone since"\n')
        assert run("--baseline", str(known)) == (1, 1)
        out = capsys.readouterr().out
        assert "✗ RCPT with an open bracket" in out and "✗ RCPT with the null path" not in out
        assert f"healed: 5321 RCPT alone; take it out of {known}" in out
        assert main(["check", "127.0.0.1:1", "--baseline", str(tmp_path / "none")]) in (2, 69)


def test_a_should_counts_when_it_is_told_to(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    with aiosmtpd_server() as theirs:
        command = ["check", "{}:{}".format(*theirs.address), "--only", "clings to the path", "--junit", str(junit)]
        found = [(main([*command, *more]), ElementTree.parse(junit).getroot().attrib) for more in ([], ["--strict"])]
    assert [(code, counts["failures"], counts["skipped"]) for code, counts in found] == [(0, "0", "1"), (1, "1", "0")]


def test_sections_and_lists(capsys: pytest.CaptureFixture[str]) -> None:
    for command, end in (("check", "server"), ("check-client", "client")):
        assert main([command, "--list", "--section", "5321:4.1.4", "--section", "5321:4.5.3.1"]) == 0
        rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
        wanted = [d for d in all_dialogues() if d.end == end and d.rfc == "5321"
                  and (d.section == "§4.1.4" or d.section.startswith("§4.5.3.1"))]
        assert len(rows) == len(wanted) > 0 and all(row.startswith(end) for row in rows)
    with pytest.raises(SystemExit):
        main(["check", "--list", "--section", "4.1.4"])
