"""The checks of `maildir` tell right answers from wrong ones, in any style, and say which wrong one it is."""
from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from email import message_from_bytes
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote
from zlib import crc32

import pytest

from smtp_from_scratch import lab, maildir
from smtp_from_scratch.envelope import few_quotes
from smtp_from_scratch.together import Steps, alone
from tests.solutions import solution

SOLVED = "08_maildir"
posix = pytest.mark.skipif(os.name == "nt", reason="Windows syncs no folders")


def wrong(verdict: Any, *words: str) -> None:
    """The check has found something, and speaks of it."""
    text = str(verdict)
    assert not verdict.passed and all(word in text for word in words), text


COUNT, PID = itertools.count(), os.getpid()


def plain(hostname: str) -> str:
    return hostname.replace("/", "_").replace(":", "_")


@pytest.mark.parametrize("answer, says", [
    (lambda hostname: None, "Not yet"), (lambda hostname: "", "not empty"), (lambda hostname: "1", "one name for two"),
    (lambda hostname: f"{time.time_ns()}.{hostname}", "one name for two"),
    (lambda hostname: f"{time.time()}.{os.getpid()}.{hostname}", "one name for two"),
    (lambda hostname: str(next(COUNT)), "without the host"),
    (lambda hostname: f"{next(COUNT)}.{hostname}", "means something"),
    (lambda hostname: f"{next(COUNT)}.{hostname.replace('/', '_')}", "':'"),
    (lambda hostname: f"{next(COUNT)}.{plain(hostname)}", "without the process"),
    (lambda hostname: f"{time.time()}.{next(COUNT)}.{plain(hostname)}", "without the process"),
    (lambda hostname: f"{os.getpid()}.{next(COUNT)}.{plain(hostname)}", "without the time"),
])
def test_unique_name_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_unique_name(answer), says)


@pytest.mark.parametrize("answer", [
    maildir.unique_name, lambda hostname: f"{uuid.uuid4()}.{re.sub('[/:]', '-', hostname)}",
    lambda hostname: f"{datetime.now():%Y%m%d%H%M%S}.{PID}.{next(COUNT)}.{plain(hostname)}",
    lambda hostname: f"{time.time_ns():x}-{os.getpid():x}-{next(COUNT)}-{plain(hostname)}",
    lambda hostname: hashlib.sha256(f"{time.time()} {PID} {next(COUNT)}".encode()).hexdigest() + plain(hostname),
    solution(SOLVED, "unique-name-code")["my_unique_name"],
])
def test_unique_name_in_any_style(answer: Any) -> None:
    assert lab.check_unique_name(answer).passed


def octets(address: str) -> bytes:
    return few_quotes(address).lower().encode(errors="surrogateescape")


@pytest.mark.parametrize("answer, says", [
    (lambda address: None, "Not yet"), (lambda address: address.lower(), "chooses where"),
    (lambda address: address.replace("/", "_"), "chooses where"),
    (lambda address: few_quotes(address).lower().replace("/", "%2F").replace("\0", "%00").replace("\\", "%5C")
     .replace(":", "%3A").encode(errors="replace").decode(), "reads the other's"),
    (lambda address: quote(few_quotes(address), safe="@+", errors="surrogateescape"), "two mailboxes"),
    (lambda address: quote(address.lower(), safe="@+", errors="surrogateescape"), "two mailboxes"),
    (lambda address: quote(octets(address), safe="@+"), "451 for ever"),
    (lambda address: quote(octets(address), safe="@+")[:200], "reads the other's"),
    (lambda address: (name := octets(address).hex())[:80] + str(hash(name)), "another folder"),
])
def test_folder_name_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_folder_name(answer), says)


@pytest.mark.parametrize("answer", [
    maildir.folder_name, lambda address: (name := octets(address).hex())[:80] + str(crc32(name.encode())),
    solution(SOLVED, "folder-name-code")["my_folder_name"],
])
def test_folder_name_in_any_style(answer: Any) -> None:
    assert lab.check_folder_name(answer).passed


