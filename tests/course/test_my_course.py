"""What a learner types is theirs: the copy that `make lab` opens, what `git pull` brings, and how to begin anew."""
from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import my_course
import pytest
import setup_venv
from export import ROOT

from smtp_from_scratch.lab import original, record


def notebook(*cells: str, outputs: str = "") -> bytes:
    return json.dumps({"cells": [{"cell_type": "code", "source": [cell], "outputs": [outputs] if outputs else []}
                                 for cell in cells]}).encode()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    source, copy = tmp_path / "notebooks", tmp_path / "my-course"
    for name in ("01_wire", "02_conversation", "solutions/01_wire"):
        my_course.put(notebook(f"# {name}"), source / f"{name}.ipynb")
    my_course.put(b"a,b", source / "data" / "replies.txt")
    assert my_course.bring_all(source, copy) == []
    return source, copy


def test_the_copy_is_whole_and_the_source_stays(folders: tuple[Path, Path]) -> None:
    source, copy = folders
    assert sorted(map(str, my_course.notebooks_in(copy))) == sorted(map(str, my_course.notebooks_in(source)))
    assert (copy / "data" / "replies.txt").read_bytes() == b"a,b"
    (copy / "01_wire.ipynb").write_bytes(notebook("my answer"))
    assert my_course.bring_all(source, copy) == []
    assert (copy / "01_wire.ipynb").read_bytes() == notebook("my answer")
    assert (source / "01_wire.ipynb").read_bytes() == notebook("# 01_wire")


def test_a_chapter_that_changed_replaces_one_in_which_nothing_was_typed(folders: tuple[Path, Path]) -> None:
    source, copy = folders
    (copy / "01_wire.ipynb").write_bytes(notebook("# 01_wire", outputs="it was run"))
    (source / "01_wire.ipynb").write_bytes(notebook("# better"))
    assert my_course.bring_all(source, copy) == ["01_wire.ipynb is a newer one now"]
    assert (copy / "01_wire.ipynb").read_bytes() == notebook("# better")


def test_a_chapter_that_changed_is_put_beside_one_with_answers(folders: tuple[Path, Path]) -> None:
    source, copy = folders
    (copy / "01_wire.ipynb").write_bytes(notebook("my answer"))
    for text, name in (("# better", "01_wire.new.ipynb"), ("# best", "01_wire.new.ipynb")):
        (source / "01_wire.ipynb").write_bytes(notebook(text))
        [told] = my_course.bring_all(source, copy)
        assert told.endswith(f"beside it: {name}") and (copy / name).read_bytes() == notebook(text)
    (copy / "01_wire.new.ipynb").write_bytes(notebook("answers here, too"))
    (source / "01_wire.ipynb").write_bytes(notebook("# third"))
    [told] = my_course.bring_all(source, copy)
    assert told.endswith("beside it: 01_wire.new2.ipynb")
    assert (copy / "01_wire.ipynb").read_bytes() == notebook("my answer")
    assert (copy / "01_wire.new.ipynb").read_bytes() == notebook("answers here, too")
    assert my_course.bring_all(source, copy) == [], "told once"


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"cells": 3}', b"\xff"])
def test_a_file_that_is_no_notebook_is_kept_too(folders: tuple[Path, Path], broken: bytes) -> None:
    source, copy = folders
    (copy / "01_wire.ipynb").write_bytes(broken)
    (source / "01_wire.ipynb").write_bytes(notebook("# better"))
    my_course.bring_all(source, copy)
    assert (copy / "01_wire.ipynb").read_bytes() == broken
    assert (copy / "01_wire.new.ipynb").read_bytes() == notebook("# better")


@pytest.mark.parametrize("name", ["01", "wire", "01_wire", "01_wire.ipynb"])
def test_a_reset_gives_the_original_and_keeps_the_rest(folders: tuple[Path, Path], name: str) -> None:
    source, copy = folders
    (copy / "01_wire.ipynb").write_bytes(notebook("my answer"))
    assert "yours is kept: kept" in my_course.reset(name, source, copy)
    assert (copy / "01_wire.ipynb").read_bytes() == notebook("# 01_wire")
    [kept] = (copy / "kept").glob("01_wire *.ipynb")
    assert kept.read_bytes() == notebook("my answer")
    with pytest.raises(ValueError, match="which chapter"):
        my_course.reset("99", source, copy)


def test_a_reset_from_within_the_chapter(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _, copy = folders
    for name, folder in (("01_wire.ipynb", copy), ("01_wire.ipynb", copy / "solutions")):
        (folder / name).write_bytes(notebook("my answer"))
        monkeypatch.setattr(record, "HERE", folder)
        monkeypatch.setenv("JPY_SESSION_NAME", str(folder / name))
        assert "Reload Notebook from Disk" in str(original.reset())
        assert b"01_wire" in (folder / name).read_bytes()
    assert {path.read_bytes() for path in (copy / "kept").glob("*.ipynb")} == {notebook("my answer")}
    monkeypatch.setattr(record, "HERE", copy.parent / "notebooks")
    assert "Nothing was changed" in str(original.reset())
    monkeypatch.setenv("JPY_SESSION_NAME", "")
    assert "Nothing was changed" in str(original.reset())


def test_git_ignores_the_copy() -> None:
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run(["git", "check-ignore", "my-course/01_wire.ipynb", "my-course/progress.json"], cwd=ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2


def test_without_a_network_it_says_so_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that refuses every connection stands for a machine without a network."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr(setup_venv, "python_of", lambda: sys.executable)
    monkeypatch.setattr(setup_venv, "VENV", str(tmp_path))
    for name in ("PIP_CONFIG_FILE", "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(setup_venv.Problem, match="is there a network"):
        setup_venv.check_network()


def test_a_python_that_is_missing_or_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON", "python-that-nobody-has")
    with pytest.raises(setup_venv.Problem, match="no python-that-nobody-has"):
        setup_venv.base_python()
    with pytest.raises(setup_venv.Problem, match="'course' or 'test'"):
        setup_venv.set_up("dinner")


def test_make_without_python_says_one_line(tmp_path: Path) -> None:
    if os.name == "nt" or not (make := shutil.which("make")):
        pytest.skip("make is not installed")
    for tool in ("sh", "echo", "["):
        if found := shutil.which(tool):
            (tmp_path / tool).symlink_to(found)
    done = subprocess.run([make, "-f", str(ROOT / "Makefile"), "lab", "PYTHON="], cwd=ROOT, env={"PATH": str(tmp_path)},
                          capture_output=True, text=True, timeout=60)
    assert done.returncode and done.stderr.startswith("There is no Python here"), done.stderr
    assert "not found" not in done.stderr


@pytest.mark.slow
def test_lab_opens_a_copy_and_one_interrupt_ends_it(tmp_path: Path) -> None:
    """`tools/lab.py` on a copy of the course, with this Python; JupyterLab answers, and SIGINT ends all of it."""
    course = tmp_path / "course"
    for name in ("notebooks", "tools"):
        shutil.copytree(ROOT / name, course / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment["PYTHONPATH"] = str(ROOT)
    line = [sys.executable, "-c", "import sys; sys.path.insert(0, 'tools'); import lab, signal; "
            "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(lab.open_course(sys.argv[1:]))",
            f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1", "--IdentityProvider.token="]
    process = subprocess.Popen(line, cwd=course, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents", timeout=10) as answer:
                    names = {entry["name"] for entry in json.load(answer)["content"]}
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.2)
        assert {"00_start_here.ipynb", "solutions", "data"} <= names and "notebooks" not in names
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents", timeout=10)
    finally:
        process.kill()
