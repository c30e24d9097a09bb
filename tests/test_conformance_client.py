"""The client's dialogues: at our own client, in rehearsal and over sockets, and at other people's clients."""
from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import ssl
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from smtp_from_scratch import Client, Reply, auth, chunking, client, ehlo, smtputf8, starttls
from smtp_from_scratch.client import SMTPException
from smtp_from_scratch.conformance.client_runner import (
    Authority,
    ClientTarget,
    Command,
    InThread,
    check,
    obstacle,
    rehearsed,
)
from smtp_from_scratch.conformance.clients import ACTS, CERTIFICATES, FLAGS, TASKS, fits
from smtp_from_scratch.conformance.clients import PRELUDE as CLIENT_PRELUDE
from smtp_from_scratch.conformance.notation import (
    CHECKS,
    FACTS,
    PRELUDE,
    SETUPS,
    Dialogue,
    NotationError,
    parse,
)
from smtp_from_scratch.conformance.player import Difference
from smtp_from_scratch.conformance.report import failure
from smtp_from_scratch.conformance.runner import FAILED, PASSED, SKIPPED, Outcome, all_dialogues
from smtp_from_scratch.conformance.tasks import PLACEHOLDERS, Task, fill, task_of
from smtp_from_scratch.conversation import Conversation, Interruption, Line
from smtp_from_scratch.dsn import request
from smtp_from_scratch.ehlo import ClientSession, deliver
from smtp_from_scratch.envelope import Envelope, normalize, stuff
from smtp_from_scratch.smtp import KEYWORDS, MECHANISMS, client_extensions, letter_for
from smtp_from_scratch.wire import parse_reply
from tests.peers.clients import COMMANDS, PEERS, installed

PEERS_FILES = Path(__file__).parent / "peers"
DIALOGUES = [dialogue for dialogue in all_dialogues() if dialogue.end == "client"]
DSN = {"notify", "ret", "envid", "orcpt"}       # what a client can be asked to ask for by RFC 3461
CAN = tuple(f"{{{name}}}" for name in PLACEHOLDERS if name not in DSN or "DSN" in KEYWORDS)
INTERRUPTED = (SMTPException, Interruption, OSError, ValueError)


def not_built(dialogue: Dialogue) -> str:
    """What our client would need for a dialogue, and has not yet; empty as soon as the front door has it."""
    wanted = {need.partition("=")[0] for need in dialogue.needs} - {"EHLO"}
    wanted |= {"DSN"} if DSN.intersection(dialogue.setup) else set()
    mechanisms = {mechanism.name for mechanism in MECHANISMS}
    missing = wanted.difference(KEYWORDS) | {
        name for need in dialogue.needs if need.startswith("AUTH=") and len(need.split(",")) == 1
        for name in need[5:].split(",") if name not in mechanisms}
    return " and ".join(sorted(missing))


def extensions(task: Task) -> dict[str, Any]:
    """What a task makes of the client's options."""
    options: dict[str, Any] = {"user": task.user, "password": task.password} if task.user else {}
    return options | ({"tls": ssl.create_default_context(cafile=task.ca_file)} if task.ca_file else {})


def envelope_of(task: Task) -> Envelope:
    """A task's envelope, with what it asks for of reports."""
    envelope = Envelope(task.sender, list(task.recipients))
    orcpt = dict.fromkeys(task.recipients, task.orcpt) if task.orcpt else {}
    return request(envelope, ret=task.ret, envid=task.envid, notify=task.notify, orcpt=orcpt)


def by_class(host: str, port: int, task: Task) -> int:
    """Our `Client` as a client program: the exit status says whether everybody got the letter."""
    with Client(host, port, timeout=20, implicit_tls=task.implicit, **extensions(task)) as smtp:
        receipts = [smtp.transact(envelope_of(task), task.letter, binary=b"\0" in task.letter)
                    for _ in range(1 + task.twice)]
    return 1 if any(receipt.refused for receipt in receipts) else 0


