"""How each peer is found, configured and started."""
from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from tests.peers.stage import HERE, PREFIX, ROLES, Stage

BRING = "sh tools/peers.sh, as root on Debian or Ubuntu, brings it"
SASLPASSWD = PREFIX / "sasl2-bin/usr/sbin/saslpasswd2"


class Server:
    """One peer. `roles` are the ports it has."""

    roles: tuple[str, ...] = ROLES[:4]

    def missing(self) -> str:
        """What to do to have it, or an empty text."""
        raise NotImplementedError

    def version(self) -> str:
        raise NotImplementedError

    @contextmanager
    def started(self, stage: Stage) -> Iterator[None]:
        """It runs while the block does."""
        raise NotImplementedError
        yield


def unpacked(program: Path) -> str:
    """What to do when a program under .peers is not there, or cannot be started by this user."""
    if not program.is_file():
        return BRING
    return "" if os.geteuid() == 0 else "its processes change their user, for which root must start it"


def output_of(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    return subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=20, env={**os.environ, **(environment or {})}).stdout


def add_user(stage: Stage, owner: str | int) -> None:
    """The stage's user in Cyrus SASL's own database, which `owner` may read; Postfix and Exim ask it."""
    database = stage.folder / "sasldb"
    subprocess.run([str(SASLPASSWD), "-c", "-p", "-f", str(database),
                    "-u", "peer.example", stage.user], input=stage.password.encode(), check=True, timeout=20)
    shutil.chown(database, owner)


class Postfix(Server):
    prefix = PREFIX / "postfix"
    environment = {"LD_LIBRARY_PATH": str(prefix / "usr/lib/postfix")}

    def missing(self) -> str:
        return unpacked(self.prefix / "usr/lib/postfix/sbin/smtpd") or unpacked(SASLPASSWD)

    def version(self) -> str:
        return output_of(self.prefix / "usr/sbin/postconf", "-d", "-h", "mail_version",
                         environment=self.environment).splitlines()[-1]

    @contextmanager
    def started(self, stage: Stage) -> Iterator[None]:
        etc = stage.fill("postfix/main.cf", "etc/main.cf", prefix=self.prefix).parent
        stage.fill("postfix/master.cf", "etc/master.cf")
        stage.fill("sasl.conf", "etc/sasl/smtpd.conf",
                   mechanisms="PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256")
        add_user(stage, "mail")
        self.make_queue(stage.folder)
        master = self.prefix / "usr/lib/postfix/sbin/master"
        with stage.process([master, "-c", etc], self.roles, self.environment):
            yield

    @staticmethod
    def make_queue(folder: Path) -> None:
        """What `postfix start` would make."""
        (folder / "data").mkdir()
        shutil.chown(folder / "data", "mail")
        for name in ("active bounce corrupt defer deferred flush hold incoming maildrop pid private public saved "
                     "trace").split():
            place = folder / "queue" / name
            place.mkdir(parents=True)
            if name != "pid":
                shutil.chown(place, "mail", "daemon" if name in ("maildrop", "public") else "root")
            place.chmod({"maildrop": 0o730, "public": 0o710, "pid": 0o755}.get(name, 0o700))


