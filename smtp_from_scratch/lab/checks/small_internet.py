"""The checks of `small_internet`: five letters and what is left of them, an answer that loops nowhere, a circle."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.lab.check import NotYet, Problem, as_word, check
from smtp_from_scratch.parts import HOPS

ANA, KENJI, LI = "ana@rio.example", "kenji@tokyo.example", "li@tokyo.example"

# --- exercise 1: where are they? --------------------------------------------------------------------------------------

PLACES = ("outbox", "queue", "home", "twice", "bounced", "lost")
WHERE: dict[str, tuple[str, dict[str, str], str]] = {
    "A": ("home", {"lost": "No file, and no letter lost: somebody took it away, as he may.",
                   "bounced": "Tokyo said 250 to it, and no report is about it."},
          "Read Tokyo's log at 09:20. What did QUIT do?"),
    "B": ("queue", {"bounced": "A 452 is \"not now\". Nobody has written to Ana about it.",
                    "lost": "Rio has said 250 for it, and its file has it."},
          "Which letter is in Rio's file, and what was the last word about it?"),
    "C": ("bounced", {"lost": "Ana has news of it, in her mailbox.", "queue": "A 550 is final: nobody tries again."},
          "What is in Ana's mailbox, and about whom is it?"),
    "D": ("twice", {"home": "Kenji gets two: Tokyo kept it at 09:06, and again at 09:35.",
                    "queue": "At 09:35 Tokyo said 250 to Rio, and Rio heard it."},
          "Tokyo's 250 at 09:06 reached nobody. What did Rio do, and was it right?"),
    "E": ("outbox", {"lost": "Nobody has said 250 to its body. So who still has it?",
                     "queue": "Rio never said \"queued as\" for it.", "home": "It never reached Tokyo."},
          "Who was the last to be responsible for it?"),
}


@check(
    hints=(
        "For each letter: who was the last to say 250 to its body, and did the one who asked hear it?",
        "A was fetched, and E has never left Ana's outbox.",
        "Follow each letter through the three logs, with the number that Rio gave it. Whoever said 250 last has it, "
        "unless its user took it away. If a 250 was said and not heard, the letter is sent again: then there are two.",
    ),
    passed="Not one of the five is lost, and you can say for each who has it.",
)
def check_whereabouts(my_whereabouts: Mapping[str, str]) -> Iterator[Problem | None]:
    """Exercise 1: where each letter is."""
    if not isinstance(my_whereabouts, Mapping) or set(my_whereabouts) != set(WHERE):
        yield Problem(f"{my_whereabouts!r:.60}", look="A dictionary with a word for each of A to E.")
        return
    for name, (right, wrong, look) in WHERE.items():
        said = as_word(my_whereabouts[name])
        if said not in PLACES:
            yield Problem(f"{name}: {said!r:.40}", look=f"One of {', '.join(PLACES)}.")
        elif said != right:
            yield Problem(f"{name}: {said}", wrong.get(said, ""), look)


# --- exercise 2: an answer that loops nowhere -------------------------------------------------------------------------

Answering = Callable[[Envelope, Mapping[str, str], dict[str, int], int], Any]
Letter = tuple[Envelope, dict[str, str]]


def letter_from(sender: str, **fields: str) -> Letter:
    """An envelope to Kenji, and the fields of a header."""
    return Envelope(sender, [KENJI]), {"from": sender, "to": KENJI} | {
        name.replace("_", "-"): value for name, value in fields.items()}


SILENT: tuple[tuple[str, Letter, str, str], ...] = (
    ("a report, from `<>`", letter_from("", subject="Your message: failed"),
     "To whom would that go? A report answered is a report more.", "An empty sender wants no answer."),
    ("`Auto-Submitted: auto-replied`", letter_from(LI, auto_submitted="auto-replied"),
     "Li is away as well: her program answers yours, and yours hers, all summer.",
     "What a program sent says so in Auto-Submitted: anything but `no`."),
    ("`Auto-Submitted: auto-generated`", letter_from(LI, auto_submitted="auto-generated"),
     "A program gets a letter about your holidays.", "Not only `auto-replied`: anything but `no`."),
    ("a letter of a list, with `List-Id`", letter_from(LI, list_id="<choir.tokyo.example>"),
     "Nine hundred singers read that you are away.", "A letter with `list-id` is not to you alone."),
)
SPOKEN: tuple[tuple[str, Letter, str], ...] = (
    ("an ordinary letter", letter_from(ANA), "Ana waits, and nobody tells her."),
    ("`Auto-Submitted: no`", letter_from(ANA, auto_submitted="no"), "`no` says that a person wrote it."),
    ("`Auto-Submitted: No`", letter_from(ANA, auto_submitted=" No "), "`No` is `no`: capitals do not count here."),
)


def answer(my_vacation: Answering, letter: Letter, answered: dict[str, int] | None = None, today: int = 3) -> Any:
    """What it says to a letter; without `answered` nobody has had an answer yet."""
    return my_vacation(*letter, {} if answered is None else answered, today)


def problem_of_answer(what: str, given: Any, sender: str) -> Problem | None:
    """What is wrong with an answer that is due."""
    if given is None:
        return None
    if not isinstance(given, Envelope):
        return Problem(f"{given!r:.60} for {what}", "Nothing can be sent with that.", "Return an `Envelope`, or None.")
    if given.sender:
        return Problem(f"an answer from <{given.sender}>", "If it cannot be delivered, a report comes to you, and you "
                       "answer that, too.", "An answer by a program has an empty sender, as a report has.")
    if list(given.recipients) != [sender]:
        return Problem(f"an answer to {given.recipients!r:.60}", f"The letter came from <{sender}>.",
                       "The recipient is the sender of the envelope, alone.")
    return None


@check(
    hints=(
        "What do you know of a person who is not in `answered`, and when do you write somebody into it?",
        "if person in answered and today - answered[person] < 7: return None",
        "Say None when `may_answer` does. Then look when the sender, in small letters, last had an answer: None again "
        "if that is less than seven days ago. Otherwise note today. The answer is an Envelope with an empty sender, to "
        "the sender of the letter.",
    ),
    passed="Everybody hears of it once a week, and two programs that are both away fall silent.",
)
def check_vacation(my_vacation: Answering) -> Iterator[Problem | None]:
    """Exercise 2: an answer while somebody is away."""
    if all(answer(my_vacation, letter) is None for _, letter, _ in SPOKEN):
        raise NotYet("nobody is answered. An ordinary letter gets an `Envelope`.")
    for what, letter, wire, look in SILENT:
        if answer(my_vacation, letter) is not None:
            yield Problem(f"an answer to {what}", wire, look)
    for what, letter, wire in SPOKEN:
        given = answer(my_vacation, letter)
        if given is None:
            yield Problem(f"None for {what}", wire, "Which of your rules says no?")
        yield problem_of_answer(what, given, letter[0].sender)
    yield problem_of_memory(my_vacation)
    yield problem_of_circle(my_vacation)


def problem_of_memory(my_vacation: Answering) -> Problem | None:
    """Once in seven days for each person, whoever that is, and only who was answered counts."""
    answered: dict[str, int] = {}
    answer(my_vacation, letter_from(LI, list_id="<choir.tokyo.example>"), answered)
    if answer(my_vacation, letter_from(LI), answered) is None:
        return Problem("no answer to Li's own letter, after one of hers to a list",
                       "She was not answered, and never is.",
                       "Note somebody in `answered` when you answer, not before.")
    for day in (3, 4, 9):
        if answer(my_vacation, letter_from(LI), answered, day) is not None:
            return Problem(f"a second answer to Li on day {day}, after one on day 3",
                           "Whoever writes ten letters a day gets ten answers." if day == 3 else
                           "A rude program that answers answers hears from yours too often.",
                           "Is the sender in `answered` already, and since when?")
    if answer(my_vacation, letter_from(LI.title()), answered, 9) is not None:
        return Problem(f"a second answer, to {LI.title()}", "It is the same mailbox.", "Keep small letters.")
    if answer(my_vacation, letter_from(ANA), answered, 9) is None:
        return Problem("no answer to Ana, after one to Li", "She was never told.", "`answered` has people, not a yes.")
    if answer(my_vacation, letter_from(LI), answered, 10) is None:
        return Problem("no answer to Li on day 10, after one on day 3",
                       "Her second letter waits for Kenji, and she does not know.", "Seven days are over on day 10.")
    if answer(my_vacation, letter_from(LI), answered, 12) is not None:
        return Problem("a third answer to Li on day 12, after one on day 10",
                       "From the second week on she gets one for each letter.", "Which day is noted the second time?")
    return None


def problem_of_circle(my_vacation: Answering) -> Problem | None:
    """Two who are away, and a letter with a forged or forgotten header: only the envelope can stop it."""
    known: dict[str, dict[str, int]] = {ANA: {}, KENJI: {}}
    envelope, count = Envelope(ANA, [KENJI]), 0
    while count < 5:
        given = my_vacation(envelope, {"subject": "I am away"}, known[envelope.recipients[0]], 3)
        if given is None:
            break
        envelope, count = Envelope(given.sender, list(given.recipients)), count + 1
    if count > 1:
        return Problem(f"{count} answers to one letter between two who are away", "They answer each other.",
                       "The answer's sender is empty, and an empty sender is not answered.")
    return None


# --- exercise 3: a circle ---------------------------------------------------------------------------------------------


@check(
    hints=(
        "Where does a letter to Kenji go first, and what must there be at that place so that it comes back?",
        "Two entries: kenji@tokyo.example → an address in Rio, and that address → kenji@tokyo.example",
        "Each provider follows its own table, and neither sees the other's. Two entries that point at each other are "
        "enough. Every machine adds a Received line, so the queue that counts more than a hundred says 554, and its "
        "report goes to the sender of the envelope.",
    ),
    passed="Each table is sensible alone. Together they are a circle, and a count of Received lines ends it.",
)
def check_round(my_round: Mapping[str, Any]) -> Iterator[Problem | None]:
    """Exercise 3: aliases after which a letter goes round."""
    if not isinstance(my_round, Mapping) or set(my_round) != {"aliases", "status", "told"}:
        yield Problem(f"{my_round!r:.60}", look="Keep the three names: aliases, status, told.")
        return
    aliases = my_round["aliases"]
    if not isinstance(aliases, Mapping) or not all(isinstance(a, str) and "@" in a
                                                   for pair in aliases.items() for a in pair):
        yield Problem(f"{aliases!r:.60}", look="`aliases` is a dictionary: an address, and the address it stands for.")
        return
    yield problem_of_aliases({one.strip().lower(): other.strip().lower() for one, other in aliases.items()})
    status, told = str(my_round["status"]).strip().removeprefix("554 "), as_word(my_round["told"])
    if status != "5.4.6":
        yield Problem(f"the status {status!r:.20}", "Nobody says that to a letter that has come too often.",
                      "Chapter relay, the last prediction: what did the queue say after a hundred Received lines?")
    if told not in ("ana", ANA, "the sender", "sender"):
        yield Problem(f"told: {told!r:.40}", "A report goes to the sender of the envelope.",
                      "An alias changes the recipient. Does it change the sender?")


def problem_of_aliases(aliases: Mapping[str, str]) -> Problem | None:
    """What is wrong with the tables."""
    domain = {address: address.rpartition("@")[2] for pair in aliases.items() for address in pair}
    if strange := [address for address, where in domain.items() if where not in ("rio.example", "tokyo.example")]:
        return Problem(strange[0], "There are two providers, and none of them is that one's.", "Rio and Tokyo alone.")
    if inside := [one for one, other in aliases.items() if domain[one] == domain[other]]:
        return Problem(f"{inside[0]} → {aliases[inside[0]]}", "Rio and Tokyo look for circles in their own tables, and "
                       "find this one.", "Each alias leads to the other provider.")
    if ANA in aliases:
        return Problem(f"{ANA} → {aliases[ANA]}", "Then Ana never reads the report.", "Leave Ana's own mailbox alone.")
    address, hops = KENJI, 0
    while address in aliases and hops <= HOPS:
        address, hops = aliases[address], hops + 1
    if hops <= HOPS:
        return Problem(f"a letter to {KENJI} that ends at {address}", f"There it stays, aliases followed: {hops}.",
                       "Follow it with a finger: it must come back to an address where it has been.")
    return None