def by_conversation(task: Task) -> Conversation[int]:
    """The same as a conversation, for rehearsal."""
    options = extensions(task)
    context = options.pop("tls") if task.implicit else None
    session = ClientSession("client.example", tuple(client_extensions(**options)), "127.0.0.1")
    letters = (letter_for(session, envelope_of(task), task.letter, b"\0" in task.letter)
               for _ in range(1 + task.twice))
    try:
        if context:
            yield from starttls.secure_client(session, context)
        receipts = yield from deliver(session, letters)
    except INTERRUPTED:
        return 1
    return 1 if any(receipt.refused for receipt in receipts) else 0


# --- our client ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def over_sockets(authority: Authority) -> dict[str, Outcome]:
    """All dialogues at `Client`, several at once."""
    target = ClientTarget(lambda host, port, task, folder: InThread(by_class, host, port, task), CAN,
                          authority=authority, patience=5.0)
    return {outcome.dialogue.source: outcome for outcome in check(target, DIALOGUES, 6)}


def must_pass(outcome: Outcome) -> None:
    """Our client keeps every rule; it may skip only what is not built yet, and that is said by name."""
    if outcome.status == SKIPPED and outcome.reason == "does not say QUIT":
        pytest.skip("a `Client` says QUIT when its user does; `deliver` lets it ride along, see the rehearsal")
    if outcome.status == SKIPPED:
        missing = not_built(outcome.dialogue)
        assert missing, f"our client has it, and does not use it: {outcome.reason}"
        pytest.skip(f"not built yet: {missing}")
    assert outcome.status == PASSED, failure(outcome)


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue.source)
def test_our_client_keeps_it_over_a_socket(dialogue: Dialogue, over_sockets: dict[str, Outcome]) -> None:
    must_pass(over_sockets[dialogue.source])


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue.source)
def test_our_client_keeps_it_in_rehearsal(dialogue: Dialogue, authority: Authority, tmp_path: Path) -> None:
    if reason := obstacle(dialogue, ClientTarget(lambda *_: None, CAN, authority=authority)):
        return must_pass(Outcome(dialogue, SKIPPED, reason))
    task = task_of(dialogue)
    if task.tls:
        (tmp_path / "ca.pem").write_bytes(authority.pem)
        task = replace(task, ca_file=str(tmp_path / "ca.pem"))
    must_pass(rehearsed(dialogue, task, authority.context, by_conversation(task)))


def test_enough_dialogues_and_titles_of_their_own() -> None:
    titles = [(dialogue.rfc, dialogue.title) for dialogue in DIALOGUES]
    assert len(titles) == len(set(titles)) >= 55


# --- a rule removed from our client must be noticed ------------------------------------------------------------------