def each(blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield from (block.replace(b"\r\n", b"\n") for block in blocks)


def no_cr(blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield from (block.replace(b"\r", b"") for block in blocks)


def loses_the_last(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        data = rest + block
        rest = b"\r" if data.endswith(b"\r") else b""
        yield data.removesuffix(b"\r").replace(b"\r\n", b"\n")


@pytest.mark.parametrize("answer, says", [
    (lambda blocks: None, "Not yet"), (each, "Ana wrote"), (no_cr, "Ana wrote"), (loses_the_last, "the last octet"),
    (lambda blocks: blocks, "Ana wrote"),
])
def test_with_lf_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_with_lf(answer), says)


@pytest.mark.parametrize("answer", [
    maildir.with_lf, lambda blocks: [b"".join(blocks).replace(b"\r\n", b"\n")],
    solution(SOLVED, "with-lf-code")["my_with_lf"],
])
def test_with_lf_in_any_style(answer: Any) -> None:
    assert lab.check_with_lf(answer).passed


def write(mode: str = "xb", flush: bool = True, sync: bool = True, first: int = 0) -> Any:
    """A way to write a file, with a mistake or without."""
    def my_write(path: str, blocks: Iterable[bytes]) -> Steps[None]:
        with open(path, mode) as file:
            for block in itertools.islice(blocks, first, None):
                file.write(block)
            if flush:
                file.flush()
            if sync:
                yield [file.fileno()]
    return my_write


def early(path: str, blocks: Iterable[bytes]) -> Steps[None]:
    with open(path, "xb", buffering=0) as file:
        yield [file.fileno()]
        file.writelines(blocks)


def by_itself(path: str, blocks: Iterable[bytes]) -> None:
    with open(path, "xb") as file:
        file.writelines(blocks)
        file.flush()
        os.fsync(file.fileno())


def asks_whether_it_is_there(path: str, blocks: Iterable[bytes]) -> Steps[None]:
    if os.path.exists(path):
        raise FileExistsError(path)
    yield from write("wb")(path, blocks)


def asks_for(thing: Callable[[IO[bytes]], Any]) -> Any:
    def my_write(path: str, blocks: Iterable[bytes]) -> Iterator[Any]:
        with open(path, "xb", buffering=0) as file:
            file.writelines(blocks)
            yield thing(file)
    return my_write


@pytest.mark.parametrize("answer, says", [
    (asks_whether_it_is_there, "right after you looked"), (asks_for(lambda file: file.fileno()), "a list"),
    (asks_for(lambda file: [file]), "a list, of numbers"), (asks_for(lambda file: "letter"), "nothing to sync"),
    (lambda path, blocks: print(end=""), "no generator"), (lambda path, blocks: (_ for _ in ()), "no file"),
    (lambda path, blocks: ..., "Not yet"), (by_itself, "no generator"), (write(sync=False), "no sync"),
    (write(flush=False), "synced when the file had"), (early, "synced when the file had 0"),
    (write("wb"), "Yesterday"), (write(first=1), "not 200025"),
])
def test_write_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_write(answer), says)


def low(path: str, blocks: Iterable[bytes]) -> Steps[None]:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    for block in blocks:
        os.write(descriptor, block)
    yield (descriptor,)
    os.close(descriptor)


@pytest.mark.parametrize("answer", [maildir.write_durably, write(), low, solution(SOLVED, "write-code")["my_write"]])
def test_write_in_any_style(answer: Any) -> None:
    assert lab.check_write(answer).passed


def publish(undo: bool = True, sync: bool = True, everything: bool = False, raises: bool = True,
            outside: bool = False) -> Any:
    """A way to give names, with a mistake or without."""
    def my_publish(temporary: str, names: list[str]) -> Steps[None]:
        done: list[str] = []
        try:
            for name in names:
                os.link(temporary, name)
                done.append(name)
            if sync and not outside:
                yield [os.path.dirname(name) for name in names]
        except OSError:
            for name in names if everything else done if undo else []:
                Path(name).unlink(missing_ok=True)
            if raises:
                raise
        if outside:
            yield [os.path.dirname(name) for name in names]
    return my_publish


def renames(temporary: str, names: list[str]) -> Steps[None]:
    for name in names[1:]:
        os.link(temporary, name)
    os.rename(temporary, names[0])
    yield list(map(os.path.dirname, names))


def renames_all(temporary: str, names: list[str]) -> Steps[None]:
    for name in names:
        os.rename(temporary, name)
    yield list(map(os.path.dirname, names))


def name_by_name(temporary: str, names: list[str]) -> Steps[None]:
    done: list[str] = []
    try:
        for name in names:
            os.link(temporary, name)
            done.append(name)
            yield [os.path.dirname(name)]
    except OSError:
        for name in done:
            os.unlink(name)
        raise


def synced_before(temporary: str, names: list[str]) -> Steps[None]:
    yield list(map(os.path.dirname, names))
    yield from publish(sync=False)(temporary, names)


def syncs_itself(temporary: str, names: list[str]) -> None:
    alone(publish()(temporary, names))


def forgets_a_failed_sync(temporary: str, names: list[str]) -> Steps[None]:
    yield from publish(sync=False)(temporary, names)
    with contextlib.suppress(OSError):
        yield list(map(os.path.dirname, names))


@posix
@pytest.mark.parametrize("answer, says", [
    (lambda temporary, names: None, "Not yet"), (publish(undo=False), "twice"), (publish(sync=False), "The cable"),
    (publish(everything=True), "yesterday"), (publish(raises=False), "no error"), (renames, "tmp is gone"),
    (renames_all, "tmp is gone"), (name_by_name, "before the last name"),
    (lambda temporary, names: os.link(temporary, names[0]), "no generator"), (synced_before, "The cable"),
    (syncs_itself, "no generator"), (publish(outside=True), "an error at the `yield`"),
    (forgets_a_failed_sync, "cannot be synced"),
])
def test_publish_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_publish(answer), says)


