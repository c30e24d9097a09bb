"""From notebook to module: what tools/export.py writes, and what it says when it cannot."""
from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import export
import nbformat
import pytest
from export import PACKAGE, Problem

ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")

MODULE = '''
    #| default_exp toy
    #| export
    """A toy (RFC 1149)."""
    from __future__ import annotations

    import re
    from typing import TYPE_CHECKING, Any

    from smtp_from_scratch.wire import Reply
'''


def notebook(folder: Path, *cells: str, name: str = "09_toy") -> Path:
    """A notebook with these cells, called a, b, c, …, dedented."""
    written = nbformat.v4.new_notebook()
    for id, cell in zip("abcdefgh", cells, strict=False):
        written.cells.append(nbformat.v4.new_code_cell(textwrap.dedent(cell).strip("\n"), id=id))
    path = folder / f"{name}.ipynb"
    nbformat.write(written, path)
    return path


def module(folder: Path, *cells: str) -> str:
    """The text of the module that a notebook with these cells writes."""
    [path] = export.export([notebook(folder, *cells)], folder)
    return path.read_text(encoding="utf-8")


def test_a_module_reads_as_if_written_by_hand(tmp_path: Path) -> None:
    text = module(tmp_path, MODULE, '''
        #| export
        import abc
        from smtp_from_scratch.wire import CRLF, parse_reply
        from smtp_from_scratch import envelope
        from collections.abc import Iterable
        LIMIT = 3


        def first(replies: Iterable[Reply]) -> Any:
            """The first."""
            return next(iter(replies), None)
        ''', "print('not exported')", '''
        #| exporti
        def helper() -> None:
            """Nobody else's business."""
        ''', '''
        #| export
        class Toy(abc.ABC):
            """A toy."""

            end = CRLF
        ''')
    assert text == textwrap.dedent('''\
        """A toy (RFC 1149)."""
        # Exported from notebooks/09_toy.ipynb; edit the notebook.

        from __future__ import annotations

        import abc
        import re
        from collections.abc import Iterable
        from typing import TYPE_CHECKING, Any

        from . import envelope
        from .wire import CRLF, Reply, parse_reply

        __all__ = ["LIMIT", "first", "Toy"]


        # %% b
        LIMIT = 3


        def first(replies: Iterable[Reply]) -> Any:
            """The first."""
            return next(iter(replies), None)


        # %% d
        def helper() -> None:
            """Nobody else's business."""


        # %% e
        class Toy(abc.ABC):
            """A toy."""

            end = CRLF
        ''')


def test_all_has_what_export_cells_define_and_is_not_private(tmp_path: Path) -> None:
    text = module(tmp_path, MODULE, '''
        #| export
        import sys
        _hidden, SHOWN = 1, [each for each in "ab"]
        typed: int = 2
        SHOWN.append("c")
        if sys.platform == "win32":
            def sync() -> None: ...
        else:
            async def sync() -> None: ...
        one = other = 3
        ''')
    assert '\n__all__ = ["SHOWN", "typed", "sync", "one", "other"]\n' in text
    long = module(tmp_path, MODULE, "#| export\n" + "\n".join(f"a_rather_long_name_{n} = {n}" for n in range(12)))
    assert "\n__all__ = [\n    \"a_rather_long_name_0\", " in long and max(map(len, long.splitlines())) <= 120


