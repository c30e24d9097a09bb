"""Work in steps: alone and together it does the same, and nobody goes on before the disk has what it wants."""
from __future__ import annotations

import errno
import math
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_from_scratch import Envelope, Maildir, Reply
from smtp_from_scratch import together as module
from smtp_from_scratch.rules import BROKEN, Delivery
from smtp_from_scratch.together import THREADS, Steps, alone, around, calling, in_steps, steps_of, together

posix = pytest.mark.skipif(os.name == "nt", reason="Windows syncs no folders")


class Noted:
    """Notes what is synced: folders by their name, files by that of their folder; some of it fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.fails = list[str](), dict[str, OSError]()
        self.names: dict[int, str] = {}
        self._fsync, self._open = os.fsync, os.open
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "open", self.open)

    def open(self, path: Any, *arguments: Any, **options: Any) -> int:
        descriptor = self._open(path, *arguments, **options)
        self.names[descriptor] = Path(path).name
        return descriptor

    def fsync(self, descriptor: int) -> None:
        name = self.names[descriptor]
        self.calls.append(name)
        if name in self.fails:
            raise self.fails[name]
        self._fsync(descriptor)


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    monkeypatch.setattr(module, "SLOW", math.inf)           # in order, however busy the machine is
    return Noted(monkeypatch)


def write(folder: Path, name: str, told: list[str]) -> Steps[str]:
    """A file, then the folder; notes how far it has come."""
    descriptor = os.open(folder / name, os.O_CREAT | os.O_WRONLY)
    try:
        os.write(descriptor, b"x")
        told.append(f"{name} is written")
        yield [descriptor]
        told.append(f"{name} is synced")
        yield [folder]
        told.append(f"{name} has its name")
        return name
    except OSError as error:
        told.append(f"{name} failed")
        raise RuntimeError(name) from error
    finally:
        os.close(descriptor)


@posix
def test_several_go_step_by_step_and_a_folder_is_synced_once(tmp_path: Path, noted: Noted) -> None:
    told: list[str] = []
    played = together([write(tmp_path, name, told) for name in "abc"])
    assert [one.result for one in played] == ["a", "b", "c"] and not any(one.error for one in played)
    assert told == [f"{name} {what}" for what in ("is written", "is synced", "has its name") for name in "abc"]
    assert noted.calls == ["a", "b", "c", tmp_path.name]


@posix
def test_alone_does_the_same(tmp_path: Path, noted: Noted) -> None:
    told: list[str] = []
    assert alone(write(tmp_path, "a", told)) == "a"
    assert told == ["a is written", "a is synced", "a has its name"] and noted.calls == ["a", tmp_path.name]


@posix
def test_a_file_that_cannot_be_synced_is_the_error_of_one(tmp_path: Path, noted: Noted) -> None:
    told: list[str] = []
    noted.fails["b"] = OSError(errno.EIO, "the disk is broken")
    a, b, c = together([write(tmp_path, name, told) for name in "abc"])
    assert (a.result, c.result) == ("a", "c") and str(b.error) == "b" and b.result is None
    assert told[3:] == ["a is synced", "b failed", "c is synced", "a has its name", "c has its name"]
    with pytest.raises(RuntimeError, match="b"):
        alone(write(tmp_path, "b", told))


@posix
def test_a_folder_that_cannot_be_synced_is_the_error_of_those_who_want_it(tmp_path: Path, noted: Noted) -> None:
    for name in ("new", "other"):
        (tmp_path / name).mkdir()
    noted.fails["new"] = OSError(errno.EIO, "the disk is broken")
    a, b, c = together([write(tmp_path / name, name[0], []) for name in ("new", "other", "new")])
    assert b.result == "o" and str(a.error) == str(c.error) == "n"


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit("nor this"), KeyboardInterrupt()])
def test_an_error_of_its_own_is_the_end_of_one_alone(error: BaseException) -> None:
    def fail() -> Steps[None]:
        yield []
        raise error

    def go() -> Steps[int]:
        yield []
        yield []
        return 4

    played: list[Any] = together([go(), fail(), go()])
    assert [one.result for one in played] == [4, None, 4] and [one.error for one in played] == [None, error, None]
    with pytest.raises(type(error)):
        alone(fail())


@pytest.mark.parametrize("wanted", [[BytesIO()], [None], [[]], None, [-1], ["/nowhere/at/all"]])
def test_what_nobody_can_sync_is_an_error_and_no_250(wanted: Any) -> None:
    def wants(envelope: Envelope, body: IO[bytes]) -> Steps[None]:
        yield wanted

    one, good = together([wants(Envelope(), BytesIO()), (lambda: (yield []))()])
    assert isinstance(one.error, (OSError, TypeError, ValueError)) and good.error is None
    with pytest.raises((OSError, TypeError, ValueError)):
        in_steps(wants)(Envelope(), BytesIO())


def test_what_nobody_can_sync_is_an_error_on_a_slow_disk_too(tmp_path: Path, noted: Noted,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """There threads sync; a mistake that ended one of them was forgotten, and what it had not synced was a 250."""
    monkeypatch.setattr(module, "SLOW", -1)

    def wants(wanted: Any) -> Steps[str]:
        yield wanted
        return "kept"

    with pytest.raises(TypeError):
        alone(wants([tmp_path, [tmp_path]]))
    assert alone(wants(path for path in [tmp_path])) == "kept" and noted.calls == [tmp_path.name]


def test_those_who_want_different_amounts_of_steps() -> None:
    def steps(count: int) -> Steps[int]:
        for _ in range(count):
            yield []
        return count

    assert [one.result for one in together(map(steps, [0, 5, 1, 3]))] == [0, 5, 1, 3] and together([]) == []


def test_several_files_are_begun_before_we_wait_for_the_first(tmp_path: Path, noted: Noted,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    def advise(descriptor: int, *_: int) -> None:
        noted.calls.append(f"begin {noted.names[descriptor]}")

    monkeypatch.setattr(os, "posix_fadvise", advise, raising=False)
    monkeypatch.setattr(os, "POSIX_FADV_DONTNEED", 4, raising=False)
    together([write(tmp_path, name, []) for name in "abc"])
    assert noted.calls[:6] == ["begin a", "begin b", "begin c", "a", "b", "c"]
    noted.calls.clear()
    alone(write(tmp_path, "a", []))
    assert noted.calls[0] == "a"               # it would be waited for anyway


def test_without_such_advice_and_when_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: int) -> None:
        raise OSError(errno.EINVAL, "not here")

    for advise in (refused, None):
        monkeypatch.setattr(os, "posix_fadvise", advise, raising=False)
        monkeypatch.setattr(os, "POSIX_FADV_DONTNEED", 4, raising=False)
        if advise is None:
            monkeypatch.delattr(os, "posix_fadvise")
        assert [one.result for one in together([write(tmp_path, name, []) for name in "ab"])] == ["a", "b"]


@posix
@pytest.mark.parametrize("count", [2, 8, 50])
def test_after_a_slow_sync_the_rest_is_waited_for_at_once(tmp_path: Path, noted: Noted,
                                                          monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Each has its own error as before; and not a thousand threads for a thousand folders."""
    monkeypatch.setattr(module, "SLOW", 0.002)
    waiting, most, lock = [0], [0], threading.Lock()
    fsync = os.fsync

    def slow(descriptor: int) -> None:
        with lock:
            waiting[0] += 1
            most[0] = max(most[0], waiting[0])
        try:
            time.sleep(0.01)
            fsync(descriptor)
        finally:
            with lock:
                waiting[0] -= 1

    monkeypatch.setattr(os, "fsync", slow)
    noted.fails["f1"] = OSError(errno.EIO, "the disk is broken")
    played = together([write(tmp_path, f"f{number}", []) for number in range(count)])
    assert [one.result for one in played] == [None if number == 1 else f"f{number}" for number in range(count)]
    assert str(played[1].error) == "f1" and sorted(noted.calls) == sorted([f"f{n}" for n in range(count)]
                                                                          + [tmp_path.name])
    assert min(count - 1, 2) <= most[0] <= THREADS


