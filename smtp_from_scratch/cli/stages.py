"""`check --stages` and `check-client --stages`: how far has a server, or a client, of one's own come?"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from smtp_from_scratch.cli.common import OK, REFUSED, UNREACHABLE, complain
from smtp_from_scratch.conversation import Interruption

if TYPE_CHECKING:
    from smtp_from_scratch.conformance.client.runner import ClientTarget
    from smtp_from_scratch.conformance.notation import Dialogue
    from smtp_from_scratch.conformance.server.runner import Outcome, Target
    from smtp_from_scratch.conformance.stages import Play, Stage

HELP = ("the dialogues in the order of the course's chapters, stage by stage, up to the first that is not green; "
        "with `-- COMMAND` in place of HOST:PORT, a server of your own is started, with {port} filled in, and stopped")
HELP_CLIENT = "the dialogues in the order of the course's chapters, stage by stage, up to the first that is not green"
OTHERS = ("rfc", "section", "only", "baseline", "write_baseline", "json", "junit")    # choose or tell otherwise


def combined(options: argparse.Namespace) -> str:
    """What cannot be asked for together with --stages, as a sentence; empty when there is nothing."""
    wrong = [f"--{name.replace('_', '-')}" for name in OTHERS if getattr(options, name)]
    return f"--stages plays one dialogue after another and shows one: leave out {', '.join(wrong)}" if wrong else ""


def servers_road(options: argparse.Namespace, words: tuple[str, ...], target: Target) -> int:
    """The stages at a server: at a command's, where there are words, or at the one that the target names."""
    from smtp_from_scratch.conformance.server import program, runner

    with ExitStack() as stack:
        stack.enter_context(ending_when_told())
        server, before = None, 0
        if words:
            try:
                server = stack.enter_context(program.running(words, options.patience))
            except program.NoServer as error:
                return complain(str(error), UNREACHABLE, several=True)
            target.host, target.port = server.host, server.port

        def told() -> str:
            return server.told(before, lambda text: runner.masked(text, target.secrets)) if server else ""

        if problem := unreachable(target, bool(options.recipient)):
            return complain(f"{problem}\n{told()}".rstrip(), UNREACHABLE, several=True)

        def play(dialogues: Iterable[Dialogue]) -> Generator[Outcome, None, None]:
            nonlocal before
            for dialogue in dialogues:          # one caller at a time: a first server may not bear more
                before = server.process.total if server else 0
                yield runner.play(dialogue, target)

        return climb("server", play, options.strict, told)


def unreachable(target: Target, recipient_given: bool) -> str:
    """Ask the server what it offers: nothing, where it cannot say. Returns why there is none to examine, or ""."""
    from smtp_from_scratch.conformance.server import scout

    try:
        scout.explore(target, recipient_given)
    except UnicodeError as error:               # a name that DNS cannot have
        return f"no server at {target.host}:{target.port}: {error}"
    except (Interruption, ValueError):
        pass                                    # the first stages will tell what is wrong
    except OSError as error:
        return f"no server at {target.host}:{target.port}: {error}"
    return ""


def clients_road(options: argparse.Namespace, target: ClientTarget) -> int:
    """The stages at a client."""
    from smtp_from_scratch.conformance.client import runner

    with ending_when_told():
        return climb("client", lambda dialogues: runner.check(target, dialogues, options.at_once), options.strict)


def climb(end: str, play: Play, strict: bool, told: Callable[[], str] = lambda: "") -> int:
    """Play stage by stage; show the first that is not green, what its command `told`, and the line of progress."""
    from smtp_from_scratch.conformance import stages

    road = stages.stages(end)
    screen = sys.stderr if sys.stderr.isatty() else None

    def begins(stage: Stage) -> None:
        if screen:
            print(f"\r\x1b[Kstage {stage.heading.number} of {len(road)}: {stage.heading.name}", end="", file=screen,
                  flush=True)

    try:
        progress = stages.climb(road, play, strict, begins)
    finally:
        if screen:
            print("\r\x1b[K", end="", file=screen, flush=True)
    print(stages.shown(progress, end, told()))
    return OK if progress.stage is None else REFUSED


@contextmanager
def ending_when_told() -> Iterator[None]:
    """SIGTERM ends us as Ctrl-C does: what was started is stopped."""
    def end(*_: object) -> None:
        raise SystemExit(143)

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:                          # not in the main thread, where signals go
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
