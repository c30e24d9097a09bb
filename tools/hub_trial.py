#!/usr/bin/env python3
"""A JupyterHub for a moment: so many users run a chapter at once. How long do they wait, how much memory do they take?

    python tools/hub_trial.py               five users run the chapter on session
    python tools/hub_trial.py 12 --users 20

The hub is a real one (JupyterHub with its simple spawner, and configurable-http-proxy), on loopback, in a folder that
is removed afterward. Everybody gets a copy of the course, as a hub for a class would give it.
"""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import psutil
from export import ROOT, Problem, chapters
from refresh import kernel_environment

PATIENCE = 300.0  # seconds, for whatever is waited for
CONFIG = """\
c = get_config()  # noqa: F821
c.JupyterHub.bind_url = "http://127.0.0.1:{public}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy}"
c.ConfigurableHTTPProxy.auth_token = "{token}"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r} + "/{{username}}"
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.notebook_dir = "~/course"
c.Spawner.environment = {environment!r}
c.Spawner.start_timeout = c.Spawner.http_timeout = 180
c.JupyterHub.services = [{{"name": "class", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{"name": "class", "services": ["class"],
                            "scopes": ["admin:users", "admin:servers", "access:servers"]}}]
"""


@dataclass(slots=True)
class Learner:
    """One user's evening: seconds until each moment, and MB (a million octets) taken at most."""

    name: str
    server_up: float = 0                       # the single-user server answers
    first_cell: float = 0
    last_cell: float = 0
    memory: float = 0                          # of the server and the kernel together
    failed: list[str] = field(default_factory=list)


def missing() -> str:
    """What is not installed, and what brings it; empty when all is there."""
    if importlib.util.find_spec("jupyterhub") is None:
        return "JupyterHub is not installed: pip install jupyterhub"
    if shutil.which("configurable-http-proxy") is None:
        return "configurable-http-proxy is not installed: npm install -g configurable-http-proxy"
    return ""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(users: list[str], folder: Path) -> Iterator[tuple[str, str, psutil.Process]]:
    """A hub with homes for these users: its address, a token for its API, and its process."""
    for name in users:
        shutil.copytree(ROOT / "notebooks", folder / "homes" / name / "course", ignore=shutil.ignore_patterns(".*"))
    token, public = secrets.token_hex(16), free_port()
    kernels = {name: value for name, value in kernel_environment(str(folder / "ipython")).items()
               if name in ("PATH", "PYTHONPATH", "MPLBACKEND", "MATPLOTLIBRC", "PYDEVD_DISABLE_FILE_VALIDATION")}
    config = folder / "jupyterhub_config.py"
    config.write_text(CONFIG.format(public=public, hub=free_port(), proxy=free_port(), token=token,
                                    python=sys.executable, homes=str(folder / "homes"), environment=kernels),
                      encoding="utf-8")
    environment = dict(os.environ, PATH=kernels["PATH"])
    with (folder / "hub.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "jupyterhub", "-f", str(config)], cwd=folder, env=environment,
                                   stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield f"http://127.0.0.1:{public}", token, psutil.Process(process.pid)
        finally:
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            for one in [process, *family]:
                with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                    one.kill()
            process.wait()


class Calls:
    """Requests to the hub and to the servers behind it."""

    def __init__(self, address: str, token: str) -> None:
        from tornado.httpclient import AsyncHTTPClient

        AsyncHTTPClient.configure(None, max_clients=200)
        self.address, self.client, self.headers = address, AsyncHTTPClient(), {"Authorization": f"token {token}"}

    async def __call__(self, method: str, path: str, body: Any = None) -> Any:
        reply = await self.client.fetch(
            self.address + path, method=method, headers=self.headers, request_timeout=PATIENCE, raise_error=False,
            body=json.dumps(body or {}) if method == "POST" else None)
        if reply.code >= 400:
            raise Problem(f"{method} {path}: {reply.code} {reply.body[:300]!r}")
        return json.loads(reply.body) if reply.body else None

    async def until(self, path: str, true: Any) -> None:
        """Ask again and again until the answer is right."""
        deadline, last = time.monotonic() + PATIENCE, "nothing yet"
        while time.monotonic() < deadline:
            try:
                if true(await self("GET", path)):
                    return
            except (Problem, OSError) as error:
                last = str(error)
            await asyncio.sleep(0.2)
        raise Problem(f"waited {PATIENCE:.0f} s for {path}: {last}")


async def learn(calls: Calls, learner: Learner, notebook: Path) -> None:
    """Start a server, start a kernel, run every cell."""
    from tornado.httpclient import HTTPRequest
    from tornado.websocket import websocket_connect

    start, user = time.monotonic(), f"/user/{learner.name}"
    await calls("POST", f"/hub/api/users/{learner.name}/server")
    await calls.until(f"/hub/api/users/{learner.name}",
                      lambda about: (about.get("servers") or {}).get("", {}).get("ready"))
    learner.server_up = time.monotonic() - start
    session = await calls("POST", f"{user}/api/sessions", {"name": "", "path": notebook.name, "type": "notebook",
                                                           "kernel": {"name": "python3"}})
    kernel = session["kernel"]["id"]
    socket_address = calls.address.replace("http", "ws", 1) + f"{user}/api/kernels/{kernel}/channels"
    line = await websocket_connect(HTTPRequest(socket_address, headers=calls.headers, request_timeout=PATIENCE))
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code" and cell.source.strip():
            status = await asyncio.wait_for(executed(line, cell.source), PATIENCE)
            if status != "ok" and "raises-exception" not in cell.metadata.get("tags", []):
                learner.failed.append(cell.id)
            learner.last_cell = time.monotonic() - start
            learner.first_cell = learner.first_cell or learner.last_cell
    line.close()


async def executed(line: Any, source: str) -> str:
    """Have a cell executed; return `ok` or `error`."""
    number = uuid.uuid4().hex
    header = {"msg_id": number, "msg_type": "execute_request", "username": "", "session": number, "version": "5.3",
              "date": ""}
    content = {"code": source, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
               "stop_on_error": False}
    await line.write_message(json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content,
                                         "channel": "shell", "buffers": []}))
    while (message := await line.read_message()) is not None:
        if isinstance(message, str):
            said = json.loads(message)
            if said["parent_header"].get("msg_id") == number and said["msg_type"] == "execute_reply":
                return str(said["content"]["status"])
    raise Problem("the kernel's line broke")