class Exim(Server):
    program = PREFIX / "exim4-daemon-heavy/usr/sbin/exim4"

    def missing(self) -> str:
        return unpacked(self.program) or unpacked(SASLPASSWD) or ("" if wrapper() else BRING)

    def version(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            said = output_of(self.program, "-bV", environment=accounts(Path(folder), "Debian-exim"))
        found = re.search(r"version (\S+)", said)
        return found[1] if found else "unknown"

    @contextmanager
    def started(self, stage: Stage) -> Iterator[None]:
        configuration = stage.fill("exim.conf", "exim.conf", program=self.program)
        stage.fill("sasl.conf", "sasl/exim.conf", mechanisms="SCRAM-SHA-256")
        add_user(stage, ACCOUNT)
        environment = accounts(stage.folder, "Debian-exim") | {"SASL_CONF_PATH": str(stage.folder / "sasl")}
        (stage.folder / "spool").mkdir()
        for place in (stage.folder, stage.folder / "spool"):
            os.chown(place, ACCOUNT, ACCOUNT)
        with stage.process([self.program, "-C", configuration, "-bdf"], self.roles, environment):
            yield


ACCOUNT = 64_000                                # the number of the first account that is pretended to exist


def wrapper() -> str:
    """The library that lets a process see accounts that the system does not have."""
    return next((str(path) for path in Path("/usr/lib").glob("*/libnss_wrapper.so")), "")


def accounts(folder: Path, *names: str) -> dict[str, str]:
    """An environment in which these accounts exist; none is created."""
    users, groups = Path("/etc/passwd").read_text(), Path("/etc/group").read_text()
    for number, name in enumerate(names, ACCOUNT):
        users += f"{name}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n"
        groups += f"{name}:x:{number}:\n"
    (folder / "passwd").write_text(users)
    (folder / "group").write_text(groups)
    return {"LD_PRELOAD": wrapper(), "NSS_WRAPPER_PASSWD": str(folder / "passwd"),
            "NSS_WRAPPER_GROUP": str(folder / "group")}


class OpenSMTPD(Server):
    """It has its paths built in, so it gets a root of its own: a folder with copies of the few files it needs."""

    roles = ("smtp",)                           # opensmtpd.conf says why
    prefix = PREFIX / "opensmtpd"

    def missing(self) -> str:
        return unpacked(self.prefix / "usr/sbin/smtpd")

    def version(self) -> str:
        found = re.search(r"OpenSMTPD (\S+)", output_of(self.prefix / "usr/sbin/smtpd", "-h"))
        return found[1] if found else "unknown"

    @contextmanager
    def started(self, stage: Stage) -> Iterator[None]:
        root = stage.folder / "root"
        stage.fill("opensmtpd.conf", "root/etc/smtpd.conf").chmod(0o600)
        self.furnish(root)
        with stage.process(["chroot", root, "/usr/sbin/smtpd", "-d"], self.roles):
            yield

    def furnish(self, root: Path) -> None:
        """What a root needs: programs and their libraries, accounts, a few folders and devices."""
        for name in ("usr/sbin", "usr/libexec", "bin", "dev", "tmp", "var/spool", "var/run", "var/lib/opensmtpd/empty"):
            (root / name).mkdir(parents=True)
        shutil.copytree(self.prefix / "usr/libexec", root / "usr/libexec", dirs_exist_ok=True)
        programs = {self.prefix / "usr/sbin/smtpd": root / "usr/sbin/smtpd", Path("/bin/sh"): root / "bin/sh",
                    Path("/bin/true"): root / "bin/true"}
        for source, target in programs.items():
            shutil.copy(source, target)
            for library in re.findall(r"(?:=> |^\s*)(/\S+) \(", output_of("ldd", source), re.MULTILINE):
                (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, root / library[1:])
        for device, (major, minor) in {"null": (1, 3), "urandom": (1, 9)}.items():
            os.mknod(root / "dev" / device, 0o666 | stat.S_IFCHR, os.makedev(major, minor))
        (root / "tmp").chmod(0o1777)
        (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        (root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
        accounts(root / "etc", "opensmtpd", "opensmtpq")


class Aiosmtpd(Server):
    roles = ROLES

    def missing(self) -> str:
        return "" if find_spec("aiosmtpd") else "pip install aiosmtpd"

    def version(self) -> str:
        return version("aiosmtpd")

    @contextmanager
    def started(self, stage: Stage) -> Iterator[None]:
        command = [sys.executable, HERE / "run_aiosmtpd.py", stage.certificate, stage.key, stage.user, stage.password,
                   *(f"{role}={stage.ports[role]}" for role in self.roles)]
        with stage.process(command, self.roles):
            yield


class SmtpServer(Server):
    """Nodemailer's server, smtp-server on npm."""

    roles = ROLES
    modules = PREFIX / "node/node_modules"

    def missing(self) -> str:
        if not shutil.which("node"):
            return "there is no node; sh tools/peers.sh takes the rest from npm"
        return "" if (self.modules / "smtp-server").is_dir() else "sh tools/peers.sh, where npm is, brings it"

    def version(self) -> str:
        return str(json.loads((self.modules / "smtp-server/package.json").read_text())["version"])

    @contextmanager
    def started(self, stage: Stage) -> Iterator[None]:
        command = [shutil.which("node") or "node", HERE / "run_smtp_server.cjs", stage.certificate, stage.key,
                   stage.user, stage.password, *(f"{role}={stage.ports[role]}" for role in self.roles)]
        with stage.process(command, self.roles, {"NODE_PATH": str(self.modules)}):
            yield


SERVERS: dict[str, Server] = {"postfix": Postfix(), "exim": Exim(), "opensmtpd": OpenSMTPD(),
                             "aiosmtpd": Aiosmtpd(), "nodemailer": SmtpServer()}
