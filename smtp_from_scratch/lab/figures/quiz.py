"""You are the server: the client's line appears, you choose the reply."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from smtp_from_scratch.lab.figures.faces import card, rich, table
from smtp_from_scratch.lab.figures.style import CLIENT, INK, MONO, SERVER, TLS, TROUBLE, plural
from smtp_from_scratch.lab.figures.widget import Interactive, button, column, pane, row


@dataclass(frozen=True, slots=True)
class Round:
    """One line of the client, the replies to choose from, which is right, and a reason for each."""

    client: str
    choices: tuple[str, ...]
    right: int                                 # the place of the right one, from 0
    why: tuple[str, ...]

    @property
    def answer(self) -> str:
        return self.choices[self.right]


ROUNDS = (
    Round("(the client has connected)",
          ("250 Hello", "220 mx.example SMTP ready", "354 go on", "say nothing and wait for HELO"), 1,
          ("250 answers a command, and there was none yet. The greeting is 220 (RFC 5321 §3.1).",
           "The server speaks first, with 220 and its name (RFC 5321 §3.1).",
           "354 comes after DATA only (RFC 5321 §4.1.1.4).",
           "Then both wait, until one of them loses patience: the client speaks after the greeting (RFC 5321 §3.1).")),
    Round("RCPT TO:<kenji@mx.example>",
          ("250 recipient noted", "550 no such mailbox", "503 say HELO first", "500 no such command"), 2,
          ("Kenji would get a letter from nobody: MAIL comes before RCPT (RFC 5321 §4.1.4).",
           "550 is about the mailbox. The mailbox may be fine, the order is not (RFC 5321 §4.2.3).",
           "A known verb at the wrong time is out of order: 503 (RFC 5321 §4.1.4).",
           "RCPT is a command that you know; 500 is for one that nobody knows (RFC 5321 §4.2.4).")),
    Round("HELO laptop.example",
          ("250 mx.example", "220 mx.example", "503 once is enough", "354 go on"), 0,
          ("250 and your own name (RFC 5321 §4.1.1.1).",
           "220 opens the session, once; a command that went well gets 250 (RFC 5321 §4.3.2).",
           "It is the first HELO, and even a second one is allowed: it works like RSET (RFC 5321 §4.1.4).",
           "354 comes after DATA only (RFC 5321 §4.1.1.4).")),
    Round("MAIL FROM:<ana@laptop.example>",
          ("354 go on", "550 Ana does not live here", "501 who?", "250 sender noted"), 3,
          ("354 would make the client send its letter, and you know of no recipient yet (RFC 5321 §3.3).",
           "Senders live elsewhere; only recipients live here (RFC 5321 §3.3).",
           "501 is for a broken argument, and this path is well formed (RFC 5321 §4.1.2).",
           "A transaction is open now (RFC 5321 §4.1.1.2).")),
    Round("RCPT TO:<nobody@mx.example>",
          ("250 recipient noted", "550 no such mailbox", "421 goodbye", "451 try again later"), 1,
          ("You would promise to deliver what you cannot deliver (RFC 5321 §4.2.5).",
           "5yz: no, and asking again will not help. The transaction stays open (RFC 5321 §4.2.1, §3.3).",
           "421 ends the whole session; one wrong recipient is no reason (RFC 5321 §3.8).",
           "4yz invites the client to try for days; nobody will not move in (RFC 5321 §4.2.1).")),
    Round("RCPT TO:<kenji@mx.example>",
          ("354 go on", "503 only one recipient", "250 recipient noted", "221 bye"), 2,
          ("The client has not asked with DATA yet (RFC 5321 §3.3).",
           "A letter may have many recipients, at least 100 (RFC 5321 §4.5.3.1.8).",
           "One RCPT for each recipient, one reply for each RCPT (RFC 5321 §3.3).",
           "221 answers QUIT (RFC 5321 §4.1.1.10).")),
    Round("DATA",
          ("250 go on", "220 go on", "354 go on", "say nothing and read"), 2,
          ("250 means done, and nothing is done yet: the client needs 354 (RFC 5321 §4.1.1.4).",
           "220 is a greeting (RFC 5321 §4.2.3).",
           "The only 3yz in sight: go on, I am not done (RFC 5321 §4.1.1.4).",
           "The client waits for 354 before it sends the letter (RFC 5321 §3.3).")),
    Round("Subject: the tide, an empty line, High water at nine., and a line with a dot alone",
          ("500 no such command: Subject:", "250 the letter is ours now", "221 bye", "354 go on"), 1,
          ("After 354 everything is letter until the lone dot, not commands (RFC 5321 §4.1.1.4).",
           "This 250 is a promise: from here on the letter is your responsibility (RFC 5321 §6.1).",
           "The client may have another letter: it says QUIT itself (RFC 5321 §4.1.1.10).",
           "The dot has ended the letter; now say what became of it (RFC 5321 §4.1.1.4).")),
    Round("QUIT",
          ("250 OK", "503 why so soon", "421 bye", "221 mx.example says goodbye"), 3,
          ("250 would leave the client in doubt; the goodbye is 221 (RFC 5321 §4.1.1.10).",
           "QUIT is allowed at any time (RFC 5321 §4.1.4).",
           "421 is for a server that has to leave; here the client leaves (RFC 5321 §3.8).",
           "221, and then you close (RFC 5321 §4.1.1.10).")),
)


class YouAreTheServer(Interactive):
    """A session in which the learner chooses each reply. `lines` replaces the client's lines: a list of `Round`s."""

    def __init__(self, lines: Iterable[Round] | None = None) -> None:
        self.rounds = tuple(lines or ROUNDS)
        self.at = 0                            # the round being played
        self.wrong = 0                         # wrong answers so far
        self.says = ""                         # what was said about the last choice
        self.right = False

    def text(self) -> str:
        rows = []
        for number, played in enumerate(self.rounds, 1):
            rows.append(f"{number}. C: {played.client}")
            rows += [f"   {letter}) {choice}" for letter, choice in zip("abcdefgh", played.choices, strict=False)]
        answers = ", ".join(f"{n} {'abcdefgh'[played.right]}" for n, played in enumerate(self.rounds, 1))
        return "\n".join([*rows, f"Answers: {answers}"])

    def html(self) -> str:
        return sheet(self.rounds)

    def choose(self, number: int) -> None:
        """Answer the client with the choice of this number, from 0."""
        if self.at == len(self.rounds):
            return
        played = self.rounds[self.at]
        self.right = number == played.right
        self.says = played.why[number]
        if self.right:
            self.at += 1
        else:
            self.wrong += 1
        self._show()

    def again(self) -> None:
        """Begin anew."""
        self.at = self.wrong = 0
        self.says, self.right = "", False
        self._show()

    def build(self) -> Any:
        self._pane = pane()
        most = max(len(played.choices) for played in self.rounds)
        self._buttons = [button("", lambda number=number: self.choose(number), width="270px")
                         for number in range(most)]
        self._again = button("Start again", self.again, width="120px")
        self._show()
        return column(self._pane, row(*self._buttons), self._again)

    def _show(self) -> None:
        if not hasattr(self, "_pane"):
            return
        choices = self.rounds[self.at].choices if self.at < len(self.rounds) else ()
        for number, made in enumerate(self._buttons):
            made.description = choices[number] if number < len(choices) else ""
            made.layout.display = "" if number < len(choices) else "none"
        self._pane.value = card(
            said_before(self.rounds[: self.at]) + remark(self.says, self.right)
            + question(self.rounds[self.at :], self.wrong))


