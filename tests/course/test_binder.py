"""What Binder and conda would build."""
from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import badge
import environment
import memory
import psutil
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


GITHUB = "https://mybinder.org/v2/gh/you/course/main?urlpath=lab%2Ftree%2Fnotebooks%2F00_start_here.ipynb"


@pytest.mark.parametrize("remote, where", [
    ("https://github.com/you/course.git", "gh/you/course"), ("git@github.com:you/course.git", "gh/you/course"),
    ("ssh://git@github.com:22/you/course", "gh/you/course"), ("https://gitlab.com/a/b/course", "gl/a%2Fb%2Fcourse"),
    ("https://git.example/you/course.git", "git/https%3A%2F%2Fgit.example%2Fyou%2Fcourse"),
])
def test_the_badge_is_made_from_what_git_knows(remote: str, where: str) -> None:
    assert badge.link(remote) == GITHUB.replace("gh/you/course", where)
    assert badge.badge(remote).endswith(f"({badge.link(remote)})")
    assert (ROOT / badge.FIRST.removeprefix("lab/tree/")).exists()


def test_a_badge_without_an_address_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert badge.main(["nowhere"]) == 1 and "not the address" in capsys.readouterr().err
    assert badge.main(["https://github.com/you/course"]) == 0 and GITHUB in capsys.readouterr().out


def test_the_page_shows_the_link_as_it_is_made() -> None:
    page = (ROOT / "docs" / "rooms.md").read_text(encoding="utf-8")
    assert badge.badge("https://github.com/OWNER/smtp-from-scratch") in page


def executed(notebook: Path, bin: Path, around: dict[str, str]) -> float:
    """Run a notebook as somebody on Binder does; return the MB that its kernel and what it starts took."""
    most = 0.0
    command = [str(bin / "jupyter"), "nbconvert", "--to", "notebook", "--execute", "--stdout", "--log-level=ERROR",
               "--ExecutePreprocessor.timeout=120", notebook.name]
    with tempfile.TemporaryFile() as said, subprocess.Popen(command, cwd=notebook.parent, env=around,
                                                            stdout=subprocess.DEVNULL, stderr=said) as process:
        while process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                most = max([most, *map(memory.taken, psutil.Process(process.pid).children())])
            time.sleep(0.1)
        said.seek(0)
        assert process.returncode == 0, said.read()[-3000:]
    return most


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.skipif(sys.platform == "win32", reason="Binder is a Linux machine")
def test_what_binder_does_in_a_fresh_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The packages of environment.yml, the files, postBuild, then chapters: without conda and Docker, step by step."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    home, venv = tmp_path / "home", tmp_path / "venv"
    for name in filter(None, files.split("\0")):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, home / name)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    bin = venv / "bin"
    around = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PEERS")}
    around |= {"PATH": f"{bin}:/usr/bin:/bin", "HOME": str(home), "VIRTUAL_ENV": str(venv),
                    "JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTER_DATA_DIR": str(tmp_path / "data")}
    needs = yaml.safe_load((ROOT / "binder" / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    pip = next(item["pip"] for item in needs if isinstance(item, dict))
    subprocess.run([str(bin / "python"), "-m", "pip", "install", "--quiet", *pip], check=True, env=around)
    done = subprocess.run(["./binder/postBuild"], cwd=home, env=around, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    subprocess.run([str(bin / "python"), "-c", "import jupyterlab, smtp_from_scratch.lab"], check=True, env=around)
    took = {path.stem: executed(path, bin, around)
            for path in (home / "notebooks" / "00_start_here.ipynb", home / "notebooks" / "13_chunking.ipynb",
                         home / "notebooks" / "extra" / "who_implements_what.ipynb")}
    with capsys.disabled():
        print("\nas on Binder: " + ", ".join(f"{name} {taken:.0f} MB" for name, taken in took.items()))
    assert all(0 < taken <= memory.MOST for taken in took.values())
