"""What Binder and conda would build."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import environment
import pytest
import yaml
from export import ROOT


def test_both_environments_are_as_written() -> None:
    for path in (ROOT / "environment.yml", ROOT / "binder" / "environment.yml"):
        assert path.read_text(encoding="utf-8") == environment.environment(), "python tools/environment.py"


def test_the_environment_follows_the_extra_and_the_constraints(tmp_path: Path,
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pyproject.toml").write_text('[project.optional-dependencies]\ncourse = ["one>=1", "two[x]>=2; os"]\n')
    (tmp_path / "constraints.txt").write_text("# versions\none==1.5\nthree==3 ; os\ntwo==2.0.1\n")
    assert environment.main(["--check"], tmp_path) == 1 and not (tmp_path / "environment.yml").exists()
    assert environment.main([], tmp_path) == 0
    assert "environment.yml, binder/environment.yml" in capsys.readouterr().out
    for name in ("environment.yml", "binder/environment.yml"):
        [needs] = [item["pip"] for item in yaml.safe_load((tmp_path / name).read_text(encoding="utf-8"))["dependencies"]
                   if isinstance(item, dict)]
        assert needs == ["one==1.5", "two==2.0.1"]
    assert environment.main(["--check"], tmp_path) == 0
    (tmp_path / "constraints.txt").write_text("one==1.5\n")
    with pytest.raises(SystemExit, match="no single version of two"):
        environment.main([], tmp_path)


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
