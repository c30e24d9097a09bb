#!/usr/bin/env python3
"""Set up the course and open its first chapter in JupyterLab: with pip or uv, or in a conda environment that has it.

    python tools/lab.py              open my-course/00_start_here.ipynb, a copy for you to type in
    python tools/lab.py 05           open that chapter
    python tools/lab.py --source     open notebooks/ itself, to work on the course
    python tools/lab.py --set-up     only install what is missing
    python tools/lab.py --prepare    only write JupyterLab's settings

Where this Python has no JupyterLab, .venv is made first. All settings go into that environment, none into your own
configuration. Without a display it prints the address instead of opening a browser. Ctrl-C ends it.
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import setup_venv

NEEDED = "import jupyterlab, ipywidgets, matplotlib, aiosmtpd, smtp_from_scratch"
OVERRIDES = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def has_the_course(python):
    """Whether this Python can run the chapters; asked of a new process, so that nothing is imported here."""
    return subprocess.call([python, "-c", NEEDED], cwd=setup_venv.ROOT, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL) == 0


def python_for_the_course():
    """A Python that has the course: this one if it does, as in conda's environment, else that of .venv."""
    own = os.path.realpath(sys.prefix) != os.path.realpath(setup_venv.VENV)
    if own and sys.version_info >= (3, 11) and (sys.prefix != sys.base_prefix or os.environ.get("CONDA_PREFIX")):
        if has_the_course(sys.executable):
            return sys.executable
    setup_venv.set_up("course")
    return setup_venv.python_of()


def prepare():
    """Write the overrides of JupyterLab's default settings into this environment."""
    import json
    from pathlib import Path

    path = Path(sys.prefix, "share", "jupyter", "lab", "settings", "overrides.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    settings.update(OVERRIDES)
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def signatures():
    """Where the notebooks that JupyterLab may trust are noted."""
    return os.path.join(sys.prefix, "share", "jupyter", "signatures")


def trust(folder):
    """Sign the notebooks as they are: JupyterLab shows the stored SVG only of notebooks that it trusts."""
    import nbformat
    from my_course import notebooks_in
    from nbformat.sign import NotebookNotary

    os.makedirs(signatures(), exist_ok=True)
    notary = NotebookNotary(data_dir=signatures())
    for relative in notebooks_in(folder):
        try:
            notary.sign(nbformat.read(folder / relative, as_version=4))
        except Exception as error:             # a learner's file may be anything
            print(f"lab: {relative} cannot be read: {error}", file=sys.stderr)


def has_display():
    """Whether a browser can be opened here."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def command(folder, first, arguments):
    """What starts JupyterLab; a port that is taken is passed over by itself."""
    line = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}",
            f"--NotebookNotary.data_dir={signatures()}", f"--LabApp.default_url=/lab/tree/{first}"]
    if not has_display():
        line.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        line.append("--allow-root")
    return line + arguments


def play(line, environment):
    """Run JupyterLab until it ends, or until one Ctrl-C: it would ask, and want a second one."""
    apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {"start_new_session": True}
    lab = subprocess.Popen(line, env=environment, **apart)
    try:
        return lab.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        if lab.poll() is None:
            lab.terminate()
            try:
                lab.wait(10)
            except subprocess.TimeoutExpired:
                lab.kill()
                lab.wait()


def open_course(arguments):
    """In a Python that has the course: bring the copy up to date, trust it, start JupyterLab."""
    import signal
    from pathlib import Path

    from my_course import COPY, SOURCE, bring_all, notebooks_in

    prepare()
    if "--prepare" in arguments:
        return 0
    chapters = [arguments.pop(0)] if arguments and arguments[0][:2].isdigit() else ["00"]
    folder = SOURCE if "--source" in arguments else COPY
    first = next((path for path in notebooks_in(SOURCE) if path.name.startswith(chapters[0])), None)
    if first is None:
        print(f"lab: there is no chapter {chapters[0]}; is this a complete copy of the course?", file=sys.stderr)
        return 1
    if folder is COPY:
        for line in bring_all():
            print("lab: " + line)
    trust(folder)
    # Cells may say `!python …`: let "python" be this one.
    environment = dict(os.environ, PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    print("lab: starting JupyterLab on {}/; {}. Ctrl-C ends it.".format(
        folder.name, "your browser opens by itself" if has_display() else
        "there is no display here, so open the address it prints below"), flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rest = [word for word in arguments if word not in ("--source",)]
    return play(command(folder, first.as_posix(), rest), environment)


def main(arguments):
    """Set up where that is needed, and open the course; returns the exit code."""
    if "--prepare" in arguments:               # for Binder, whose environment stands
        return open_course(arguments)
    try:
        python = python_for_the_course()
    except setup_venv.Problem as problem:
        print(f"lab: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if "--set-up" in arguments:
        return 0
    if os.path.realpath(sys.prefix) == os.path.realpath(setup_venv.VENV) or python == sys.executable:
        return open_course(arguments)
    line = [python, os.path.abspath(__file__)] + arguments
    if os.name == "nt":
        try:
            return subprocess.call(line)
        except KeyboardInterrupt:
            return 0
    os.execv(python, line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