# --- whose steps are played ------------------------------------------------------------------------------------------


@in_steps
def stepwise(envelope: Envelope, body: IO[bytes]) -> Steps[Reply]:
    yield []
    return Reply(250, body.read().decode())


class Filter(Maildir):
    """Somebody's subclass that looks at a letter first: its steps are not those of Maildir."""

    def __call__(self, envelope: Envelope, body: IO[bytes]) -> Reply:
        return Reply(554, "no") if b"spam" in body.read() else super().__call__(envelope, body)


class Stepwise(Maildir):
    """One with steps of its own."""

    @in_steps
    def __call__(self, envelope: Envelope, body: IO[bytes]) -> Steps[Reply]:
        yield []
        return Reply(252)


class Office:
    """Somebody's object, one of whose methods is a delivery."""

    steps = 4                                  # floors

    @in_steps
    def deliver(self, envelope: Envelope, body: IO[bytes]) -> Steps[Reply]:
        yield []
        return Reply(253, body.read().decode())

    def plain(self, envelope: Envelope, body: IO[bytes]) -> None: ...


def test_a_method_has_the_steps_of_its_object(tmp_path: Path) -> None:
    bound: list[Any] = [Office().deliver, Maildir(tmp_path).__call__, super(Filter, Filter(tmp_path)).__call__]
    for deliver in bound:
        steps = steps_of(deliver)
        assert steps and alone(steps(Envelope("", ["kenji@x.example"]), BytesIO(b"x"))).positive
    assert not steps_of(Office().plain) and not steps_of(Office())  # type: ignore[arg-type]