def without(name: str, patch: pytest.MonkeyPatch) -> list[str]:
    """Remove one rule from our client; returns all names there are."""
    learn, line, plan = ClientSession.learn, ehlo.Step.line, ehlo.Size.plan

    def no_dots(blocks: Iterable[bytes]) -> Iterator[bytes]:
        yield from normalize(blocks)
        yield b"\r\n.\r\n"

    def as_it_is(blocks: Iterable[bytes]) -> Iterator[bytes]:
        whole = b"".join(blocks)
        yield whole.replace(b"\r\n.", b"\r\n..")
        yield b".\r\n" if whole.endswith(b"\r\n") else b"\r\n.\r\n"

    def data_without_asking(letter: ehlo.Letter) -> Iterator[ehlo.Step]:
        yield ehlo.Step("DATA", letter=letter, last=True)
        yield ehlo.Step("", octets=lambda: stuff(letter.body), note=ehlo.note_body, letter=letter)

    def data_at_once(letter: ehlo.Letter) -> Iterator[ehlo.Step]:
        yield ehlo.Step("", octets=lambda: [b"DATA\r\n", *stuff(letter.body)], note=ehlo.note_body, letter=letter)

    def everything_active(client: ClientSession, offered: Mapping[str, str]) -> None:
        learn(client, dict.fromkeys(unoffered, "") | dict(offered))

    def never_forget(client: ClientSession, offered: Mapping[str, str]) -> None:
        learn(client, {**client.offered, **offered})

    def miscounted(step: ehlo.Step) -> bytes:
        return re.sub(rb"BDAT (\d+)", lambda m: b"BDAT %d" % (int(m[1]) - 1), line(step))

    def never_last(step: ehlo.Step) -> bytes:
        return line(step).replace(b" LAST", b"")

    def one_line(timeout: float = 300.0, limit: int = 0) -> Conversation[Reply]:
        return parse_reply([(yield Line(8192, timeout)).replace(b"-", b" ", 1)])

    def by_text(reply: Reply) -> bool:
        return not any(word in reply.text.lower() for word in ("no ", "error", "fail"))

    def any_code(reply: Reply) -> bool:
        return reply.code in (220, 221, 235, 250)

    def first_and_go(client: ClientSession, step: ehlo.Step, reply: Reply) -> None:
        return None

    def wrong_size(extension: Any, client: Any, letter: Any, steps: Any) -> None:
        letter.size = 1
        plan(extension, client, letter, steps)

    def swallow(extension: Any, client: Any, letter: ehlo.Letter, steps: Any) -> None:
        letter.needs.clear()

    def opened(client: ClientSession) -> Conversation[Reply]:
        yield b"EHLO client.example\r\n"
        return (yield from ehlo_open(client))

    def unread(client: ClientSession) -> Conversation[Reply]:
        client.learn({})
        return Reply(250)
        yield b""

    def believe(client: ClientSession, context: ssl.SSLContext) -> Conversation[None]:
        return secure(client, starttls.unverified())

    ehlo_open, unoffered, secure = ehlo.open_session, set[str](), starttls.secure_client
    rules: dict[str, Callable[[], Any]] = {
        "dots are doubled": lambda: patch.setattr(ehlo, "stuff", no_dots),
        "line ends": lambda: patch.setattr(ehlo, "stuff", as_it_is),
        "354 is looked at": lambda: patch.setattr(ehlo, "data_steps", data_without_asking),
        "354 is waited for": lambda: patch.setattr(ehlo, "data_steps", data_at_once),
        "the greeting is waited for": lambda: patch.setattr(ehlo, "open_session", opened),
        "replies of several lines": lambda: [patch.setattr(module, "read_reply", one_line)
                                             for module in (ehlo, client)],
        "codes, not texts": lambda: patch.setattr(Reply, "positive", property(by_text)),
        "codes by their first digit": lambda: patch.setattr(Reply, "positive", property(any_code)),
        "a refused letter": lambda: patch.setattr(ehlo, "conclude", lambda letter, reply: setattr(
            letter.receipt, "reply", Reply(250))),
        "a refused MAIL": lambda: patch.setattr(ehlo, "note_mail", first_and_go),
        "a refused RCPT": lambda: patch.setattr(ehlo, "note_rcpt", first_and_go),
        "HELO": lambda: patch.setattr(ehlo.Reply, "permanent", property(lambda reply: False)),
        "line breaks in addresses": lambda: (patch.setattr(ehlo, "encode_path", lambda address: f"<{address}>"),
                                             patch.setattr(ehlo, "encode_command", lambda verb, argument:
                                                           f"{verb} {argument}".rstrip().encode() + b"\r\n")),
        "PIPELINING is offered": lambda: (unoffered.add("PIPELINING"),
                                          patch.setattr(ClientSession, "learn", everything_active)),
        "SIZE is offered": lambda: (unoffered.add("SIZE"), patch.setattr(ClientSession, "learn", everything_active)),
        "CHUNKING is offered": lambda: (unoffered.add("CHUNKING"),
                                        patch.setattr(ClientSession, "learn", everything_active)),
        "8BITMIME is offered": lambda: (unoffered.add("8BITMIME"),
                                        patch.setattr(ClientSession, "learn", everything_active)),
        "DATA ends its group": lambda: patch.setattr(ehlo, "data_steps", data_at_once),
        "SIZE is true": lambda: patch.setattr(ehlo.Size, "plan", wrong_size),
        "8-bit letters need 8BITMIME": lambda: patch.setattr(ehlo.EightBitMime, "plan", swallow),
        "UTF-8 needs SMTPUTF8": lambda: patch.setattr(smtputf8.SmtpUtf8, "plan", swallow),
        "BDAT counts": lambda: patch.setattr(ehlo.Step, "line", miscounted),
        "BDAT LAST": lambda: patch.setattr(ehlo.Step, "line", never_last),
        "a refused chunk": lambda: patch.setattr(chunking, "note_chunk", first_and_go),
        "BDAT's line ends": lambda: patch.setattr(chunking, "whole_lines", lambda blocks: blocks),
        "TLS forgets": lambda: patch.setattr(ClientSession, "learn", never_forget),
        "EHLO under TLS": lambda: patch.setattr(starttls, "hello", unread),
        "TLS is required": lambda: patch.setattr(starttls.StartTLS, "after_hello", lambda extension, client:
                                                 starttls.start_tls(client, extension.context, False)),
        "certificates": lambda: patch.setattr(starttls, "secure_client", believe),
        "no passwords in clear": lambda: patch.setattr(auth.Mechanism, "clear", False),
        "nonsense is answered with *": lambda: patch.setattr(auth, "decode64", base64.b64decode),
    }
    if name:
        rules[name]()
    return list(rules)


