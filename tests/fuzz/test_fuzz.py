"""The short form of the fuzzing: seeds, inputs near them, what hypothesis makes; and whether the model can say no."""
from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import ends
from tests.fuzz.model import Taken, Walk, Wrong, replies_in, transactions
from tests.fuzz.mutate import mutated
from tests.fuzz.seeds import WORDS, seeds
from tests.fuzz.targets import TARGETS

SEEDS = seeds()
LINES = sorted({line + b"\r\n" for seed in SEEDS["session"] + SEEDS["client"] for line in seed[3:].split(b"\r\n")
                if len(line) < 300})
HEADS = {"session": [b"\0\0\0", b"\1\1\0", b"\2\5\7", b"\3\0\0", b"\4\0\0"], "client": [b"\1\0\0", b"\2\5\7"]}
inputs = st.builds(lambda head, pieces: head + b"".join(pieces), st.binary(min_size=3, max_size=3),
                   st.lists(st.one_of(st.sampled_from(WORDS + LINES), st.binary(max_size=20)), max_size=25))


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_wrong_with_the_seeds(name: str) -> None:
    for data in SEEDS[name]:
        for head in HEADS.get(name, [data[:3]]):
            TARGETS[name](head + data[3:])


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_wrong_near_the_seeds(name: str) -> None:
    rng = random.Random(name)
    for _ in range(300):
        TARGETS[name](mutated(rng, SEEDS[name], WORDS))


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_wrong_anywhere(name: str) -> None:
    @given(inputs)
    @settings(max_examples=60, database=None)
    def anywhere(data: bytes) -> None:
        TARGETS[name](data)

    anywhere()


# --- the model can say no --------------------------------------------------------------------------------------------

SAID = (b"EHLO x\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nRCPT TO:<g@h.i>\r\nDATA\r\n..dot\r\n.\r\n"
        b"MAIL FROM:<>\r\nRCPT TO:<d@e.f>\r\nBDAT 4\r\nab\r\nBDAT 4 LAST\r\ncd\r\nQUIT\r\n")
ANSWERS = (b"220 hi\r\n250 hi\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n"
           b"250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n221 bye\r\n")
TAKEN = [Taken(b"a@b.c", (b"d@e.f", b"g@h.i"), b".dot\r\n"), Taken(b"", (b"d@e.f",), b"ab\r\ncd\r\n")]


def test_the_model_knows_a_session() -> None:
    assert Walk(SAID, replies_in(ANSWERS), 100).run() == TAKEN
    said, taken, _ = ends.serve(0, SAID)
    assert taken == TAKEN and [answer.code for answer in replies_in(said)] == [
        answer.code for answer in replies_in(ANSWERS)]


def answered(*codes: int) -> bytes:
    return b"".join(b"%d x\r\n" % code for code in codes)