def one_gets_it(temporary: str, names: list[str]) -> Steps[None]:
    os.link(temporary, names[0])
    yield [os.path.dirname(names[0])]


def test_publish_is_for_all() -> None:
    wrong(lab.check_publish(one_gets_it), "1 of 3")


def looks_first(temporary: str, names: list[str]) -> Steps[None]:
    with contextlib.ExitStack() as undo:
        for name in names:
            Path(name).hardlink_to(temporary)
            undo.callback(os.unlink, name)
        for folder in {os.path.dirname(name) for name in names}:
            yield [Path(folder)]
        undo.pop_all()


@pytest.mark.parametrize("answer", [maildir.publish, looks_first, solution(SOLVED, "publish-code")["my_publish"]])
def test_publish_in_any_style(answer: Any) -> None:
    assert lab.check_publish(answer).passed


HOLDERS = solution(SOLVED, "holders-code")["my_holders"]


@pytest.mark.parametrize("moment", HOLDERS)
def test_owners_refuse(moment: str) -> None:
    wrong(lab.check_owners(HOLDERS | {moment: "both" if HOLDERS[moment] != "both" else "Tokyo"}), moment)


def test_owners() -> None:
    assert lab.check_owners({moment: f" {who.lower()}" for moment, who in HOLDERS.items()}).passed
    assert lab.check_owners(HOLDERS).passed and lab.check_owners(dict(reversed(HOLDERS.items()))).passed


STEPS = solution(SOLVED, "order-code")["my_order"]


def moved(step: str, to: int) -> list[str]:
    rest = [other for other in STEPS if other != step]
    return [*rest[:to], step, *rest[to:]]


@pytest.mark.parametrize("answer, says", [
    ([*STEPS, "sync the folder cur"], "Nothing was put into cur"), (STEPS[:-1], "say 250: 0 times"),
    ([*STEPS, "wait"], "none of the steps"), (moved("say 250", 4), "say 250, before"),
    (moved("sync the file", 6), "a name without octets"), (moved("link into new", 7), "before link into new"),
])
def test_steps_refuse(answer: list[str], says: str) -> None:
    wrong(lab.check_steps(answer), says)


@pytest.mark.parametrize("answer", [
    STEPS, moved("make the Maildir if it is missing", 0), moved("say 250", 6), tuple(STEPS)])
def test_steps_in_any_order_that_keeps_the_promise(answer: Any) -> None:
    assert lab.check_steps(answer).passed


def route(header: bytes) -> list[str]:
    fields = message_from_bytes(header).get_all("Received", [])
    plain = [re.sub(r"\([^()]*\)", " ", " ".join(str(field).split())) for field in fields]
    return [found[1] for field in reversed(plain) if (found := re.search(r"(?:^| )by ([^\s;]+)", field))]


@pytest.mark.parametrize("answer, says", [
    (lambda header: ..., "Not yet"), (lambda header: [], "mx.tokyo.example"),
    (lambda header: route(header)[::-1], "lowest"),
    (lambda header: re.findall(rb"by (\S+?);? ", header)[::-1], "Received"),
    (lambda header: re.findall(r"\bby ([\w.]+)", header.decode())[::-1], "comment"),
])
def test_route_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_route(answer), says)


@pytest.mark.parametrize("answer", [
    route, lambda header: [host.encode() for host in route(header)], solution(SOLVED, "route-code")["my_route"]])
def test_route_in_any_style(answer: Any) -> None:
    assert lab.check_route(answer).passed
