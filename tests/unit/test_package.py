"""The house: which module may know which, and what an import may do."""
from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml
from export import PACKAGE, ROOT

HERE = ROOT / PACKAGE

# Who may import whom (run time and types alike, but for TYPES). Arrows run downward only; nothing imports its neighbor.
WIRE = {"printable", "wire"}
LINE = WIRE | {"channel", "transcript"}
TALK = LINE | {"conversation", "envelope", "stream"}
ENDS = TALK | {"bodies", "rules", "together", "client", "session"}
HELLO = ENDS | {"ehlo", "transaction"}
EXTENSIONS = {"status", "pipelining", "chunking", "starttls", "auth", "scram", "smtputf8", "dsn"}
STAGES = {"connection", "server", "loop"}
PROTOCOL = HELLO | EXTENSIONS | STAGES | {"maildir", "pop3", "queue", "relay", "report", "submission", "trust"}
BY_HAND = {"addresses", "aio", "canonical", "desk", "dialogue", "dkim", "dmarc", "dots", "fields", "flight", "keys",
           "known", "lease", "ledger", "lmtp", "message", "oauth", "parts", "passwords", "prompt", "questions",
           "refusals", "resolver", "sasl", "sevenbit", "spf", "stream", "throttle", "together", "tray", "unix", "users",
           "xtext"}
FRONT_DOOR = PROTOCOL | BY_HAND | {"saslprep", "smtp", "transcript"}
ALLOWED: dict[str, set[str]] = {
    "__init__": {"memory"}, "addresses": set(), "printable": set(), "parts": set(), "saslprep": set(),
    "transcript": set(), "dialogue": {"transcript"},
    "throttle": LINE | {"conversation"}, "passwords": {"saslprep"}, "xtext": {"wire"},
    "oauth": {"conversation", "passwords", "sasl"}, "sasl": {"client", "conversation", "passwords", "saslprep"},
    "wire": {"printable"}, "channel": WIRE | {"transcript"}, "conversation": LINE,
    "stream": {"channel", "conversation"}, "envelope": LINE | {"addresses", "conversation", "dots", "stream"},
    "bodies": WIRE, "dots": WIRE, "known": WIRE,
    "together": set(), "tray": set(), "prompt": set(), "flight": LINE | {"connection"},
    "rules": TALK | {"bodies", "together"}, "client": TALK, "session": TALK | {"bodies", "rules"},
    "ehlo": ENDS | {"known"}, "transaction": ENDS | {"ehlo", "replies"}, **dict.fromkeys(EXTENSIONS, HELLO),
    "auth": HELLO | {"passwords", "sasl", "saslprep", "throttle", "xtext"},
    "scram": HELLO | {"auth", "passwords", "sasl", "saslprep"},        # one more mechanism
    "dsn": HELLO | {"xtext"},
    "lmtp": HELLO | {"rules", "status"}, "unix": set(),
    "submission": ENDS | {"addresses"}, "report": ENDS | {"dsn", "parts"},
    "desk": WIRE | {"passwords", "sasl", "together"},
    "pop3": TALK | {"auth", "desk", "maildir", "passwords", "starttls", "throttle"},
    "lease": {"printable"}, "sevenbit": {"bodies", "parts"},
    "ledger": WIRE | {"bodies", "envelope", "lease", "stream", "together"},
    "queue": ENDS | {"ledger", "maildir", "parts", "report"},
    "connection": LINE | {"conversation", "prompt"},
    "server": LINE | {"conversation", "connection", "throttle", "unix"},
    "loop": LINE | {"conversation", "connection", "flight", "server", "throttle", "together", "tray", "unix"},
    "aio": LINE | {"conversation", "connection", "prompt", "unix"},
    "relay": ENDS | {"queue", "resolver"}, "resolver": WIRE,
    "canonical": set(), "fields": WIRE | {"addresses", "bodies", "resolver", "together"}, "keys": {"fields"},
    "questions": {"resolver"}, "spf": {"fields", "questions"}, "dkim": {"fields", "keys", "questions"},
    "dmarc": {"fields", "questions"},
    "trust": ENDS | {"canonical", "dkim", "dmarc", "fields", "keys", "questions", "resolver", "spf"},
    "maildir": WIRE | {"envelope", "stream", "together"},
    "users": HELLO | {"auth", "passwords", "sasl", "saslprep", "scram"},
    "refusals": {"client", "wire"}, "replies": TALK | {"client"}, "message": ENDS | {"addresses", "transaction"},
    "smtp": PROTOCOL | BY_HAND,
    # An examiner shares what is transport with the examined, and no rule of SMTP.
    "conformance": TALK | {"bodies", "chunking", "connection", "starttls"},
    "memory": LINE | {"printable", "conversation", "connection", "loop", "server", "throttle"},
    "compat": FRONT_DOOR, "testing": FRONT_DOOR, "pytest_plugin": FRONT_DOOR | {"testing"},
    "web": {"printable"}, "inbox": FRONT_DOOR | {"parts", "web"}, "classroom": FRONT_DOOR | {"inbox", "web"},
    "cli": FRONT_DOOR | {"classroom", "conformance", "inbox", "web"}, "__main__": {"cli"},
    "lab": FRONT_DOOR | {"conformance"},
}
TYPES = {"ehlo": {"transaction"}}               # imported for type checkers only
# The rooms that notebooks write, in the order of their chapters.
ORDER = ("wire conversation envelope client session connection server maildir ehlo transaction status pipelining "
         "chunking starttls auth scram smtputf8 submission dsn report queue relay pop3 trust loop").split()
