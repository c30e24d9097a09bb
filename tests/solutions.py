"""What learners are shown as worked answers: to try them on something else, or to run a chapter on them."""
from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
SOLUTIONS = NOTEBOOKS / "solutions"
DEFAULT_EXP = re.compile(r"#\s*\|\s*default_exp\s+(\w+)")


def solution(chapter: str, cell: str) -> dict[str, Any]:
    """The names that a cell of a chapter's solutions defines; `chapter` is the notebook's name without its end."""
    notebook = nbformat.read(SOLUTIONS / f"{chapter}.ipynb", as_version=4)
    sources = {c.id: c.source for c in notebook.cells}
    names: dict[str, Any] = {}
    exec(f"{sources['imports']}\n{sources[cell]}", names)
    return names


def solved(chapter: Any, solutions: Any) -> Any:
    """The chapter's notebook with every `my_…` (and `My…`) as the solutions have it: a learner who got all of it right.

    A cell of the chapter that defines such names becomes the cell of the solutions that defines them last, followed by
    what else it did (a check, `lab.yours`). The solutions' imports come first in it; of the module that the chapter
    itself writes only what its cells have not defined yet, or there would be two classes of one name.
    """
    answers = {name: cell.source for cell in code(solutions) for name in learners(cell.source)}
    own = next((found[1] for cell in code(chapter) if (found := DEFAULT_EXP.match(cell.source))), "")
    imports = "\n".join(gently(cell.source, own) for cell in code(solutions) if cell.id == "imports")
    done = nbformat.from_dict(chapter)
    for cell in code(done):
        wanted = [name for name in learners(cell.source) if name in answers]
        if wanted:
            sources = dict.fromkeys(answers[name] for name in wanted)
            cell.source = "\n\n".join([imports, *sources, without(cell.source, set(wanted))]).strip()
    return done


def gently(source: str, module: str) -> str:
    """The same imports, but from this module of the package only what has no meaning yet."""
    lines = []
    for node in statements(source):
        if isinstance(node, ast.ImportFrom) and node.module == f"smtp_from_scratch.{module}":
            lines += [f"if {(alias.asname or alias.name)!r} not in globals():\n    "
                      f"{ast.unparse(ast.ImportFrom(node.module, [alias], 0))}" for alias in node.names]
        else:
            lines.append(ast.unparse(node))
    return "\n".join(lines)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def statements(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError:                        # a cell with a magic
        return []


def names_in(node: ast.stmt) -> list[str]:
    """What a statement gives a name to."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def learners(source: str) -> list[str]:
    """The names of a cell that a learner writes: `my_groups`, `MyLimits`."""
    return [name for node in statements(source) for name in names_in(node) if name.startswith(("my_", "My"))]


def without(source: str, names: set[str]) -> str:
    """A cell without the statements that define these names."""
    return "\n".join(ast.unparse(node) for node in statements(source) if not set(names_in(node)) & names)
