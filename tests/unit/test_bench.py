"""What the bench computes from its figures, and how pages quote them. Nothing here is timed."""
from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.bench import quotes
from tests.bench.driver import said
from tests.bench.figures import (
    Spent,
    cpus,
    duration,
    growth_named,
    median_duration,
    percentile,
    plain,
    quartiles,
    ratios,
    times,
)
from tests.bench.interpreter import build
from tests.bench.loads import addresses, envelopes
from tests.bench.servers import Served, children, worked
from tests.bench.table import FEWEST, Group, in_turns

# --- figures -----------------------------------------------------------------------------------------------------


def test_what_one_of_many_took() -> None:
    assert Spent(2.0, 1.0).each(4) == Spent(0.5, 0.25)
    assert Spent(2.0).each(4) == Spent(0.5, None)


def test_processors_that_did_not_tell_in_every_round_tell_nothing() -> None:
    assert cpus([Spent(1, 0.5), Spent(1, 0.7)]) == [0.5, 0.7]
    assert cpus([Spent(1, 0.5), Spent(1)]) == []


def test_ratios_are_those_of_the_same_round() -> None:
    assert ratios([4.0, 9.0], [2.0, 3.0]) == [2.0, 3.0]
    assert ratios([4.0, 9.0], [0.0, 3.0]) == [3.0]
    assert ratios([], [1.0]) == []


def test_the_middle_half_and_its_middle() -> None:
    assert quartiles([5.0, 1.0, 3.0, 2.0, 4.0]) == (2.0, 3.0, 4.0)
    assert quartiles([7.0]) == (7.0, 7.0, 7.0)
    assert times([5.0, 1.0, 3.0, 2.0, 4.0]) == "3.00× (2.00–4.00)"
    assert times([]) == ""


@pytest.mark.parametrize("hundredth, figure", [(50, 50), (99, 99), (100, 100), (1, 1)])
def test_a_percentile_is_one_of_the_figures(hundredth: int, figure: int) -> None:
    assert percentile(list(range(100, 0, -1)), hundredth) == figure
    assert percentile([3.0], hundredth) == 3.0