@pytest.mark.parametrize("said,codes,limit", [
    (b"EHLO x\r\nMAIL FROM:<a@b>\r\n", (220, 250), 100),                                   # not answered
    (b"EHLO x\r\n", (220, 250, 250), 100),                                                 # nobody asked
    (b"MAIL FROM:<a@b>\r\n", (220, 250), 100),                                             # before EHLO
    (b"EHLO x\r\nRCPT TO:<a@b>\r\n", (220, 250, 250), 100),                                # before MAIL
    (b"EHLO x\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\n", (220, 250, 250, 250), 100),      # MAIL twice
    (b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<>\r\n", (220, 250, 250, 250), 100),           # nobody
    (b"EHLO x\r\nMAIL FROM:<a@b>\r\nDATA\r\n", (220, 250, 250, 354), 100),                 # for nobody
    (b"EHLO x\nNOOP\r\n", (220, 250, 500), 100),                                           # a bare LF
    (b"EHLO x\r\nR\xc5\xbfET\r\n", (220, 250, 250), 100),                                  # no verb
    (b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\na\nb\r\n.\r\n", (220, 250, 250, 250, 354, 250), 100),
    (b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nlong\r\n.\r\n", (220, 250, 250, 250, 354, 250), 3),
    (b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\n.\r\nNOOP\r\n", (220, 250, 250, 250, 354, 554, 250),
     100),
    (b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nBDAT 1\r\nxBDAT 1 LAST\r\nx",
     (220, 250, 250, 250, 552, 250), 100),                                                 # a chunk was refused
    (b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nBDAT 1\r\nxRCPT TO:<a@b>\r\n", (220, 250, 250, 250, 250, 250),
     100),
    (b"QUIT\r\nNOOP\r\n", (220, 221, 250), 100),                                           # after the goodbye
    (b"NOOP\r\n", (250, 250), 100), (b"NOOP\r\n", (220, 354), 100),
])
def test_the_model_sees_replies_that_cannot_be(said: bytes, codes: tuple[int, ...], limit: int) -> None:
    with pytest.raises(Wrong):
        Walk(said, replies_in(answered(*codes)), limit).run()


@pytest.mark.parametrize("octets", [b"250 x\n", b"250-x\r\n", b"250-x\r\n251 y\r\n", b"600 x\r\n", b"250x\r\n",
                                    b"250 a\rb\r\n", b"550 2.1.0 x\r\n", b"\r\n"])
def test_the_model_sees_what_is_no_reply(octets: bytes) -> None:
    with pytest.raises(Wrong):
        replies_in(octets)


@pytest.mark.parametrize("change", [
    lambda taken: taken[1:], lambda taken: taken + taken[:1], lambda taken: taken[::-1],
    lambda taken: [replace(taken[0], body=b"dot\r\n"), taken[1]],
    lambda taken: [replace(taken[0], recipients=(b"d@e.f",)), taken[1]],
    lambda taken: [replace(taken[0], sender=b"x@b.c"), taken[1]],
    lambda taken: [replace(taken[0], logged_in=True), taken[1]],
])
def test_the_target_sees_a_server_that_keeps_something_else(change: Callable[[list[Taken]], list[Taken]],
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ends.serve

    def other(*arguments: object) -> object:
        said, taken, traces = whole(*arguments)     # type: ignore[arg-type]
        return said, change(taken), traces

    TARGETS["session"](b"\0\0\0" + SAID)
    monkeypatch.setattr(ends, "serve", other)
    with pytest.raises(Wrong):
        TARGETS["session"](b"\0\0\0" + SAID)


SCRIPT = b"220 hi\r\n250-hi\r\n250 SIZE\r\n250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n250 ok\r\n221 bye\r\n"


def test_the_model_knows_what_a_client_was_told() -> None:
    said = (b"EHLO x\r\nMAIL FROM:<a@b> SIZE=6\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n..dot\r\n.\r\nQUIT\r\n")
    [sent] = transactions(said, replies_in(SCRIPT))
    assert (sent.accepted, sent.body, sent.size) == ({b"c@d"}, b".dot\r\n", 6)
    [refused] = transactions(said, replies_in(SCRIPT.replace(b"354 go\r\n250 ok", b"354 go\r\n451 no")))
    assert not refused.accepted
    for bad in (said.replace(b"RCPT", b"R\nCPT"), said.replace(b"QUIT", b"QUI"), said[:-2]):
        with pytest.raises(Wrong):
            transactions(bad, replies_in(SCRIPT))


@pytest.mark.parametrize("lie", ["forgets", "believes", "twice"])
def test_the_target_sees_a_client_that_tells_something_else(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ends.call

    def other(errand: ends.Errand) -> object:
        said, receipts, well = whole(errand)
        for receipt in receipts:
            receipt.refused_by = "MAIL" if lie == "forgets" else ""
            if lie == "believes":
                receipt.recipients["somebody@else.example"] = next(iter(receipt.recipients.values()))
        return said, receipts + receipts * (lie == "twice"), well

    script = b"\0\0\0" + b"220 hi\r\n250 hi\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n"
    TARGETS["client"](script)
    monkeypatch.setattr(ends, "call", other)
    with pytest.raises(Wrong):
        TARGETS["client"](script)