# What a module may import beyond the standard library. The protocol: nothing, but for the extra named after it.
FOREIGN = {"keys": {"cryptography"}, "resolver": {"dns", "idna"}, "pytest_plugin": {"pytest"}, "testing": {"trustme"},
           "cli": {"dns", "idna", "rich"}}
FREE = {"lab", "conformance"}

MODULES = sorted(HERE.rglob("*.py"))
BY_NAME = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES}
ROOMS = [name for name in ORDER if (HERE / f"{name}.py").exists()]


def part(path: Path) -> str:
    """The part of the house a file belongs to: its module, or the subpackage it lies in."""
    return path.relative_to(HERE).parts[0].removesuffix(".py")


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, types: bool = True) -> set[str]:
    """The absolute dotted names that a file imports, at its top or in functions; without `types`, those that run."""
    found = set()
    package = dotted(path).split(".") if path.stem == "__init__" else dotted(path).split(".")[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {id(node) for block in ast.walk(tree) if isinstance(block, ast.If)
                 and ast.unparse(block.test) == "TYPE_CHECKING" for node in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in for_types and not types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            found |= {f"{module}.{alias.name}" for alias in node.names} if is_package(module) else {module}
    return found


def is_package(module: str) -> bool:
    return module.split(".")[0] == PACKAGE and ROOT.joinpath(*module.split(".")).is_dir()


def rooms_in(names: set[str]) -> set[str]:
    """The rooms of ours among dotted names."""
    return {name.split(".")[1] for name in names if name.startswith(f"{PACKAGE}.")}


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_arrows_run_downward_only(path: Path) -> None:
    own = part(path)
    assert own in ALLOWED, f"{own} has no place in the table of this test: say what it may import"
    for ours, allowed in ((rooms_in(imports(path, types=False)), ALLOWED[own]),
                          (rooms_in(imports(path)), ALLOWED[own] | TYPES.get(own, set()))):
        upward = ours - {own, "__version__"} - allowed - public_names()
        assert not upward, f"{dotted(path)} may not import {sorted(upward)}"
        through_the_front = ours & public_names()
        assert not through_the_front or own in {"lab", "cli", "testing", "__main__", "pytest_plugin"}, (
            f"{dotted(path)} imports {sorted(through_the_front)} from the package; name the module that defines it")


def test_the_table_of_arrows_has_no_circle() -> None:
    """What may be imported by the rules of the table, whatever is."""
    assert list(TopologicalSorter({room: others - {room} for room, others in ALLOWED.items()}).static_order())


def test_no_import_circle() -> None:
    """File by file, imports within functions included, as well as those for types but for TYPES."""
    graph = {}
    for path in MODULES:
        own, names = part(path), set[str]()
        for name in imports(path):
            known = name if name in BY_NAME else name.rpartition(".")[0]
            if known in BY_NAME and not (part(BY_NAME[known]) in TYPES.get(own, set())
                                         and known not in imports(path, types=False)):
                names.add(known)
        graph[dotted(path)] = names - {dotted(path), PACKAGE, f"{PACKAGE}.lab"}     # lab.__init__ looks names up
    assert list(TopologicalSorter(graph).static_order())


def test_nothing_in_the_product_imports_the_lab() -> None:
    product = [path for path in MODULES if part(path) != "lab"]
    assert [dotted(path) for path in product if "lab" in rooms_in(imports(path))] == []
    names = ", ".join(dotted(path) for path in product if path.stem != "__main__")
    done = run(f"import sys, {names}; print(*[m for m in sys.modules if m.startswith('{PACKAGE}.lab')])")
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


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


def test_rooms_are_in_the_order_of_their_chapters() -> None:
    written = [path.stem.partition("_")[2] for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]
    assert [name for name in written if name in ROOMS] == [name for name in ROOMS if name in written]


@pytest.mark.parametrize("name", ROOMS)
def test_an_early_module_loads_no_later_one(name: str) -> None:
    done = run(f"import sys, {PACKAGE}.{name}; print(*[m for m in sys.modules if m.startswith('{PACKAGE}.')])")
    assert done.returncode == 0, done.stderr
    loaded = {module.split(".")[1] for module in done.stdout.split()}
    later = loaded.intersection(ORDER[ORDER.index(name) + 1 :])
    assert not later, f"importing {name} loads {sorted(later)}"


# --- sizes -----------------------------------------------------------------------------------------------------------

MOST_LINES = {ast.ClassDef: 60, ast.FunctionDef: 40, ast.AsyncFunctionDef: 40}


def too_long(path: Path) -> set[str]:
    """The classes and functions of a file that have more lines than they may, decorators and docstrings included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if (node.end_lineno or 0) - first + 1 > MOST_LINES[type(node)]:
                found.add(f"{dotted(path).removeprefix(f'{PACKAGE}.')}.{node.name}")
    return found


def test_no_class_and_no_function_is_too_long() -> None:
    """Sixty lines, and forty (STYLE): what is longer wants to be two."""
    found = set().union(*map(too_long, MODULES))
    assert not found, f"longer than they may be: {sorted(found)}"


def test_an_extension_has_nine_members_at_most_and_none_is_none() -> None:
    from smtp_from_scratch.ehlo import Extension

    members = {name: getattr(Extension, name) for name in dir(Extension) if not name.startswith("_")}
    assert {"keyword", "requires"} < members.keys() and len(members) - 2 <= 9
    assert None not in members.values()
    methods = members.keys() - {"keyword", "requires"}
    for extension in every_extension():
        assert all(callable(getattr(extension, name)) for name in methods), f"{extension}: a hook is a method"


def every_extension() -> set[type]:
    import smtp_from_scratch.smtp.logins
    import smtp_from_scratch.smtp.sets
    import smtp_from_scratch.starttls  # noqa: F401  the three load them all
    from smtp_from_scratch.ehlo import Extension

    return set(Extension.__subclasses__())


def test_two_extensions_are_a_keyword_and_no_more() -> None:
    from smtp_from_scratch.pipelining import Pipelining
    from smtp_from_scratch.status import EnhancedStatusCodes

    for extension in (Pipelining, EnhancedStatusCodes):
        assert [name for name in vars(extension) if not name.startswith("__")] == ["keyword"]


def test_a_session_has_twelve_fields_at_most() -> None:
    from smtp_from_scratch.session import Session

    assert len(fields(Session)) <= 12


# --- the package -----------------------------------------------------------------------------------------------------


def test_public_names_are_looked_up_when_used() -> None:
    done = run(f"import sys, {PACKAGE} as p; print(*[m for m in sys.modules if m.startswith('{PACKAGE}.')])\n"
               "for name in p.__all__: getattr(p, name)\n"
               "assert set(p.__all__) <= set(dir(p)) and p.__version__\n"
               "try: p.nothing_of_that_name\n"
               "except AttributeError: pass\n"
               "else: raise SystemExit('an unknown name was found')\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "", f"`import {PACKAGE}` loads {done.stdout}"


# What is large, and what few programs need of ours: neither is loaded before somebody asks for it.
LARGE = {"asyncio", "concurrent.futures", "email.parser", "email.policy", "http", "json", "logging", "multiprocessing",
         "pathlib", "queue", "shutil", "stringprep", "subprocess", "tempfile", "traceback", "unittest"}
RARE = {"aio", "auth", "compat", "conformance", "ledger", "lmtp", "loop", "maildir", "memory", "oauth", "parts",
        "pop3", "report", "scram", "sqlite3", "smtp.aio", "smtp.logins", "smtp.many", "smtp.pop3", "starttls",
        "submission", "trust", "users"}
SERVER, CLIENT = {"server", "smtp.bridge", "smtp.server"}, {"message", "smtp.base", "smtp.client", "smtp.sending"}


def loaded_by(code: str) -> set[str]:
    """The modules that a program loads, ours by their short names; not those that the interpreter has loaded."""
    done = run(f"import sys; before = set(sys.modules)\n{code}\nprint(*set(sys.modules) - before)")
    assert done.returncode == 0, done.stderr
    return {name.removeprefix(f"{PACKAGE}.") for name in done.stdout.split()}


@pytest.mark.parametrize("code, unneeded", [
    (f"from {PACKAGE} import Client; Client()", LARGE | RARE | SERVER),
    (f"from {PACKAGE} import Server; Server().stop()", LARGE | RARE | CLIENT),
    (f"import {PACKAGE}.testing", LARGE | RARE | CLIENT),
    (f"from {PACKAGE} import AsyncClient", RARE - {"aio", "smtp.aio"} | SERVER | {"smtp.client"}),
    (f"import {PACKAGE}.__main__", LARGE | RARE | CLIENT | SERVER | {"cli", "wire"}),
    (f"from {PACKAGE}.__main__ import parser; parser(['send'])", LARGE - {"shutil"} | SERVER | {"cli.serve"}),
    (f"from {PACKAGE}.__main__ import parser; parser(['serve'])", {"asyncio", "auth", "cli.send", "logging", "loop"}),
])
def test_what_few_programs_need_is_not_loaded_before(code: str, unneeded: set[str]) -> None:
    found = loaded_by(code) & unneeded
    assert not found, f"{code} loads {sorted(found)}: import it where it is needed, or show here why all need it"


def test_a_message_in_the_clear_is_sent_without_what_others_need() -> None:
    from smtp_from_scratch import Server

    with Server() as server:
        found = loaded_by(f"from {PACKAGE} import Client\n"
                          f"with Client('127.0.0.1', {server.address[1]}) as client:\n"
                          "    client.sendmail('ana@rio.example', 'kenji@tokyo.example', 'Subject: Choir')")
    unneeded = LARGE - {"stringprep"} | RARE | SERVER              # `socket` looks hosts up by way of that one
    assert len(server.messages) == 1 and not found & unneeded, sorted(found & unneeded)


def test_types_are_published() -> None:
    """A type checker reads a file beside the front door, which looks names up; both have the same names."""
    import smtp_from_scratch

    tree = ast.parse((HERE / "__init__.pyi").read_text(encoding="utf-8"))
    homes = {alias.name: node.module for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    [names] = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    assert homes == smtp_from_scratch._HOME and ast.literal_eval(names) == smtp_from_scratch.__all__
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
    used |= {"dnspython"} if "dns" in used else set()      # the one whose module has another name
    for extra in set(extras) - {"course", "test", "site"}:
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
    rooms = (ROOT / "docs" / "rooms.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    jobs = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in workflow["jobs"].items()}
    assert set(jobs) == {"linux", "everything", "macos", "windows"}
    assert "make test" in jobs["linux"] and "make test" in jobs["macos"] and {"test", "test-all"} <= set(targets)
    assert jobs["everything"][-1] == "make test-all"
    assert jobs["windows"][0].removesuffix(" --set-up") in rooms, "docs/rooms.md says something else about Windows"


def test_no_lock_files() -> None:
    locks = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "package-lock.json", "conda-lock.yml", "pixi.lock"}
    assert not [str(path) for path in tracked() if path.name in locks], "versions stand in constraints.txt"


def test_no_file_names_a_machine() -> None:
    # Written in pieces, so that this file does not find itself.
    slash = "/"
    paths = {f"{slash}home{slash}\\w+{slash}", f"{slash}Users{slash}\\w+{slash}", re.escape(f"{slash}root{slash}"),
             re.escape(f"{ROOT.parent}{slash}") if ROOT.parent not in (Path("/"), Path("/tmp")) else "(?!)",
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
