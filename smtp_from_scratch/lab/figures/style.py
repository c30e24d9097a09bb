"""Colors and words that every figure shares (the Okabe–Ito palette); color never tells anything alone."""
from __future__ import annotations

CLIENT, SERVER, TLS, WAITING, TROUBLE = "#0072B2", "#D55E00", "#009E73", "#999999", "#CC79A7"
INK, PAPER, FAINT = "#1a1a1a", "#ffffff", "#e6e6e6"
MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
SANS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
FIT = ' style="max-width:100%;height:auto"'     # for an SVG within HTML; as a picture of its own it needs none
COLORS = {"C": CLIENT, "S": SERVER}
NAMES = {"C": "client", "S": "server"}
SIGNS = {2: "✓", 3: "…", 4: "~", 5: "✗"}       # one for each class of replies
CONTROLS = ("NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC "
            "FS GS RS US SP DEL").split()       # names of the characters whose pictures begin at U+2400
CLASSES = {2: TLS, 3: CLIENT, 4: WAITING, 5: TROUBLE}


def plural(count: int, thing: str) -> str:
    """`1 flight`, `2 flights`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def shorten(text: str, width: int) -> str:
    """The text in at most `width` characters, `…` at its end if it was longer."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def shown(data: bytes) -> str:
    """Octets for people: no line end, controls as their pictures, what cannot be printed as its escape."""
    text = data.removesuffix(b"\r\n").decode("utf-8", "backslashreplace")
    return "".join(chr(0x2400 + ord(c)) if c < " " else c if c.isprintable() else ascii(c)[1:-1] for c in text)
