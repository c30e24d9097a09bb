"""Recipes for hubs: the files say what docs/hub.md says; and a real JupyterHub, with five users at once."""
from __future__ import annotations

import re
import shlex
from typing import Any
from urllib.parse import parse_qs, urlsplit

import hub_trial
import pytest
import yaml
from export import ROOT, chapters

from smtp_from_scratch.__main__ import parser

PAGE = (ROOT / "docs" / "hub.md").read_text(encoding="utf-8")
MOST = 400                                     # MB a learner, as in values.yaml


def values() -> Any:
    return yaml.safe_load((ROOT / "hub" / "values.yaml").read_text(encoding="utf-8"))


def test_learners_reach_the_class_server_and_nothing_else() -> None:
    deployment, service = yaml.safe_load_all((ROOT / "hub" / "class.yaml").read_text(encoding="utf-8"))
    user, policy = values()["singleuser"], values()["singleuser"]["networkPolicy"]
    assert policy["enabled"]
    assert [name for name, allowed in policy["egressAllowRules"].items() if allowed and "dns" not in name] == []
    [rule] = policy["egress"]
    [to] = rule["to"]
    assert to["podSelector"]["matchLabels"] == service["spec"]["selector"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    ports = [port["port"] for port in service["spec"]["ports"]]
    assert ports == [port["port"] for port in rule["ports"]]
    assert user["extraEnv"]["SMTP_CLASS"] == f"{service['metadata']['name']}:{ports[0]}"
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    options = parser().parse_args(container["command"][1:])
    assert [options.smtp[1], options.http[1]] == ports == [port["containerPort"] for port in container["ports"]]
    assert container["image"] == f"{user['image']['name']}:{user['image']['tag']}"


def test_memory_is_what_the_page_says() -> None:
    assert values()["singleuser"]["memory"]["limit"] == f"{MOST}M"
    assert f"limits.memory {MOST}M" in PAGE and f"a limit of {MOST} MB" in PAGE


def test_the_link_opens_the_first_chapter() -> None:
    [link] = re.findall(r"^https://HUB/\S+$", PAGE, re.MULTILINE)
    asked = {name: value for name, [value] in parse_qs(urlsplit(link).query).items()}
    repository, folder = asked["repo"], "lab/tree/" + asked["repo"].rpartition("/")[2]
    assert repository in PAGE.replace(link, "") and asked["urlpath"].startswith(f"{folder}/")
    assert (ROOT / asked["urlpath"].removeprefix(f"{folder}/").removesuffix("?autodecode")).exists()
    assert values()["singleuser"]["defaultUrl"].removeprefix("/lab/tree/") in asked["urlpath"]


def test_commands_of_the_page_are_for_tools_that_are_there() -> None:
    named = re.findall(r"`python (tools/\S+\.py)([^`]*)`", PAGE)
    assert named and all((ROOT / tool).exists() for tool, _ in named)
    assert [shlex.split(rest) for tool, rest in named if tool == "tools/hub_trial.py"] == [["05", "--users", "5"]]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_five_users_run_a_chapter_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    if lacking := hub_trial.missing():
        pytest.skip(lacking)
    [chapter] = chapters(ROOT, ["05"])
    learners = hub_trial.measured(chapter, 5)
    with capsys.disabled():
        print("\na hub with five users: " + "; ".join(
            f"up {one.server_up:.0f} s, first cell {one.first_cell:.0f} s, last {one.last_cell:.0f} s, "
            f"{one.memory:.0f} MB" for one in learners))
    assert [one.failed for one in learners] == [[]] * 5
    assert all(0 < one.server_up <= one.first_cell <= one.last_cell for one in learners)
    assert all(0 < one.memory < MOST for one in learners)