async def weigh(hub: psutil.Process, learners: list[Learner], over: asyncio.Event) -> None:
    """Note the most that each learner's processes take together: a server, and what it started."""
    while not over.is_set():
        for child in hub.children():
            with contextlib.suppress(psutil.Error):
                home = Path(child.cwd()).parts
                now = sum(pss(one) for one in [child, *child.children(recursive=True)])
                for learner in learners:
                    if learner.name in home:
                        learner.memory = max(learner.memory, now)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), 0.5)


def pss(process: psutil.Process) -> float:
    """MB of a process; what several share counts in parts (on Linux)."""
    with contextlib.suppress(psutil.Error):
        memory = process.memory_full_info()
        return float(getattr(memory, "pss", memory.uss) / 1e6)
    return 0.0


async def evening(address: str, token: str, hub: psutil.Process, learners: list[Learner], notebook: Path) -> None:
    """All of them at once."""
    calls, over = Calls(address, token), asyncio.Event()
    await calls.until("/hub/api/", lambda about: "version" in about)
    for learner in learners:
        await calls("POST", f"/hub/api/users/{learner.name}")
    weighing = asyncio.create_task(weigh(hub, learners, over))
    try:
        await asyncio.gather(*(learn(calls, learner, notebook) for learner in learners))
    finally:
        over.set()
        await weighing
    for learner in learners:
        await calls("DELETE", f"/hub/api/users/{learner.name}/server")


def measured(notebook: Path, users: int) -> list[Learner]:
    """Run a hub, and let so many users run a chapter at once."""
    learners = [Learner(f"learner{number}") for number in range(1, users + 1)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, \
            running([learner.name for learner in learners], Path(name)) as (address, token, hub):
        try:
            asyncio.run(evening(address, token, hub, learners, notebook))
        except Problem as problem:
            log = (Path(name) / "hub.log").read_text(encoding="utf-8", errors="replace")
            raise Problem(f"{problem}\n{log[-3000:]}") from None
    return learners


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("chapter", nargs="?", default="05", help="number or name of a chapter")
    parser.add_argument("--users", type=int, default=5, help="how many (default 5)")
    options = parser.parse_args(arguments)
    try:
        if lacking := missing():
            raise Problem(lacking)
        [notebook] = chapters(ROOT, [options.chapter])
        learners = measured(notebook, options.users)
    except Problem as problem:
        print(f"hub_trial: {problem}", file=sys.stderr)
        return 1
    print(f"{'user':12}{'server up':>11}{'first cell':>12}{'last cell':>11}{'memory':>10}  failed")
    for one in learners:
        print(f"{one.name:12}{one.server_up:9.1f} s{one.first_cell:10.1f} s{one.last_cell:9.1f} s{one.memory:7.0f} MB"
              f"  {' '.join(one.failed) or 'nothing'}")
    return int(any(one.failed for one in learners))


if __name__ == "__main__":
    sys.exit(main())
