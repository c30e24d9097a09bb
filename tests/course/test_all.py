"""`__all__` of the modules that notebooks write: what other files use, cell by cell, and no more."""
from __future__ import annotations

import ast
import functools
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module

import pytest
from export import PACKAGE, ROOT, chapters, code_cells, module_of
from IPython.core.inputtransformer2 import TransformerManager
from module_text import defined

import smtp_from_scratch

EXPORTED = {name: path for path in chapters() if (name := module_of(path))}
modules = pytest.mark.parametrize("module", EXPORTED)


def programs() -> Iterator[tuple[str, str]]:
    """Every Python file, and every notebook as one: its name, and its code."""
    for folder in (PACKAGE, "tests", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        if ".ipynb_checkpoints" not in path.parts:
            code = [TransformerManager().transform_cell(code) for _, _, code in code_cells(path)]
            yield path.relative_to(ROOT).as_posix(), "\n".join(line for line in code if "from __future__" not in line)


@functools.cache
def used() -> dict[str, dict[str, set[str]]]:
    """By module and name, the files that import the name from the module, or look it up there."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in smtp_from_scratch.__all__:
        found[getattr(smtp_from_scratch, name).__module__.removeprefix(f"{PACKAGE}.")][name].add("__init__.py")
    for file, code in programs():
        called = {}                                      # a module of ours, by what this file calls it
        nodes = list(ast.walk(ast.parse(code)))
        for node in nodes:
            if isinstance(node, ast.ImportFrom):
                source = f"{PACKAGE}.{node.module or ''}".rstrip(".") if node.level else node.module or ""
                for alias in node.names:
                    found[source.removeprefix(f"{PACKAGE}.")][alias.name].add(file)
                    if source == PACKAGE:
                        called[alias.asname or alias.name] = alias.name
        for node in nodes:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in called:
                found[called[node.value.id]][node.attr].add(file)
    return found


@modules
def test_what_other_files_use_is_public(module: str) -> None:
    public = set(import_module(f"{PACKAGE}.{module}").__all__)
    top = {name for _, marks, code in code_cells(EXPORTED[module]) if marks.keys() & {"export", "exporti"}
           for name in defined(ast.parse(code).body)}
    internal = {name: sorted(files) for name, files in used()[module].items() if name in top - public}
    assert not internal, f"mark their cells `#| export`, or do not use them: {internal}"


@modules
def test_what_no_other_file_uses_is_internal(module: str) -> None:
    wrong = []
    for id, marks, code in code_cells(EXPORTED[module]):
        names = {name for name in defined(ast.parse(code).body) if name[0] != "_"} if "export" in marks else set()
        if names and not names & used()[module].keys():
            wrong.append(f"{id} ({', '.join(sorted(names))})")
    assert not wrong, f"mark these cells `#| exporti`, or test what they define: {wrong}"