@pytest.mark.parametrize("name", without("", pytest.MonkeyPatch()))
def test_a_client_without_this_rule_is_caught(name: str, monkeypatch: pytest.MonkeyPatch, authority: Authority,
                                              tmp_path: Path) -> None:
    without(name, monkeypatch)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    target = ClientTarget(lambda *_: None, CAN, authority=authority)
    for dialogue in DIALOGUES:
        if obstacle(dialogue, target):
            continue
        task = task_of(dialogue)
        task = replace(task, ca_file=str(tmp_path / "ca.pem")) if task.tls else task
        try:
            if rehearsed(dialogue, task, authority.context, by_conversation(task)).status == FAILED:
                return
        except Difference:
            return
    pytest.fail("no dialogue noticed")


# --- other people's clients ------------------------------------------------------------------------------------------

DIFFERENCES: dict[str, dict[str, str]] = tomllib.loads((PEERS_FILES / "client_differences.toml").read_text("utf-8"))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("peer", COMMANDS)
def test_other_clients_differ_where_we_know_it(peer: str, authority: Authority,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    if not installed(peer):
        pytest.skip(f"{peer} is not installed: tools/peers.sh brings it")
    monkeypatch.setenv("NODE_PATH", str(PEERS / "node" / "node_modules"))
    words = tuple(COMMANDS[peer])
    outcomes = list(check(ClientTarget(Command(words), words, authority=authority, patience=8.0), DIALOGUES, 3))
    new = [outcome for outcome in outcomes if outcome.status == FAILED and named(outcome) not in DIFFERENCES[peer]]
    assert not new, "\n\n".join(map(failure, new))
    assert sum(outcome.status == PASSED for outcome in outcomes) > 90


def named(outcome: Outcome) -> str:
    """A dialogue's name in the list of differences."""
    return f"{outcome.dialogue.rfc} {outcome.dialogue.title}"


def test_known_differences_are_about_dialogues_that_exist() -> None:
    names = {f"{dialogue.rfc} {dialogue.title}" for dialogue in DIALOGUES}
    for peer, differences in DIFFERENCES.items():
        assert peer in COMMANDS and set(differences) <= names, set(differences) - names


# --- the runner itself: whatever a client does costs bounded time, and is said ---------------------------------------


def dialling(conduct: Callable[[socket.socket], object], status: int = 1) -> Callable[[str, int, Task], int]:
    """A client that calls, and then does whatever `conduct` does."""
    def client(host: str, port: int, task: Task) -> int:
        with socket.create_connection((host, port), 5) as sock:
            conduct(sock)
        return status

    return client


def flood(line: bytes) -> Callable[[socket.socket], None]:
    def conduct(sock: socket.socket) -> None:
        deadline = time.monotonic() + 5                  # bounded, whatever the other end does
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline:
                sock.sendall(line * 1000)

    return conduct


def not_smtp(host: str, port: int, task: Task) -> int:
    return 0


HELLO = b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@c.example>\r\n"
CONDUCTS: dict[str, tuple[Callable[[str, int, Task], int], str]] = {
    "says nothing": (dialling(lambda sock: time.sleep(1.5)), "nothing within 0.5 s"),
    "hangs up at once": (dialling(lambda sock: None), "the end of the connection"),
    "never calls": (not_smtp, "ended with status 0 and never called"),
    "never ends its line": (dialling(flood(b"x" * 1000)), "what is none"),
    "ends its lines with LF": (dialling(lambda sock: sock.sendall(b"EHLO c.example\n")), "what is none"),
    "speaks another protocol": (dialling(lambda sock: sock.sendall(b"GET / HTTP/1.1\r\n\r\n")), "GET / HTTP/1.1"),
    "says NOOP for ever": (dialling(flood(b"NOOP\r\n")), "RSET and NOOP without end"),
    "announces too much": (dialling(lambda sock: sock.sendall(HELLO + b"BDAT 99999999999999\r\n")), "got BDAT 9999"),
    "sends less than it announced": (dialling(lambda sock: sock.sendall(HELLO + b"BDAT 10\r\nhello")), "5 octets less"),
    "never ends its letter": (dialling(lambda sock: sock.sendall(HELLO + b"DATA\r\nhello")), "end of the connection"),
}


@pytest.mark.parametrize("name", CONDUCTS)
def test_misconduct_costs_bounded_time_and_is_reported(name: str) -> None:
    conduct, expected = CONDUCTS[name]
    source = """
== a rule
rfc: 5321 §3.3
level: MUST
end: client
asks: something
after: EHLO
needs: CHUNKING
--
C: MAIL FROM:<*
S: 250 fine
C: RCPT TO:<*
S: 250 fine
C: BDAT *|DATA
when DATA
  S: 354 go on
  C: body
end
"""
    [dialogue] = parse(source)
    start = time.monotonic()
    target = ClientTarget(lambda host, port, task, folder: InThread(conduct, host, port, task), authority=None,
                          patience=0.5, start=1.0, limit=3.0)
    [outcome] = check(target, [dialogue])
    assert outcome.status == FAILED and expected in outcome.reason, outcome.reason
    assert time.monotonic() - start < 6
    assert "a rule" in failure(outcome)


def test_a_success_that_is_none_is_caught() -> None:
    """A client that is refused, and exits with 0; one that declines the task it may decline, and exits with 0."""
    talk = dialling(lambda sock: [sock.sendall(HELLO + b"QUIT\r\n"), sock.recv(1000), time.sleep(0.3)], status=0)
    target = ClientTarget(lambda host, port, task, folder: InThread(talk, host, port, task), authority=None)
    by_title = {dialogue.title: dialogue for dialogue in DIALOGUES}
    titles = "An unknown 5yz to RCPT", "A letter whose lines end with LF"
    refused, declined = check(target, [by_title[title] for title in titles])
    assert refused.status == FAILED and "expected exit failure, got 0" in refused.reason
    assert declined.status == FAILED and "declined" in declined.reason


# --- as a command ----------------------------------------------------------------------------------------------------


def check_client(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "smtp_from_scratch", "check-client", *arguments],
                          capture_output=True, text=True, timeout=170)


