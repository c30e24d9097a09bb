"""What Binder and conda would build."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from export import ROOT


def test_binder_has_the_same_environment() -> None:
    one, other = (ROOT / "environment.yml", ROOT / "binder" / "environment.yml")
    assert one.read_bytes() == other.read_bytes(), "Binder ignores the one at the top: cp environment.yml binder/"


def test_environment_is_the_course_extra_as_constrained() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    needs = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split(r"[<>=!~; ]", need)[0] for need in project["optional-dependencies"]["course"]}
    assert {need.partition("==")[0] for need in needs} == names
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert not [need for need in needs if need not in pins], "constraints.txt has other versions"


def test_post_build_can_be_run() -> None:
    assert os.access(ROOT / "binder" / "postBuild", os.X_OK), "chmod +x binder/postBuild"
    assert not (ROOT / "binder" / "requirements.txt").exists(), "environment.yml would win over it"


def test_binder_would_build_what_we_mean(tmp_path: Path) -> None:
    tool = shutil.which("jupyter-repo2docker", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if tool is None:
        pytest.skip("jupyter-repo2docker is not installed; on Unix `make test` does it")
    done = subprocess.run([tool, "--no-build", "--debug", str(ROOT)], cwd=tmp_path, capture_output=True, text=True,
                          timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert 'env update -p ${NB_PYTHON_PREFIX} --file "binder/environment.yml"' in said
    assert "RUN ./binder/postBuild" in said
