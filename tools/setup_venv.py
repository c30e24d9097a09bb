#!/usr/bin/env python3
"""Make .venv fit for one of three purposes, and do nothing when it already is. Any Python 3 runs this.

    python tools/setup_venv.py course    JupyterLab and what the chapters use
    python tools/setup_venv.py test      that, and every tool of the tests and benchmarks
    python tools/setup_venv.py site      that, and what builds the site

uv is used where it is installed, else venv and pip. PYTHON=/some/python picks the interpreter. Versions are those of
constraints.txt.
"""

import os
import shutil
import subprocess
import sys
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
WINDOWS = os.name == "nt"
EXTRAS = {"course": "course", "test": "course,test", "site": "course,test,site"}        # each has all before it
NAMES = ["python3", "python", "python3.13", "python3.12", "python3.11", "python3.14"]
WANTED = ("Python 3.11 or newer is needed; found: {}. Install one (3.13 is a good choice), or uv, which brings its "
          "own; or name it: PYTHON=/path/to/python3.13")


class Problem(Exception):
    """What is in the way, and what to do about it."""


def python_of(venv=VENV):
    """The interpreter of an environment."""
    return os.path.join(venv, "Scripts", "python.exe") if WINDOWS else os.path.join(venv, "bin", "python")


def new_enough(python):
    """Whether this interpreter is there, and 3.11 or newer."""
    try:
        return subprocess.call([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def base_python():
    """An interpreter to build on, or None; raises Problem when the one that was asked for will not do."""
    named = os.environ.get("PYTHON")
    if named:
        if not new_enough(named):
            raise Problem(WANTED.format(version_of(named)))
        return named
    if sys.version_info >= (3, 11):            # noqa: UP036  whoever begins may have an old one
        return getattr(sys, "_base_executable", sys.executable)
    return next((name for name in NAMES if new_enough(name)), None)


def version_of(python):
    """What an interpreter says it is."""
    try:
        found = subprocess.check_output([python, "--version"], stderr=subprocess.STDOUT)
    except (OSError, subprocess.CalledProcessError):
        return f"no {python}"
    return found.decode("utf-8", "replace").strip()


def fingerprint():
    """Changes with what is to be installed."""
    total = 0
    for name in ("pyproject.toml", "constraints.txt", os.path.join("tools", "setup_venv.py")):
        with open(os.path.join(ROOT, name), "rb") as file:
            total = zlib.crc32(file.read(), total)
    return str(total)


def ready_for(want):
    """Whether .venv has all of it already."""
    for stamp in list(EXTRAS)[list(EXTRAS).index(want):]:
        try:
            with open(os.path.join(VENV, ".ready-for-" + stamp)) as file:
                if file.read().strip() == fingerprint() and new_enough(python_of()):
                    return True
        except OSError:
            pass
    return False


def run(line, complaint, **more):
    """Run a command; raises Problem."""
    try:
        failed = subprocess.call(line, cwd=ROOT, **more)
    except OSError as error:
        raise Problem(f"{complaint}: {error}")
    if failed:
        raise Problem(complaint)


def make_venv(uv):
    """Make .venv, of the best Python that is there."""
    base = base_python()
    if base is None and not uv:
        raise Problem(WANTED.format(version_of(sys.executable)))
    print("setup: making .venv with {}".format(base or "a Python that uv brings"), file=sys.stderr)
    if uv:
        return run([uv, "venv", "--quiet", "--seed", "--clear", "--python", base or "3.13", VENV],
                   "uv could not make .venv; its message is above")
    if subprocess.call([base, "-c", "import venv, ensurepip"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        raise Problem("this Python has no venv module. On Debian and Ubuntu: sudo apt-get install python3-venv. Then "
                      "run the same command again.")
    run([base, "-m", "venv", "--clear", VENV], "python -m venv could not make .venv; its message is above")


def check_network():
    """Raises Problem, within seconds, when nothing can be fetched: pip itself would try again for a minute."""
    if subprocess.call([python_of(), "-m", "pip", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        run([python_of(), "-m", "ensurepip"], "this Python has no pip", stdout=subprocess.DEVNULL)
    line = [python_of(), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--no-cache-dir", "--retries", "0", "--timeout", "3", "-c", "constraints.txt",
            "--dest", os.path.join(VENV, "probe"), "idna"]
    try:
        reached = subprocess.run(line, cwd=ROOT, timeout=20, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL).returncode == 0
    except subprocess.TimeoutExpired:
        reached = False
    shutil.rmtree(os.path.join(VENV, "probe"), ignore_errors=True)
    if not reached:
        raise Problem("nothing can be fetched: is there a network? The course needs it once, to install JupyterLab; "
                      "afterwards it runs without. Then run the same command again.")


def install(want, uv):
    """Install what is wanted into .venv."""
    what = ["-c", "constraints.txt", "-e", f".[{EXTRAS[want]}]"]
    complaint = "the installation failed; the message above says where. Is there a network? Run the same command again."
    check_network()
    print("setup: installing for '{}' with {} (a minute or two the first time)".format(want, "uv" if uv else "pip"),
          file=sys.stderr)
    if uv:
        return run([uv, "pip", "install", "--quiet", "--python", python_of()] + what, complaint)
    run([python_of(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"] + what, complaint)


def set_up(want):
    """Make .venv fit; raises Problem."""
    if want not in EXTRAS:
        raise Problem(f"say 'course' or 'test' or 'site', not {want!r}")
    if ready_for(want):
        return
    uv = shutil.which("uv")
    if not new_enough(python_of()):
        make_venv(uv)
    install(want, uv)
    # matplotlib announces its first look at the fonts on stderr: let it look now
    subprocess.call([python_of(), "-c", "import matplotlib.font_manager"], stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL)
    if not shutil.which("git"):
        print("setup: git is not installed; the chapters do not need it, but 'make test' compares what git tracks",
              file=sys.stderr)
    for stamp in EXTRAS:
        if os.path.exists(os.path.join(VENV, ".ready-for-" + stamp)):
            os.remove(os.path.join(VENV, ".ready-for-" + stamp))
    with open(os.path.join(VENV, ".ready-for-" + want), "w") as file:
        file.write(fingerprint() + "\n")


def main(arguments):
    """Set up; returns the exit code."""
    try:
        set_up(arguments[0] if arguments else "course")
    except Problem as problem:
        print(f"setup: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