SEND = [sys.executable, "-m", "smtp_from_scratch", "send", "--server", "{host}:{port}", "--from", "{sender}", "--to",
        "{recipients}", "[", "--user", "{user}", "--password-file", "{password_file}", "]",
        "[", "--starttls", "--ca-file", "{ca_file}", "]", "[", "--notify", "{notify}", "]", "[", "--ret", "{ret}", "]",
        "[", "--envid", "{envid}", "]", "[", "--orcpt", "{orcpt}", "]",
        "[", "--implicit-tls", "--ca-file", "{implicit_ca_file}", "]", "{file}", "[", "{again}", "]"]


@pytest.mark.slow
def test_check_our_own_command() -> None:
    done = check_client("--at-once", "3", "--json", "--", *SEND)
    outcomes = json.loads(done.stdout)["dialogues"]
    assert done.returncode == 0, [outcome for outcome in outcomes if outcome["status"] == FAILED]
    assert not [outcome["reason"] for outcome in outcomes if outcome["status"] == SKIPPED]


def test_check_a_few_at_our_own_command(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    done = check_client("--only", "dots", "--junit", str(junit), "--", *SEND)
    assert done.returncode == 0 and "5321        1        0        0" in done.stdout, done.stdout
    assert ElementTree.parse(junit).getroot().attrib["failures"] == "0"


def test_check_finds_what_smtplib_does_differently() -> None:
    done = check_client("--only", "554: QUIT", "--json", "--", *COMMANDS["smtplib"])
    assert done.returncode == 1
    assert [entry["status"] for entry in json.loads(done.stdout)["dialogues"]] == ["failed"]


@pytest.mark.parametrize("arguments, code, complaint", [
    ([], 2, "the command is missing"),
    (["--", "send", "{host}"], 2, "must have {port}"),
    (["--", "send", "{port}", "{hots}"], 2, "no such placeholder: {hots}"),
    (["--", "send", "{port}", "[", "{file}"], 2, "`]` is missing"),
    (["--", "send", "{port}", "]"], 2, "stand in pairs"),
    (["--only", "no such title", "--", "send", "{port}"], 2, "no dialogue is called that"),
    (["--", "no-such-command", "{port}"], 69, "there is no command 'no-such-command'"),
    (["--", sys.executable, "-c", "raise SystemExit('out of order')", "{port}"], 69, "out of order"),
])
def test_check_client_says_what_it_cannot_do(arguments: list[str], code: int, complaint: str) -> None:
    done = check_client(*arguments)
    assert done.returncode == code and complaint in done.stderr and "Traceback" not in done.stderr


def test_check_client_lists_its_dialogues() -> None:
    listed = check_client("--list")
    assert listed.returncode == 0 and len(listed.stdout.splitlines()) == len(DIALOGUES)


@pytest.mark.parametrize("words, expected", [
    ("send {host} {port} {recipients}", "send h 1 a@x.example b@x.example"),
    ("send --to {recipients} -- {recipients}", "send --to a@x.example --to b@x.example -- a@x.example b@x.example"),
    ("send --to={recipients} {recipients,}", "send --to=a@x.example --to=b@x.example a@x.example,b@x.example"),
    ("send [ --user {user} ] [ --ca-file {ca_file} ] {host}", "send h"),
    ("send [ --host {host} ] {user}", "send --host h ana"),
])
def test_a_command_is_filled_in(words: str, expected: str, tmp_path: Path) -> None:
    task = Task(recipients=("a@x.example", "b@x.example"))
    assert fill(words.split(), task, "h", 1, tmp_path) == expected.split()
    assert (tmp_path / "letter.eml").read_bytes() == task.letter


# --- the notation ----------------------------------------------------------------------------------------------------


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
