"""The notation of dialogues for clients, its grammar, and the table that learners see."""
from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from smtp_from_scratch.conformance.client.tasks import PLACEHOLDERS
from smtp_from_scratch.conformance.client.words import ACTS, CERTIFICATES, FLAGS, TASKS, fits
from smtp_from_scratch.conformance.client.words import PRELUDE as CLIENT_PRELUDE
from smtp_from_scratch.conformance.notation import CHECKS, FACTS, PRELUDE, SETUPS, NotationError, parse
from smtp_from_scratch.conversation import Conversation
from smtp_from_scratch.envelope import Envelope

PEERS_FILES = Path(__file__).parents[1] / "peers"


@pytest.mark.parametrize("line, complaint", [
    ("C:", "what is expected is missing"),
    ("C: body round", "a body can be"),
    ("C: body|QUIT", "nothing else can be meant but `closed`"),
    ("C: QUIT has x", "look into a body"),
    ("tls please", "`tls` stands alone"),
    ("exit well", "`exit` takes"),
    ("wait long", "`wait` takes seconds"),
    ("letter", "`letter` takes an argument"),
    ("letter same round", "a body can be"),
    ("never", "`never` takes an argument"),
    ("secure", "expected `C:`"),
])
def test_the_notation_is_strict_and_names_the_line(line: str, complaint: str) -> None:
    source = f"== a\nrfc: 5321 §3.3\nlevel: MUST\nend: client\nasks: x\n--\n{line}\n"
    with pytest.raises(NotationError, match=re.escape(complaint)) as error:
        list(parse(source, "here.txt"))
    assert str(error.value).startswith("here.txt:7: ")


@pytest.mark.parametrize("fact, complaint", [
    ("setup: size", "no such setup: 'size'; there are two, utf8"),
    ("may: leave", "the fact `may:` says `refuse`"),
    ("after: EHLO LHLO", "for a client, `after:` takes EHLO, TLS, MAIL, RCPT, DATA"),
])
def test_facts_of_a_client(fact: str, complaint: str) -> None:
    source = f"== a\nrfc: 5321 §3.3\nlevel: MUST\nend: client\nasks: x\n{fact}\n--\nserve\n"
    with pytest.raises(NotationError, match=re.escape(complaint)):
        list(parse(source))


@pytest.mark.parametrize("pattern, line, wanted", [
    ("MAIL FROM:<*", "mail from:<a@x.example> SIZE=3", True),
    ("MAIL FROM:<{sender}>", "MAIL FROM:<Ana@rio.example>", True),
    ("MAIL FROM:<{sender}>", "MAIL FROM:<ana@rio.example>", False),
    ("MAIL FROM:<*> +SIZE=#", "MAIL FROM:<a@x.example> BODY=8BITMIME SIZE=12", True),
    ("MAIL FROM:<*> +SIZE=#", "MAIL FROM:<a@x.example> SIZE=", False),
    ("MAIL FROM:<*> +SIZE=# +SMTPUTF8", "MAIL FROM:<a@x.example> SMTPUTF8 SIZE=1", True),
    ("MAIL FROM:<*> +SMTPUTF8", "MAIL FROM:<a+SMTPUTF8@x.example>", False),
    ("BDAT #", "BDAT 12 LAST", False),
    ("EHLO [*]", "EHLO [127.0.0.1]", True),
])
def test_patterns(pattern: str, line: str, wanted: bool) -> None:
    assert fits(pattern, line, lambda braces: b"Ana@rio.example") is wanted


GRAMMAR = Path(str(files("smtp_from_scratch.conformance"))) / "GRAMMAR.md"


def test_every_example_in_the_grammar_parses() -> None:
    """Whole dialogues as they are; fragments in a frame that says which end is examined."""
    text = GRAMMAR.read_text("utf-8")
    blocks = re.findall(r"^```(dialogue|server|client)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    frame = "== a\nrfc: 5321 §3.3\nlevel: MUST\nend: {}\nasks: x\n--\n{}"
    assert 2 * len(blocks) == len(re.findall("^```", text, re.MULTILINE)) >= 10
    assert {kind for kind, _ in blocks} == {"dialogue", "server", "client"}
    for kind, text in blocks:
        assert list(parse(text if kind == "dialogue" else frame.format(kind, text), "GRAMMAR.md"))


def test_the_grammar_names_everything_there_is() -> None:
    text = GRAMMAR.read_text("utf-8")
    words = (*FACTS, *SETUPS, *TASKS, *FLAGS, *ACTS, *CERTIFICATES, *CHECKS, *PRELUDE, *CLIENT_PRELUDE, *PLACEHOLDERS)
    assert [word for word in words if not re.search(rf"[`{{ ]{re.escape(word)}[`:}} ]", text)] == []


def test_a_table_for_the_learners_own_client() -> None:
    from smtp_from_scratch import lab
    from smtp_from_scratch.client import deliver as deliver_1982

    table = lab.client_dialogues(lambda envelope, octets: deliver_1982("rio.example", [(envelope, [octets])]),
                                 "client-session", "client-refusals", "client-letter", "client-auth")
    assert not table.failed and "passed" in table.summary and "skipped" in table.summary

    def deaf(envelope: Envelope, octets: bytes) -> Conversation[str]:
        for line in (b"HELO rio.example", b"MAIL FROM:<ana@rio.example>"):
            yield line + b"\r\n"
        return "sent"

    assert len(lab.client_dialogues(deaf, "client-session").failed) > 20
    broken = lab.client_dialogues(lambda envelope, octets: (_ for _ in [3]), "client-session", only="A whole session")
    assert "TypeError" in broken.failed[0].reason