@pytest.mark.parametrize("deliver", [stepwise, lambda envelope, body: Reply(250, body.read().decode())])
def test_a_wrapper_has_steps_if_what_it_wraps_has_some(deliver: Any) -> None:
    def louder(envelope: Envelope, body: IO[bytes]) -> Steps[Reply]:
        reply = yield from calling(deliver, envelope, body)
        return Reply(reply.code, reply.text.upper())

    wrapped = around(deliver, louder)
    assert wrapped(Envelope(), BytesIO(b"x")) == Reply(250, "X")
    assert bool(steps_of(wrapped)) == bool(steps_of(deliver))
    assert together([louder(Envelope(), BytesIO(b"x"))])[0].result == Reply(250, "X")


def test_who_has_steps(tmp_path: Path) -> None:
    assert steps_of(stepwise) is not None and steps_of(Maildir(tmp_path)) is not None
    assert steps_of(Stepwise(tmp_path)) is not None and stepwise(Envelope(), BytesIO(b"x")) == Reply(250, "x")
    plain: list[Any] = [print, lambda: None, Filter(tmp_path), partial(stepwise, 1), Reply, BytesIO]
    assert not any(map(steps_of, plain))
    assert Stepwise(tmp_path)(Envelope(), BytesIO()) == Reply(252)


def test_a_subclass_that_filters_is_asked_wherever_it_is_played(tmp_path: Path) -> None:
    spam = Delivery(Filter(tmp_path), Envelope("a@x.example", ["kenji@x.example"]), BytesIO(b"spam"))
    assert spam()["kenji@x.example"].code == 554 and not spam.together
    [played] = together([spam.steps()])
    assert played.result == {"kenji@x.example": Reply(554, "no")}


# --- deliveries ------------------------------------------------------------------------------------------------------


def fails(envelope: Envelope, body: IO[bytes]) -> Steps[None]:
    yield []
    raise ValueError("a bug")


@pytest.mark.parametrize("deliver, reply", [
    (stepwise, Reply(250, "x")), (in_steps(fails), BROKEN), (lambda envelope, body: "250", BROKEN),
    (lambda envelope, body: Reply(250, "plain"), Reply(250, "plain")),
    (in_steps(lambda envelope, body: (yield [])), Reply(250, "the message is ours now")),
])
def test_a_delivery_is_the_same_alone_and_together(deliver: Any, reply: Reply) -> None:
    delivery = Delivery(deliver, Envelope("a@x.example", ["kenji@x.example"]), BytesIO(b"x"))
    first, second = together([delivery.steps(), delivery.steps()])
    assert delivery() == first.result == {"kenji@x.example": reply}
    assert not second.error


def test_a_letter_on_disk_and_a_delivery_that_may_wait_for_anything_are_for_nobody_elses_time(tmp_path: Path) -> None:
    letter = Envelope("a@x.example", ["kenji@x.example"])
    with open(tmp_path / "spooled", "w+b") as file:
        assert not Delivery(stepwise, letter, file).together
    assert Delivery(stepwise, letter, BytesIO()).together
    assert not Delivery(lambda envelope, body: None, letter, BytesIO()).together


LETTERS = st.lists(st.tuples(st.lists(st.sampled_from(["ana", "kenji", "Kenji", "li"]), min_size=1, max_size=4),
                             st.binary(max_size=40)), min_size=1, max_size=6)


def found(root: Path) -> dict[str, list[bytes]]:
    """The bodies in each mailbox."""
    return {box.name: sorted(file.read_bytes().partition(b"\n\n")[2] for file in (box / "new").iterdir())
            for box in root.iterdir()}


@given(LETTERS)
def test_maildirs_hold_the_same_whoever_plays(tmp_path_factory: pytest.TempPathFactory,
                                              letters: list[tuple[list[str], bytes]]) -> None:
    """The slow twin: one after the other."""
    roots = [tmp_path_factory.mktemp("mail") for _ in range(2)]

    def deliveries(root: Path) -> Iterator[Delivery]:
        deliver = Maildir(root, "mx.example")
        for people, text in letters:
            envelope = Envelope("a@x.example", [f"{name}@x.example" for name in people])
            yield Delivery(deliver, envelope, BytesIO(b"Subject: x\r\n\r\n" + text))

    one_by_one = [delivery() for delivery in deliveries(roots[0])]
    at_once = [played.result for played in together(delivery.steps() for delivery in deliveries(roots[1]))]
    codes = [[{address: reply.code for address, reply in one.items()} for one in replies if one]
             for replies in (one_by_one, at_once)]
    assert codes[0] == codes[1] and found(roots[0]) == found(roots[1])
    assert not list(roots[1].glob("*/tmp/*"))