def sheet(rounds: Sequence[Round]) -> str:
    """All rounds on paper, the answers folded."""
    asked = table(["", "the client says", "choose your reply"],
                  [[str(number), f"<code>{escape(played.client, quote=False)}</code>",
                    "<br>".join(escape(choice, quote=False) for choice in played.choices)]
                   for number, played in enumerate(rounds, 1)])
    answers = "".join(f"<li><b>{escape(played.answer)}</b>: {rich(played.why[played.right])}</li>"
                      for played in rounds)
    return f"{asked}<details><summary>the answers, with their reasons</summary><ol>{answers}</ol></details>"


def said_before(rounds: Iterable[Round]) -> str:
    """The dialogue so far."""
    return "".join(line("client", CLIENT, played.client) + line("you", SERVER, played.answer) for played in rounds)


def remark(says: str, right: bool) -> str:
    """What is said about the last choice."""
    if not says:
        return ""
    word, color = ("Right.", TLS) if right else ("Not that one.", TROUBLE)
    return (f'<div aria-live="polite" style="border-left:5px solid {color};margin:8px 0;padding-left:8px">'
            f"<b>{word}</b> {escape(says)}</div>")


def question(rounds: Iterable[Round], wrong: int) -> str:
    """The client's next line, or how it went."""
    for played in rounds:
        return line("client", CLIENT, played.client) + "<div>What do you say?</div>"
    return f"The session is over, with {plural(wrong, 'wrong answer')}."


def line(who: str, color: str, text: str) -> str:
    """One line of the dialogue, in HTML."""
    return (f'<div style="display:flex"><span style="flex:0 0 52px;color:{color};font-weight:600">{who}</span>'
            f'<span style="border-left:4px solid {color};padding-left:8px;font-family:{MONO};color:{INK}">'
            f"{escape(text, quote=False)}</span></div>")
