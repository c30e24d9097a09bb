"""The table of requirements: its form, that every proof it names exists, and that no obligation is left out."""
from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from smtp_from_scratch.conformance import requirements
from smtp_from_scratch.conformance.requirements import DIALOGUE, MUSTS, TEST, BadTable, Rule, coverage, read, tables
from smtp_from_scratch.conformance.server.runner import all_dialogues, obstacle
from tests.ours import ROLES

ROOT = Path(__file__).parents[2]
TABLES = tables()
RULES = [rule for table in TABLES for rule in table.rules]
DIALOGUES = {f"{dialogue.end} {dialogue.rfc}: {dialogue.title}": dialogue for dialogue in all_dialogues()}


@cache
def names_in(path: Path) -> set[str]:
    """The tests that a file defines, read and not run."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{method.name}" for method in node.body
                      if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)}
    return {name for name in names if name.rpartition("::")[2].startswith("test_")}


# --- what the table says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_proof_exists(rule: Rule) -> None:
    for proof in rule.proof + rule.waits:
        if test := TEST.fullmatch(proof):
            path = ROOT / test[1]
            assert path.is_file() and test[2] in names_in(path), f"{rule.id} names {proof}, which is not there"
        else:
            assert DIALOGUE.fullmatch(proof) and proof in DIALOGUES, f"{rule.id} names {proof!r}, which is not there"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_dialogue_that_proves_is_played_at_our_server(rule: Rule) -> None:
    """That it passes, test_conformance_roles.py sees to."""
    for proof in rule.proof:
        if proof.startswith("server "):
            assert any(not obstacle(DIALOGUES[proof], role.target) for role in ROLES.values()), proof


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.rfc)
def test_every_obligation_of_the_rfc_is_listed(table: requirements.Table) -> None:
    assert table.missing() == {}, "sections where [counts] and the rules differ, and by how many"


def test_rules_are_in_the_order_of_their_sections() -> None:
    for table in TABLES:
        order = [[int(n) if n.isdigit() else 100 + ord(n) for n in rule.section.split(".")] for rule in table.rules]
        assert order == sorted(order), table.rfc


BOUNDS = dict.fromkeys(["1870", "2034", "2920", "3030", "3207", "3461", "4954", "6152", "6409", "6531"], 1.0)
BOUNDS |= {"5321": 0.99}                        # shares of MUST and MUST NOT that are proved or not ours


@pytest.mark.parametrize("rfc", BOUNDS)
def test_so_much_is_proved(rfc: str) -> None:
    [musts] = [each for each in coverage(MUSTS) if each.rfc == rfc]
    assert musts.share >= BOUNDS[rfc], musts


def test_a_reason_says_something() -> None:
    for rule in RULES:
        assert not rule.why or (len(rule.why) > 15 and rule.why.endswith(".")), rule.id


# --- its form --------------------------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"id": "5321-4.5.2-a", "section": "4.5.2", "level": "MUST", "who": "server",
                        "says": "A dot is a dot.", "proof": ["server 5321: An empty letter"]}


def table_of(**changes: Any) -> requirements.Table:
    entry = {key: value for key, value in (GOOD | changes).items() if value is not None}
    return read({"rfc": "5321", "title": "SMTP", "counts": {"4.5.2": 1}, "rule": [entry]}, "here.toml")


def test_a_table_is_read() -> None:
    table = table_of()
    assert table.rules[0].status == "proved" and table.missing() == {}
    assert table_of(covers=3).missing() == {"4.5.2": -2}
    assert table_of(level="SHOULD").missing() == {"4.5.2": 1}
    assert table_of(proof=[]).rules[0].status == "open"
    assert table_of(proof=None, why="We are no gateway.").rules[0].status == "not ours"


@pytest.mark.parametrize("changes, complaint", [
    ({"id": None}, "a rule without an id: `id` is missing"), ({"says": None}, "5321-4.5.2-a: `says` is missing"),
    ({"level": "MAY"}, "'MAY' is none of MUST"), ({"who": "sender"}, "'sender' is none of client"),
    ({"section": "§4.5.2"}, "written like 4.1.1"), ({"id": "5321-4.5.1-a"}, "an id is RFC, section and letter"),
    ({"says": "A dot"}, "full stop"), ({"covers": -1}, "not negative"), ({"covers": "2"}, "wrong type"),
    ({"proof": "server 5321: x"}, "wrong type"), ({"proof": ["An empty letter"]}, "a proof is written"),
    ({"proof": ["tests/test_x.py"]}, "a proof is written"), ({"proof": [3]}, "a proof is written"),
    ({"why": "because"}, "not both"), ({"proof": [], "waits": ["x"]}, "a proof is written"),
    ({"proof": [], "waits": ["server 5321: x"], "why": "because"}, "not both"), ({"prof": []}, "`prof` is not known"),
])
def test_the_form_is_strict_and_names_the_rule(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadTable, match=complaint) as error:
        table_of(**changes)
    assert str(error.value).startswith("here.toml: ")


@pytest.mark.parametrize("text, complaint", [
    ({"title": "SMTP"}, "needs `rfc`"), ({"rfc": 5321, "title": "SMTP"}, "needs `rfc`"), ({"rfc": "5321"}, "`title`"),
    ({"rfc": "5321", "title": "SMTP", "rules": []}, "not rules"),
    ({"rfc": "5321", "title": "SMTP", "counts": {"4.5.2": 0}}, "a number above 0"),
    ({"rfc": "5321", "title": "SMTP", "rule": [GOOD, GOOD]}, "is there 2 times"),
])
def test_a_file_is_checked_whole(text: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadTable, match=complaint):
        read(text, "here.toml")


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rfc1.toml"
    path.write_text("rfc = ")
    with pytest.raises(BadTable, match=r"rfc1\.toml: "):
        requirements.load(path)


def test_coverage_counts() -> None:
    mixed = [table_of(), table_of(proof=[]), table_of(proof=None, why="We are no gateway.")]
    whole = requirements.Table("5321", "SMTP", tuple(table.rules[0] for table in mixed), {"4.5.2": 3})
    [counted] = coverage(MUSTS, [whole])
    assert (counted.listed, counted.proved, counted.not_ours, counted.open) == (3, 1, 1, 1)
    assert counted.share == pytest.approx(2 / 3)
    assert coverage(["SHOULD"], [whole])[0].share == 1.0
    assert " 5321 " in requirements.coverage_table(["5321"]) and " 1870 " not in requirements.coverage_table(["5321"])
