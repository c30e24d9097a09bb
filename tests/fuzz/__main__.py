"""The long form: python -m tests.fuzz [--minutes 10] [--without-atheris] [target …]"""
from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.fuzz.mutate import LONGEST, mutated

FOUND = Path(".fuzz")                           # what broke something is kept here
SHARE = {"session": 4.0, "client": 3.0}         # of the time; the others have one each


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--without-atheris", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)     # a target in this process
    parser.add_argument("targets", nargs="*")
    options = parser.parse_args()
    if options.one:
        return one(options.targets[0], options.minutes * 60, with_atheris=not options.without_atheris)
    names = options.targets or all_targets()
    if unknown := set(names).difference(all_targets()):
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(all_targets())}")
    whole = sum(SHARE.get(name, 1.0) for name in names)
    broken = []
    for name in names:
        minutes = options.minutes * SHARE.get(name, 1.0) / whole
        command = [sys.executable, "-m", "tests.fuzz", "--one", f"--minutes={minutes}", name]
        done = subprocess.run(command + ["--without-atheris"] * options.without_atheris)
        broken += [name] * (done.returncode != 0)
    print(f"broken: {', '.join(broken)}; see above, and {FOUND}/" if broken else "nothing was found")
    return 1 if broken else 0


def all_targets() -> list[str]:
    from tests.fuzz.targets import TARGETS

    return list(TARGETS)


def one(name: str, seconds: float, with_atheris: bool) -> int:
    """Fuzz one target for so long, or until it breaks."""
    try:
        if not with_atheris:
            raise ImportError
        import atheris
    except ImportError:
        return by_hand(name, seconds)
    with atheris.instrument_imports(include=["smtp_from_scratch"]):      # nothing of it may be here already
        from tests.fuzz.targets import TARGETS
    from tests.fuzz.seeds import WORDS, seeds

    with tempfile.TemporaryDirectory() as folder:
        corpus, words = Path(folder, "corpus"), Path(folder, "words")
        corpus.mkdir()
        FOUND.mkdir(exist_ok=True)
        for number, seed in enumerate(seeds()[name]):
            (corpus / str(number)).write_bytes(seed)
        words.write_text("".join('"' + "".join(f"\\x{octet:02x}" for octet in word) + '"\n' for word in WORDS))
        print(f"{name}: atheris, {seconds:.0f} s", flush=True)
        atheris.Setup([sys.argv[0], str(corpus), f"-max_total_time={int(seconds)}", f"-max_len={LONGEST}",
                       "-timeout=20", "-rss_limit_mb=2048", f"-dict={words}", f"-artifact_prefix={FOUND}/{name}-",
                       "-verbosity=0", "-print_final_stats=1"], TARGETS[name])
        atheris.Fuzz()                          # ends the process
    return 0


def by_hand(name: str, seconds: float) -> int:
    """The same without atheris: inputs near the seeds, and no idea of what they reach."""
    from tests.fuzz.seeds import WORDS, seeds
    from tests.fuzz.targets import TARGETS

    start, count, seed = time.monotonic(), 0, random.randrange(2**32)
    rng, inputs = random.Random(seed), seeds()[name]
    while time.monotonic() - start < seconds:
        data = mutated(rng, inputs, WORDS)
        count += 1
        try:
            TARGETS[name](data)
        except Exception:
            traceback.print_exc()
            FOUND.mkdir(exist_ok=True)
            kept = FOUND / f"{name}-{seed:08x}-{count}"
            kept.write_bytes(data)
            print(f"{name}: broken by {kept}: {data!r}", flush=True)
            return 1
    print(f"{name}: {count:,} inputs in {time.monotonic() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
