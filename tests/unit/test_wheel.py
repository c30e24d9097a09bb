"""What `pip install` brings: built as for an upload, in an environment that has nothing else."""
from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import BytesParser
from pathlib import Path

import pytest

from smtp_from_scratch import Server

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "smtp_from_scratch"
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
AROUND = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def run(*words: str | Path, cwd: Path) -> str:
    """What a command says; it must end well."""
    done = subprocess.run([str(word) for word in words], cwd=cwd, env=AROUND, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "venv", folder / "tools", cwd=folder)
    python = folder / "tools" / SCRIPTS / "python"
    run(python, "-m", "pip", "install", "--quiet", "build", "twine", cwd=folder)
    run(python, "-m", "build", "--outdir", folder / "dist", ROOT, cwd=folder)
    said = run(python, "-m", "twine", "check", "--strict", *(folder / "dist").iterdir(), cwd=folder)
    assert said.count("PASSED") == 2, said
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    [found] = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of commands of an environment with the wheel; nothing is fetched."""
    folder = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    run(folder / SCRIPTS / "python", "-m", "pip", "install", "--quiet", "--no-index", wheel, cwd=folder)
    yield folder / SCRIPTS


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        fields = BytesParser().parsebytes(archive.read(metadata))
    assert names == set(run("git", "ls-files", "smtp_from_scratch", cwd=ROOT).split())
    needed = fields.get_all("Requires-Dist") or []
    assert all("extra == " in one for one in needed), needed
    assert fields["License-Expression"] and fields["Requires-Python"] == ">=3.11"


def test_it_needs_no_other_package(bare: Path) -> None:
    listed = run(bare / "python", "-m", "pip", "list", "--format=freeze", cwd=bare)
    assert {line.partition("==")[0] for line in listed.split()} <= {"pip", "setuptools", "smtp-from-scratch"}
    names = "import smtp_from_scratch as s; print(*[getattr(s, name) is None for name in s.__all__])"
    assert set(run(bare / "python", "-c", names, cwd=bare).split()) == {"False"}


def test_importing_it_loads_nothing_beside_it(bare: Path) -> None:
    """So it is not slower than smtplib; `make bench` measures it (S13)."""
    program = "import sys; before = set(sys.modules); import smtp_from_scratch; print(*sys.modules.keys() - before)"
    loaded = set(run(bare / "python", "-c", program, cwd=bare).split())
    assert len(loaded) < 10 and [name for name in loaded if name.startswith("smtp")] == ["smtp_from_scratch"], loaded


def test_the_command_is_there(bare: Path) -> None:
    command = bare / ("smtp-from-scratch.exe" if os.name == "nt" else "smtp-from-scratch")
    commands = run(command, "--help", cwd=bare)
    for name in ("serve", "send", "talk", "inbox", "class", "check", "check-client", "user"):
        assert name in commands and "usage" in run(command, name, "--help", cwd=bare)
    assert "5321" in run(command, "check", "--list", cwd=bare)


def test_a_message_goes_through(bare: Path) -> None:
    program = """
from smtp_from_scratch import Client, Server
with Server() as server, Client(*server.address) as smtp:
    smtp.sendmail("ana@rio.example", "yui@tokyo.example", "Subject: Mangoes\\r\\n\\r\\nripe\\r\\n")
    print(len(server.wait_for(1)))
"""
    assert run(bare / "python", "-c", program, cwd=bare) == "1\n"


def test_the_container_s_steps_lead_to_a_check(tmp_path: Path) -> None:
    """docs/ci.md's file, step by step in an environment of its own, and the command that it shows, without a home."""
    page = (ROOT / "docs" / "ci.md").read_text("utf-8")
    [file] = re.findall(r"(?s)```dockerfile\n(.*?)```", page)
    steps = [line.split(" ", 1) for line in file.splitlines()]
    assert [step for step, _ in steps] == ["FROM", "COPY", "COPY", "RUN", "USER", "ENTRYPOINT"]
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    for step, words in steps:
        if step == "COPY":
            *sources, target = words.replace("/src", str(tmp_path / "src")).split()
            for source in map(ROOT.joinpath, sources):
                Path(target).parent.mkdir(exist_ok=True)
                if source.is_dir():
                    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    Path(target).mkdir(exist_ok=True)
                    shutil.copy2(source, target)
        if step == "RUN":
            pip, *rest = shlex.split(words.replace("/src", str(tmp_path / "src")))
            run(tmp_path / "venv" / SCRIPTS / pip, *rest, cwd=tmp_path)
    [command] = json.loads(dict(steps)["ENTRYPOINT"])
    [shown] = re.findall(r"podman run .* (check 127\.0\.0\.1:)2525\n", page)
    with Server() as server:
        words = [*shlex.split(f"{shown}{server.address[1]}"), "--rfc", "5321"]
        done = subprocess.run([tmp_path / "venv" / SCRIPTS / command, *words], cwd=tmp_path, capture_output=True,
                              text=True, timeout=120, env=AROUND | {"HOME": str(tmp_path / "none")})
    assert done.returncode == 0 and "nothing broken" in done.stdout, done.stdout + done.stderr