@pytest.mark.parametrize("seconds, said", [
    (1.2351, "1.24 s"), (0.6519, "652 ms"), (0.0353, "35.3 ms"), (1e-3, "1.00 ms"),
    (353e-7, "35.3 µs"), (1.75e-6, "1.75 µs"), (0.0, "0 µs"), (1300, "1,300 s"),
])
def test_a_duration_has_three_digits_and_a_unit(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_figures_and_medians_for_people() -> None:
    assert [plain(figure) for figure in (0.8449, 2.5, 13.06, 1304.2)] == ["0.845", "2.50", "13.1", "1,304"]
    assert median_duration([3.0, 1.0, 2.0]) == "2.00 s"
    assert median_duration([]) == ""


# --- what grows faster than its work -----------------------------------------------------------------------------


def test_a_cost_that_falls_or_stays_has_no_name() -> None:
    assert growth_named([("1 KB", 400.0), ("10 KB", 45.0), ("100 KB", 45.0), ("1,000 KB", 58.0)]) == ["", "", "", ""]


def test_a_jump_between_neighbors_is_named_with_the_neighbor() -> None:
    assert growth_named([("8 callers", 200.0), ("32 callers", 100.0), ("128 callers", 131.0)]) == [
        "", "", "grows faster than its work: 1.31× that of 32 callers"]


def test_small_steps_that_add_up_are_named_with_the_least() -> None:
    costs = [("1", 100.0), ("10", 120.0), ("100", 145.0), ("1,000", 175.0)]
    assert growth_named(costs) == ["", "", "", "grows faster than its work: 1.75× that of 1"]


def test_work_that_grows_as_its_square_is_named_at_every_step() -> None:
    words = growth_named([(f"{count} recipients", float(count)) for count in (1, 10, 100)])
    assert words[0] == "" and all("10.00×" in word for word in words[1:])


# --- taking turns ------------------------------------------------------------------------------------------------


def test_another_begins_first_each_round() -> None:
    order = []

    def run(name: str) -> Spent:
        order.append(name)
        return Spent(len(order))

    found = in_turns({name: lambda name=name: run(name) for name in "abc"}, 3, 60)
    assert "".join(order) == "abcbcacab"
    assert found == {"a": [Spent(1), Spent(6), Spent(8)], "b": [Spent(2), Spent(4), Spent(9)],
                     "c": [Spent(3), Spent(5), Spent(7)]}


def test_no_round_begins_when_the_time_is_over_but_for_the_fewest() -> None:
    assert len(in_turns({"a": lambda: Spent(1)}, 5, -1)["a"]) == FEWEST


def test_a_group_says_nothing_of_peers_that_are_not_there() -> None:
    group = Group("S1", "1 KB", {"loop": lambda: Spent(1)})
    assert not group.peers and not group.goals


# --- cold loads --------------------------------------------------------------------------------------------------


def test_no_cold_address_is_ever_said_twice() -> None:
    mail = envelopes(3, 4, cold=True) + envelopes(3, 4, cold=True)
    everybody = [address for sender, readers in mail for address in (sender, *readers)]
    assert len(set(everybody)) == len(everybody) == 30
    assert len({address.partition("@")[2] for address in everybody}) == 30


def test_warm_addresses_are_always_the_same() -> None:
    assert envelopes(2, 2, cold=False) == [("ana@rio.example", addresses(2, cold=False))] * 2


def test_the_driver_says_a_letter_in_four_steps() -> None:
    assert [line.partition(b"\r")[0] for line in said("7")[:3]] == [
        b"MAIL FROM:<ana7@rio7.example>", b"RCPT TO:<kenji7@tokyo7.example>", b"DATA"]
    assert said("")[3].endswith(b"\r\n.\r\n") and 900 < len(said("")[3]) < 1024


# --- what a server worked ----------------------------------------------------------------------------------------

BUSY = """
import os, sys, threading, time
def work():
    while time.thread_time() < 0.1:
        pass
thread = threading.Thread(target=work)
thread.start()
thread.join()
if child := os.fork():
    os.waitpid(child, 0)
else:
    work()
    os._exit(0)
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts by /proc, which only Linux has")
def test_what_ended_threads_and_children_did_counts() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdin and run.stdout
        assert run.stdout.readline() == b"done\n"
        assert run.pid in children(os.getpid())
        assert 0.19 < worked(run.pid)           # of the child, hundredths of a second are known
        assert Served("busy", 25, run.pid).worked() is not None
        run.stdin.close()


# --- which Python ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments, said", [
    ("'--enable-optimizations' '--with-lto=full'", "built with PGO and LTO"),
    ("'--enable-optimizations' '--enable-shared'", "built with PGO"),
    ("'--prefix=/root' '--enable-shared'", "built without PGO and LTO"),
    ("'--with-wheel-pkg-dir=/usr/share/python-wheels/'", "built by Debian"),
    ("", "built without"),
])
def test_how_a_python_was_built(arguments: str, said: str) -> None:
    assert build(arguments).startswith(said)


# --- quotes ------------------------------------------------------------------------------------------------------

TABLE = """# Measured

| row | what | ours | CPU | against | ratio | CPU ratio | goal |
|---|---|---|---|---|---|---|---|
| S1 | loop: 1 KB, 8 reused connections | 160 µs | 150 µs | aiosmtpd | 2.54× (2.45–2.71) | 2.60× (2.50–2.70) | ≥ 4 |
| S1 | loop: 1 KB, 8 reused connections | 160 µs | 150 µs | smtp-sink | 0.50× (0.40–0.60) |  | ≥ 0.8 |
| S6 | loop: 2,000 idle connections | 2.4 KiB |  |  |  |  | ≤ 4 KiB |
"""
LOOP = "S1 · loop: 1 KB, 8 reused connections"


def test_a_figure_of_the_table_comes_without_its_spread() -> None:
    assert quotes.figure(TABLE, f"{LOOP} · aiosmtpd · ratio") == "2.54×"
    assert quotes.figure(TABLE, f"{LOOP} · smtp-sink · ratio") == "0.50×"
    assert quotes.figure(TABLE, f"{LOOP} · aiosmtpd · CPU ratio") == "2.60×"
    assert quotes.figure(TABLE, "S6 · loop: 2,000 idle connections · ours") == "2.4 KiB"


@pytest.mark.parametrize("key", [
    f"{LOOP} · Exim · ratio", f"{LOOP} · smtp-sink · CPU ratio", f"{LOOP} · aiosmtpd · wall",
    "S1 · loop: 2 KB · aiosmtpd · ratio",
])
def test_what_the_table_does_not_say_cannot_be_quoted(key: str) -> None:
    with pytest.raises(LookupError, match="no figure for: S1"):
        quotes.figure(TABLE, key)


def test_quotes_are_found_and_renewed() -> None:
    text = (f"It takes in <!-- measured {LOOP} · aiosmtpd · ratio -->9.99×<!-- measured --> as many, in "
            "<!-- measured S6 · loop: 2,000\nidle connections · ours -->2.4 KiB<!-- measured --> each.")
    assert [figure for _, figure in quotes.quoted(text)] == ["9.99×", "2.4 KiB"]
    assert quotes.renewed(text, TABLE) == text.replace("9.99", "2.54")


def test_a_figure_that_only_looks_like_a_quote_is_found() -> None:
    text = f"measured.md has 3.1× and <!-- measured {LOOP} · aiosmtpd · ratio -->2.54×<!-- measured -->.\n\n7 times"
    assert quotes.unmarked(text) == ["3.1×"]
    assert quotes.unmarked("Not from there: 3.1×") == []


def test_every_page_that_quotes_what_was_measured_says_what_stands_there() -> None:
    table = quotes.TABLE.read_text(encoding="utf-8")
    said = [(path.name, text) for path in quotes.pages() for text in quotes.prose(path)]
    wrong = [f"{name}: {figure}, and not {now} ({key})" for name, text in said
             for key, figure in quotes.quoted(text) if figure != (now := quotes.figure(table, key))]
    assert wrong == [], "python -m tests.bench.quotes"
    assert [(name, found) for name, text in said if (found := quotes.unmarked(text))] == []
    assert {"README.md", "package.md"} <= {name for name, text in said if quotes.quoted(text)}


