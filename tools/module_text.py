"""The text of a module, put together from the code of its cells: what `tools/export.py` writes."""
from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

PACKAGE = "smtp_from_scratch"
WIDTH = 120
MARKER = re.compile(r"# %% (?P<cell>\S+)$")            # editors take it for the beginning of a cell in a Python file
Import = ast.Import | ast.ImportFrom


class Problem(Exception):
    """Something the author of a notebook must mend; the message says what and where."""


class Cell:
    """One exported cell, taken apart: its imports, those under `if TYPE_CHECKING:`, and the statements that stay."""

    def __init__(self, notebook: str, id: str, code: str, public: bool) -> None:
        self.where, self.id, self.public, self.lines = f"{notebook}, cell {id}", id, public, code.split("\n")
        try:
            self.stays = ast.parse(code).body
            compile(code, self.where, "exec", dont_inherit=True)      # finds what the parser lets pass: a lone `return`
        except SyntaxError as error:
            raise Problem(f"{self.where}: {error.msg}: {(error.text or '').strip()!r}") from None
        self.gone: set[int] = set()                    # lines that do not stay
        self.imports = [node for node in self.stays if isinstance(node, Import)]
        blocks = [node for node in self.stays if isinstance(node, ast.If) and is_for_types(node)]
        self.type_imports = [node for block in blocks for node in block.body if isinstance(node, Import)]
        if "#" in self.take(*self.imports, *blocks):
            raise Problem(f"{self.where}: the comment on an import would be lost; give it a line of its own")

    def take(self, *nodes: ast.stmt) -> str:
        """Take statements out of the cell; their lines as they are written."""
        self.stays = [node for node in self.stays if node not in nodes]
        taken = {line for node in nodes for line in range(node.lineno - 1, node.end_lineno or 0)}
        self.gone |= taken
        return "\n".join(self.lines[line] for line in sorted(taken))

    def take_docstring(self) -> str:
        """The module's docstring."""
        if ast.get_docstring(ast.Module(self.stays, [])) is None:
            raise Problem(f"{self.where}: the first exported cell begins with the docstring of the module")
        return self.take(self.stays[0])

    def text(self) -> str:
        """What stays, with the imports inside functions made relative."""
        for statement in self.stays:
            if self.gone & {statement.lineno - 1, (statement.end_lineno or 0) - 1}:
                raise Problem(f"{self.where}: an import shares its line with something else")
            for node in ast.walk(statement):
                if isinstance(node, ast.ImportFrom):
                    line = self.lines[node.lineno - 1]
                    self.lines[node.lineno - 1] = re.sub(rf"\bfrom {PACKAGE}\b\.?", "from .", line)
        return "\n".join(line for row, line in enumerate(self.lines) if row not in self.gone).strip("\n")


def is_for_types(node: ast.If) -> bool:
    """Whether a statement is `if TYPE_CHECKING:` over nothing but imports."""
    only_imports = all(isinstance(line, Import) for line in node.body) and not node.orelse
    return only_imports and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING"


def module_text(notebook: str, cells: Sequence[Cell]) -> str:
    """The docstring, the imports, `__all__`, and each cell under a mark with its id."""
    docstring = cells[0].take_docstring()
    type_imports = sorted_imports((node for cell in cells for node in cell.type_imports), WIDTH - 4)
    head = [
        f"{docstring}\n# Exported from notebooks/{notebook}; edit the notebook.",
        sorted_imports(node for cell in cells for node in cell.imports),
        type_imports and "if TYPE_CHECKING:\n" + textwrap.indent(type_imports, "    "),
        listed(name for cell in cells if cell.public for name in defined(cell.stays)),
    ]
    bodies = [f"# %% {cell.id}\n{text}" for cell in cells if (text := cell.text())]
    return "\n\n\n".join(["\n\n".join(filter(None, head)), *bodies]) + "\n"


def defined(statements: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that statements define at the top level of a module, in order."""
    for node in statements:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Assign(targets=targets):
                yield from (name.id for target in targets for name in ast.walk(target)
                            if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.If():
                yield from defined([*node.body, *node.orelse])


def listed(names: Iterable[str]) -> str:
    """`__all__`: every name once, those that begin with an underscore left out, as many in a line as it holds."""
    every = ", ".join(f'"{name}"' for name in dict.fromkeys(names) if not name.startswith("_"))
    line = f"__all__ = [{every}]"
    return line if len(line) <= WIDTH else "__all__ = [\n" + textwrap.fill(
        every, WIDTH - 1, initial_indent="    ", subsequent_indent="    ") + ",\n]"


def sorted_imports(nodes: Iterable[Import], width: int = WIDTH) -> str:
    """One statement a module, in the order of ruff's isort; an import under another name has its own, as there."""
    names: dict[tuple[int, bool, str, str], set[str]] = {}
    for node in nodes:
        module = re.sub(rf"^{PACKAGE}\b\.?", ".", node.module or "") if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            name = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
            if module:
                names.setdefault((section(module), True, module, name if alias.asname else ""), set()).add(name)
            else:
                names[section(name), False, name, ""] = set()
    every = [(place, is_from, module.lower(), sorted(map(rank, members)), statement(module, members, width))
             for (place, is_from, module, _), members in names.items()]
    sections = groupby(sorted(every), key=lambda found: found[0])
    return "\n\n".join("\n".join(line for *_, line in group) for _, group in sections)


def section(module: str) -> int:
    """Where a module is imported: __future__, the standard library, what is installed, this package, its neighbors."""
    top = re.split(r"[. ]", module)[0]
    return {"__future__": 0, PACKAGE: 3, "": 4}.get(top, 1 if top in sys.stdlib_module_names else 2)


def rank(name: str) -> tuple[int, list[str | int], str]:
    """Constants first, then classes, then the rest; item_9 before item_10."""
    natural = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name.lower())]
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2), natural, name


def statement(module: str, members: Iterable[str], width: int) -> str:
    ordered = sorted(members, key=rank)
    line = f"from {module} import {', '.join(ordered)}" if ordered else f"import {module}"
    return line if len(line) <= width else f"from {module} import (\n    " + ",\n    ".join(ordered) + ",\n)"
