"""The house: which module may know which, and what an import may do."""
from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from export import PACKAGE, ROOT

HERE = ROOT / PACKAGE

# Who may import whom. Arrows run downward only; nothing imports its neighbor.
GROUND = {"wire"}
MIDDLE = GROUND | {"envelope", "conversation"}
ENDS = MIDDLE | {"client", "session"}
HELLO = ENDS | {"ehlo"}
EXTENSIONS = {"pipelining", "chunking", "starttls", "auth", "scram", "smtputf8", "dsn", "pop3", "submission", "spool",
              "relay"}
STAGES = {"server", "aio", "maildir"}
PROTOCOL = HELLO | EXTENSIONS | STAGES
FRONT_DOOR = PROTOCOL | {"smtp"}
ALLOWED = (
    {"wire": set(), "envelope": GROUND, "conversation": GROUND, "client": MIDDLE, "session": MIDDLE, "ehlo": ENDS}
    | dict.fromkeys(EXTENSIONS, HELLO)
    | {"scram": HELLO | {"auth", "maildir"}}  # one more mechanism; its user file is as durable as a letter
    | dict.fromkeys(STAGES, MIDDLE)
    | {"smtp": PROTOCOL, "lab": FRONT_DOOR | {"conformance"}, "conformance": FRONT_DOOR, "pytest_plugin": FRONT_DOOR,
       "__main__": FRONT_DOOR | {"lab", "conformance"}, "__init__": set()}
)
# What a module may import beyond the standard library. The protocol: nothing, but for the extra named after it.
FOREIGN = {"relay": {"dns", "idna"}, "pytest_plugin": {"pytest"}}
FREE = {"lab", "conformance"}

