"""The stage hands of the course: devices of a chapter, figures, wires, checks. Names are looked up when used.

Nothing here is needed to send mail. `lab.check_groups` and its like come from `lab/checks/`, a file for each chapter;
README.md tells authors how to call the devices.
"""
from __future__ import annotations

import sys
from importlib import import_module

_HOME = {
    "Transcript": "figures.transcript",
    "Ladder": "figures.ladder", "side_by_side": "figures.beside",
    "Player": "figures.player", "YouAreTheServer": "figures.quiz",
    "RepliesInStream": "figures.stream",
    "ReplyMatrix": "figures.matrix", "reply_matrix": "figures.matrix",
    "StateDiagram": "figures.diagram", "state_diagram": "figures.diagram",
    "Journey": "figures.journey", "anatomy": "portrait",
    "Attempts": "figures.attempts",
    "Tried": "figures.tried",
    "Vouched": "figures.vouched",
    "Growth": "figures.growth", "growth": "figures.growth",
    "Traveled": "figures.traveled",
    "GlassLine": "figures.glass", "glass_line": "figures.glass",
    "Wiretap": "figures.eavesdropper", "wiretap": "figures.eavesdropper",
    "dialogues": "figures.conformity", "client_dialogues": "figures.conformity",
    "aiosmtpd_server": "wires.peer", "asyncio_server": "wires.peer", "raw": "wires.rawline",
    "slow_link": "wires.link", "tap": "wires.link", "count_turns": "wires.link",
    "Stripper": "wires.attacker", "strip": "wires.attacker", "Injector": "wires.attacker", "inject": "wires.attacker",
    "certificates": "wires.authority",
    "scripted": "wires.scripted", "straight": "wires.straight",
    "five_letters": "wires.evidence",
    "course_key": "wires.signed", "football": "wires.signed",
    "stop_all": "wires.running", "begin_anew": "wires.running", "reset": "original",
    "senders": "wires.senders",
    "predict": "prediction", "reveal": "prediction", "foresaw": "prediction",
    "yours": "swap", "use": "swap", "restore": "swap",
    "progress": "record", "classroom": "room",
    "map": "rooms",
    "Problem": "verdict", "NotYet": "verdict", "Verdict": "verdict",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name.startswith("check_"):
        found = import_module(f"{__name__}.register").check_called(name)
        if found is not None:
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOME, *import_module(f"{__name__}.register").every_check()]


if sys.platform == "emscripten":               # the browser: some cells only show what they showed elsewhere
    import_module(f"{__name__}.elsewhere").register()
