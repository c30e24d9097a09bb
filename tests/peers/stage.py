"""What every peer is given: a folder, free ports, a certificate, a user; and how its processes start and end."""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PREFIX = Path(os.environ.get("PEERS", HERE.parent.parent / ".peers"))

# As ports of the world: 25 with STARTTLS and AUTH under TLS; 25 that offers AUTH in the clear; 587; 465; 24.
ROLES = ("smtp", "insecure", "submission", "submissions", "lmtp")
USER, PASSWORD = "tim", "tanstaaftanstaaf"


class Failed(RuntimeError):
    """A peer did not start; the text has what it said."""


@dataclass(frozen=True)
class Stage:
    """A place for one server to run in, gone when it ends."""

    folder: Path
    ports: dict[str, int]
    ca_file: Path
    certificate: Path                           # with its chain
    key: Path
    user: str = USER
    password: str = PASSWORD

    @classmethod
    @contextmanager
    def set_up(cls) -> Iterator[Stage]:
        """A new stage. Its folder may be entered by anybody: servers change to users of their own."""
        import trustme

        with tempfile.TemporaryDirectory(prefix="peer-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            stage = cls(folder, free_ports(ROLES), folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
            authority = trustme.CA()
            issued = authority.issue_cert("mx.peer.example", "localhost", "127.0.0.1", key_type=trustme.KeyType.RSA)
            authority.cert_pem.write_to_path(stage.ca_file)
            stage.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
            issued.private_key_pem.write_to_path(stage.key)
            yield stage

    def fill(self, source: str, target: str, **names: object) -> Path:
        """Write a configuration of tests/peers into the folder, with its @names@ filled in."""
        text = (HERE / source).read_text("utf-8")
        values = {**vars(self), **self.ports, **names}
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        path = self.folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    @contextmanager
    def process(self, command: Sequence[str | Path], roles: Sequence[str],
                environment: Mapping[str, str] | None = None) -> Iterator[None]:
        """A server in the foreground, in a session of its own, ended with all its children when the block ends."""
        with (self.folder / "output").open("wb") as output:
            process = subprocess.Popen([str(word) for word in command], cwd=self.folder, stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=output, start_new_session=True,
                                       env={**os.environ, **(environment or {})})
        try:
            self.wait_for(roles, process)
            yield
        finally:
            stop(process)

    def wait_for(self, roles: Sequence[str], process: subprocess.Popen[bytes], patience: float = 15.0) -> None:
        """Return when all ports greet or, under implicit TLS, can be reached."""
        deadline = time.monotonic() + patience
        for role in roles:
            while not self.answers(role):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Failed(f"{role} did not answer; the server said:\n{self.said()}")
                time.sleep(0.05)

    def answers(self, role: str) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[role]), 5) as sock:
            return role == "submissions" or sock.recv(3) == b"220"
        return False

    def said(self) -> str:
        """The ends of all its logs."""
        logs = [self.folder / "output", *sorted(self.folder.glob("*log"))]
        return "\n".join(path.read_text("utf-8", "replace")[-2000:] for path in logs if path.is_file())


def free_ports(roles: Sequence[str]) -> dict[str, int]:
    """A port for each role that was free a moment ago: these servers cannot be told to take port 0."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in roles]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return {role: sock.getsockname()[1] for role, sock in zip(roles, sockets, strict=True)}


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and the group of processes that it began; by force if it takes more than three seconds."""
    for name, alone in (("SIGTERM", process.terminate), ("SIGKILL", process.kill)):
        with suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, getattr(signal, name))
            else:
                alone()
        with suppress(subprocess.TimeoutExpired):
            process.wait(3)