def test_imports_are_sorted_as_ruff_sorts_them(tmp_path: Path) -> None:
    names = ", ".join(f"name_{n}" for n in range(12))
    module(tmp_path, MODULE, f'''
        #| export
        import os.path
        import numpy as np
        from email import policy as email_policy, message_from_bytes
        from smtp_from_scratch.wire import {names}, CRLF, Zebra, apple
        from smtp_from_scratch.Envelope import Path
        import smtp_from_scratch.lab
        from typing import IO, TYPE_CHECKING
        if TYPE_CHECKING:
            from smtp_from_scratch.session import Session, {names}, Verb
            from email.message import Message
        ''')
    done = subprocess.run(
        [ruff or "ruff", "check", "--isolated", "--select=I", "--line-length=120",
         "--config=lint.isort.known-first-party=['smtp_from_scratch']", str(tmp_path / "toy.py")],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_for_types_and_inside_functions_survive(tmp_path: Path) -> None:
    text = module(tmp_path, MODULE, '''
        #| export
        if TYPE_CHECKING:
            from smtp_from_scratch.session import Session


        def late(session: Session) -> Any:
            """See `from smtp_from_scratch.wire import Reply`."""
            from smtp_from_scratch.maildir import Maildir
            from smtp_from_scratch import dsn
            return Maildir, dsn
        ''', '''
        #| export
        if TYPE_CHECKING:
            from smtp_from_scratch.session import Verb
            Row = Verb
        ''')
    assert "\n\nif TYPE_CHECKING:\n    from .session import Session\n\n__all__" in text
    assert "    from .maildir import Maildir\n    from . import dsn\n" in text
    assert "See `from smtp_from_scratch.wire import Reply`" in text, "a docstring is no import"
    assert "# %% c\nif TYPE_CHECKING:\n    from .session import Verb\n    Row = Verb\n" in text


def test_a_second_export_changes_nothing(tmp_path: Path) -> None:
    path = notebook(tmp_path, MODULE, "#| export\nx = 1")
    assert export.export([path], tmp_path, write=False) and not (tmp_path / "toy.py").exists()
    assert export.export([path], tmp_path) == [tmp_path / "toy.py"]
    assert export.export([path], tmp_path) == []


def test_a_notebook_without_default_exp_writes_nothing(tmp_path: Path) -> None:
    assert export.export([notebook(tmp_path, "x = 1", "# | echo: false\ny = 2")], tmp_path) == []


@pytest.mark.parametrize(("cell", "says"), [
    ("#| export\ndef f(:\n    pass", r"09_toy\.ipynb, cell b: .*'def f\(:'"),
    ("#| export\nreturn 1", r"09_toy\.ipynb, cell b: 'return' outside function"),
    ("#| export\n!ls", r"09_toy\.ipynb, cell b: "),
    ("#| export\nimport os  # for x\nx = 1", r"09_toy\.ipynb, cell b: the comment on an import would be lost"),
    ("#| export\nimport os; x = 1", r"09_toy\.ipynb, cell b: an import shares its line"),
])
def test_a_mistake_names_the_cell_and_changes_no_file(cell: str, says: str, tmp_path: Path) -> None:
    good = notebook(tmp_path, MODULE.replace("toy", "good"), "#| export\nx = 1", name="08_good")
    bad = notebook(tmp_path, MODULE, cell)
    with pytest.raises(Problem, match=says):
        export.export([good, bad], tmp_path)
    assert not list(tmp_path.glob("*.py"))


def test_a_module_needs_a_cell_and_a_docstring(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"09_toy\.ipynb says '#\| default_exp', but no cell is marked"):
        export.export([notebook(tmp_path, "#| default_exp toy\nx = 1")], tmp_path)
    with pytest.raises(Problem, match=r"09_toy\.ipynb, cell a: the first exported cell begins with the docstring"):
        export.export([notebook(tmp_path, "#| default_exp toy\n#| export\nx = 1")], tmp_path)
    (tmp_path / "07_torn.ipynb").write_text('{"cells": [', encoding="utf-8")
    with pytest.raises(Problem, match=r"07_torn\.ipynb is not a notebook"):
        export.export([tmp_path / "07_torn.ipynb"], tmp_path)


def test_the_command_checks_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notebooks").mkdir()
    notebook(tmp_path / "notebooks", MODULE, "#| export\nx = 1")
    monkeypatch.setattr(export, "ROOT", tmp_path)
    assert export.main(["--check"]) == 1 and "toy.py: not what the notebook says" in capsys.readouterr().err
    assert export.main(["9"]) == 0 and capsys.readouterr().out == "export: toy.py\n"
    assert (tmp_path / PACKAGE / "toy.py").exists()
    assert export.main(["--check"]) == 0 and capsys.readouterr().out == "export: nothing changed\n"
    assert export.main(["33"]) == 1 and "no notebook '33'" in capsys.readouterr().err
