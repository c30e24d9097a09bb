"""The stage hands of the course: transcripts, diagrams, slow lines, peers, checks. Names are looked up when used.

Nothing here is needed to send mail. `lab.check_01_order` and its like come from `lab/checks/ch01.py`.
"""
from __future__ import annotations

import re
from importlib import import_module, util
from pkgutil import iter_modules

_HOME = {
    "Transcript": "transcript",
    "Ladder": "ladder", "side_by_side": "beside",
    "Player": "player", "YouAreTheServer": "quiz",
    "RepliesInStream": "stream",
    "ReplyMatrix": "matrix", "reply_matrix": "matrix",
    "StateDiagram": "diagram", "state_diagram": "diagram",
    "Journey": "journey",
    "aiosmtpd_server": "peer", "raw": "rawline",
    "slow_link": "link", "tap": "link", "count_turns": "link",
    "Stripper": "attacker", "strip": "attacker", "Injector": "attacker", "inject": "attacker",
    "certificates": "authority",
    "GlassLine": "glass", "glass_line": "glass",
    "Wiretap": "eavesdropper", "wiretap": "eavesdropper",
    "stop_all": "running", "reset": "running",
    "predict": "prediction", "dialogues": "conformity", "client_dialogues": "conformity",
    "Problem": "verdict", "NotYet": "verdict", "Verdict": "verdict",
}
_CHECK = re.compile(r"check_(\d\d)_\w+")
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if match := _CHECK.fullmatch(name):
        home = f"{__name__}.checks.ch{match[1]}"
        if util.find_spec(home):
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    checks = import_module(f"{__name__}.checks")
    found = [import_module(f"{checks.__name__}.{module.name}") for module in iter_modules(checks.__path__)]
    return [*globals(), *_HOME, *(name for module in found for name in vars(module) if _CHECK.fullmatch(name))]