MODULES = sorted(HERE.rglob("*.py"))
CHAPTERS = {path.stem.partition("_")[2]: int(path.stem[:2]) for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
NUMBERED = {name: number for name, number in CHAPTERS.items() if (HERE / f"{name}.py").exists()}


def part(path: Path) -> str:
    """The part of the house a file belongs to: its module, or the subpackage it lies in."""
    return path.relative_to(HERE).parts[0].removesuffix(".py")


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """The absolute dotted names that a file imports, at its top or within functions."""
    found = set()
    package = dotted(path).split(".") if path.stem == "__init__" else dotted(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == PACKAGE else {module}
    return found


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_arrows_run_downward_only(path: Path) -> None:
    own = part(path)
    assert own in ALLOWED, f"{own} has no place in the table of this test: say what it may import"
    ours = {name.split(".")[1] for name in imports(path) if name.startswith(f"{PACKAGE}.")} - {own, "__version__"}
    upward = ours - ALLOWED[own] - public_names()
    assert not upward, f"{dotted(path)} may not import {sorted(upward)}"
    through_the_front = ours & public_names()
    assert not through_the_front or own in FREE | {"__main__", "pytest_plugin"}, (
        f"{dotted(path)} imports {sorted(through_the_front)} from the package; name the module that defines it")


def public_names() -> set[str]:
    import smtp_from_scratch

    return set(smtp_from_scratch.__all__)


@pytest.mark.parametrize("path", [p for p in MODULES if part(p) not in FREE], ids=dotted)
def test_the_core_needs_the_standard_library_only(path: Path) -> None:
    foreign = {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {PACKAGE}
    assert not foreign - FOREIGN.get(part(path), set()), f"{dotted(path)} imports {sorted(foreign)}"


@pytest.mark.parametrize("path", [p for p in MODULES if p.stem != "__main__"], ids=dotted)
def test_importing_prints_nothing(path: Path) -> None:
    done = run(f"import {dotted(path)}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", sorted(NUMBERED, key=lambda name: NUMBERED[name]))
def test_an_early_module_loads_no_later_one(name: str) -> None:
    done = run(f"import sys, {PACKAGE}.{name}; print(*[m for m in sys.modules if m.startswith('{PACKAGE}.')])")
    assert done.returncode == 0, done.stderr
    loaded = {module.split(".")[1] for module in done.stdout.split()}
    later = {other for other in loaded if NUMBERED.get(other, 99) > NUMBERED[name]}
    assert not later, f"importing {name} (chapter {NUMBERED[name]}) loads {sorted(later)}"


def test_public_names_are_looked_up_when_used() -> None:
    done = run(f"import sys, {PACKAGE} as p; print(*[m for m in sys.modules if m.startswith('{PACKAGE}.')])\n"
               "for name in p.__all__: getattr(p, name)\n"
               "assert set(p.__all__) <= set(dir(p)) and p.__version__\n"
               "try: p.nothing_of_that_name\n"
               "except AttributeError: pass\n"
               "else: raise SystemExit('an unknown name was found')\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "", f"`import {PACKAGE}` loads {done.stdout}"


def test_types_are_published() -> None:
    assert (HERE / "py.typed").exists()


def test_constraints_pin_every_requirement_and_name_no_address() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text and "@" not in text
    pinned = {canonical(line.split("==")[0]) for line in text.splitlines() if "==" in line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dependencies"] == [], "the core has no dependencies"
    wanted = {canonical(re.split(r"[\[<>=!~; ]", need)[0])
              for needs in project["optional-dependencies"].values() for need in needs}
    assert not wanted - pinned, f"not pinned: {sorted(wanted - pinned)}; run `make constraints`"


def test_the_version_is_written_once() -> None:
    import smtp_from_scratch

    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)
    assert project["project"]["dynamic"] == ["version"] and "version" not in project["project"]
    source = (ROOT / project["tool"]["hatch"]["version"]["path"]).read_text(encoding="utf-8")
    assert f'__version__ = "{smtp_from_scratch.__version__}"' in source
    news = re.findall(r"^## ([0-9.]+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert news[0] == smtp_from_scratch.__version__, "the first entry of CHANGELOG.md is about another version"


def test_extras_for_users_are_what_the_package_imports() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    used = {name.split(".")[0] for path in MODULES for name in imports(path)}
    for extra in set(extras) - {"course", "test"}:
        unused = {canonical(re.split(r"[\[<>=!~; ]", need)[0]) for need in extras[extra]} - used
        assert not unused, f"no module imports {sorted(unused)} of the extra {extra!r}"


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def tracked() -> list[Path]:
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout, or git is not installed")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def hooks() -> list[dict[str, Any]]:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {repo["repo"] for repo in config["repos"]} == {"local"}, "a hook from elsewhere would be fetched"
    return [hook for repo in config["repos"] for hook in repo["hooks"]]


@pytest.mark.parametrize("hook", hooks(), ids=lambda hook: str(hook["id"]))
def test_hooks_before_a_commit_pass(hook: dict[str, Any]) -> None:
    program, *arguments = hook["entry"].split()
    assert program.startswith(".venv/bin/") and hook["language"] == "system"
    found = shutil.which(Path(program).name, path=str(Path(sys.executable).parent))
    assert found, f"{program} is not installed; `make test` does it"
    done = subprocess.run([found, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_lint_runs_every_hook() -> None:
    [rule] = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for hook in hooks():
        command = hook["entry"].replace(".venv/bin", "$(BIN)").removesuffix(" --force-exclude")
        assert command in rule, f"make lint does not run {command}"


def test_workflows_run_the_commands_that_people_run() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    jobs = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in workflow["jobs"].items()}
    assert set(jobs) == {"linux", "macos", "windows"}
    assert "make test" in jobs["linux"] and "make test" in jobs["macos"] and "test" in targets
    assert jobs["windows"][0] in readme, "README.md says something else about Windows"


def test_no_lock_files() -> None:
    locks = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "package-lock.json", "conda-lock.yml", "pixi.lock"}
    assert not [str(path) for path in tracked() if path.name in locks], "versions stand in constraints.txt"


def test_no_file_names_a_machine() -> None:
    # Written in pieces, so that this file does not find itself.
    slash = "/"
    paths = {f"{slash}home{slash}\\w+{slash}", f"{slash}Users{slash}\\w+{slash}", re.escape(f"{slash}root{slash}"),
             re.escape(f"{ROOT.parent}{slash}") if len(ROOT.parent.parts) > 1 else "$^",
             re.escape(f"{Path.home()}{slash}")}
    registries = [("pypi", "org"), ("pythonhosted", "org"), ("deb", "debian", "org"), ("registry", "npmjs", "org")]
    hosts = {"\\.".join(parts) for parts in registries}
    trace = re.compile("|".join(f"(?<![\\w.~]){path}" for path in sorted(paths)) + "|" + "|".join(sorted(hosts)))
    found = {}
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "replace")
        if match := trace.search(text):
            found[str(path.relative_to(ROOT))] = match[0]
    assert not found, f"paths of a machine or hosts of a registry: {found}"
