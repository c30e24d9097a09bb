"""The checks of `report` tell right answers from wrong ones, in any style, and say which wrong one it is."""
from __future__ import annotations

import re
from typing import Any

import pytest

from smtp_from_scratch import lab, report
from smtp_from_scratch.dsn import parse_notify, parse_orcpt, request, seven_bit
from smtp_from_scratch.envelope import Envelope
from smtp_from_scratch.parts import value_of
from smtp_from_scratch.report import RecipientStatus, build_report, group, one_line, report_to, reporting, typed
from smtp_from_scratch.rules import reply_for_each
from smtp_from_scratch.wire import Reply
from tests.solutions import SOLUTIONS, nbformat, solution

SOLVED = "20_report"


def wrong(verdict: Any, *words: str) -> None:
    text = str(verdict)
    assert not verdict.passed and all(word in text for word in words), text


@pytest.mark.parametrize("answer, says", [
    (lambda text: None, "Not yet"), (lambda text: text, "ends it"),
    (lambda text: text.replace("\n", " "), "5.1.1  Action"),
    (lambda text: " ".join(text.split()), "caf"), (lambda text: " ".join(text.split())[:900], "caf"),
    (lambda text: " ".join(text.split()).encode("ascii", "replace").decode(), "caf"),
    (lambda text: " ".join(text.split()).encode("ascii", "backslashreplace").decode()[:900], "bell"),
    (lambda text: report.one_line(text)[:899], "xxx"), (lambda text: report.one_line(text[:900]), "'a b'"),
    (lambda text: " ".join(text.split())[:900].encode("ascii", "backslashreplace").decode().translate({7: "?", 27: "?",
     127: "?"}), "xe9"),
])
def test_one_line_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_one_line(answer), says)


def by_pattern(text: str) -> str:
    line = re.sub(r"\s+", " ", text).strip().encode("ascii", "backslashreplace").decode()
    return re.sub("[^ -~]", "?", line)[:900]


@pytest.mark.parametrize("answer", [report.one_line, by_pattern, lambda text: by_pattern(text).strip(),
                                    solution(SOLVED, "one-line-code")["my_one_line"]])
def test_one_line_in_any_style(answer: Any) -> None:
    assert lab.check_one_line(answer).passed


def about(envelope: Envelope, recipient: str, action: str, reply: Reply, remote_mta: str, **changes: str) -> str:
    """The fields in another order than ours, some of them as they are in `changes`."""
    orcpt = envelope.options.get(recipient, {}).get("ORCPT")
    kind, address = parse_orcpt(orcpt) if orcpt else ("", "")
    fields = {"Status": reply.enhanced or {2: "2.0.0", 4: "4.0.0", 5: "5.0.0"}[reply.code // 100], "Action": action,
              "Final-Recipient": typed(recipient)}
    if orcpt:
        fields["Original-Recipient"] = f"{kind}; {address if address.isascii() else seven_bit(address)}"
    if remote_mta:
        fields |= {"Remote-MTA": f"dns; {remote_mta}", "Diagnostic-Code": "smtp; " + one_line(str(reply))}
    names = {name.replace("_", "-"): value for name, value in changes.items()}
    return group(fields | {name: value for name, value in names.items() if name in fields})


@pytest.mark.parametrize("answer, says", [
    (lambda *given: group({"Status": ...}), "Not yet"), (lambda *given: "", "for Yui"),  # type: ignore[dict-item]
    (lambda *given: about(*given, Original_Recipient=f"rfc822; {given[1]}"), "Yui+choir"),
    (lambda *given: about(*given, Original_Recipient="rfc822;Yui+choir@tokyo.example"), "Original-Recipient"),
    (lambda *given: about(*given, Status="5.1.1"), "5.0.0"), (lambda *given: about(*given, Status=given[3].enhanced),
                                                              "no Status"),
    (lambda *given: about(*given, Diagnostic_Code=f"smtp; {given[3]}".replace(" / ", "\n")), "other groups"),
    (lambda *given: about(*given, Diagnostic_Code=f"smtp; {given[3].text}"), "Diagnostic-Code"),
    (lambda *given: about(*given).rstrip("\n"), "without its end"),
    (lambda *given: about(*given) + ("" if given[4] else "Remote-MTA: dns; \n"), "no such field"),
    (lambda *given: about(*given) + ("" if given[4] else f"Diagnostic-Code: smtp; {given[3]}\n"), "no such field"),
    (lambda *given: about(*given) + ("" if "ORCPT" in str(given[0].options.get(given[1])) else
                                     "Original-Recipient: rfc822; kenji@tokyo.example\n"), "no such field"),
])
def test_fields_about_a_recipient_refuse(answer: Any, says: str) -> None:
    wrong(lab.check_per_recipient(answer), says)


@pytest.mark.parametrize("answer", [about, solution(SOLVED, "per-recipient-code")["my_per_recipient"]])
def test_fields_about_a_recipient_in_any_style(answer: Any) -> None:
    assert lab.check_per_recipient(answer).passed


def wrapped(keeps: str = "temporary or none", tells: bool = True, answer: str = "250", guarded: bool = True) -> Any:
    """A `my_reporting` with one of its rules changed."""
    def my_reporting(deliver: Any, hostname: str, send: Any) -> Any:
        def deliver_and_report(envelope: Envelope, body: Any) -> Any:
            outcome = deliver(envelope, body)
            outcomes = reply_for_each(envelope.recipients, outcome)
            temporary = any(400 <= reply.code < 500 for reply in outcomes.values())
            nobody = all(reply.code >= 400 for reply in outcomes.values())
            if ("temporary" in keeps and temporary) or ("none" in keeps and nobody):
                return outcome
            if guarded and tells:
                report_to(send, hostname, envelope, outcomes, body)
            elif tells:
                body.seek(0)
                if built := build_report(envelope, outcomes, body.read(), hostname):
                    send(built, Envelope("", [envelope.sender]))
            return {"250": Reply(250, "kept"), "outcome": outcome, "none": None}[answer]
        return deliver_and_report
    return my_reporting


def to_the_postmaster(deliver: Any, hostname: str, send: Any) -> Any:
    return reporting(deliver, hostname, lambda letter, envelope: send(letter, Envelope("", ["postmaster"])))


@pytest.mark.parametrize("answer, says", [
    (lambda *given: None, "Not yet"), (lambda deliver, hostname, send: deliver, "Not yet"),
    (wrapped(keeps="temporary or none", tells=False), "0 reports"), (wrapped(keeps="none"), "full today"),
    (wrapped(keeps="temporary"), "refuses both"), (wrapped(keeps=""), "full today"),
    (wrapped(answer="outcome"), "250 is the answer"), (wrapped(guarded=False), "no route to Rio"),
    (to_the_postmaster, "goes to the sender"),
])
def test_a_delivery_that_reports_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_reporting(answer), says)


@pytest.mark.parametrize("answer", [reporting, wrapped(), wrapped(answer="none"),
                                    solution(SOLVED, "reporting-code")["my_reporting"]])
def test_a_delivery_that_reports_in_any_style(answer: Any) -> None:
    assert lab.check_reporting(answer).passed


@pytest.mark.parametrize("answer, says", [
    (lambda *given: None, "Not yet"), (lambda *given: "failed", "for 250"),
    (lambda reply, success, give_up: success if reply.positive else "failed", "for 452"),
    (lambda reply, success, give_up: success if reply.positive else "failed" if reply.permanent else "delayed", "True"),
    (lambda reply, success, give_up: "delivered" if reply.positive else report.action_of(reply, success, give_up),
     "relayed"),
    (lambda reply, success, give_up: success if reply.code == 250 else report.action_of(reply, "failed", give_up),
     "for 251"),
])
def test_action_of_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_action_of(answer), says)


def by_digit(reply: Reply, success: str = "", give_up: bool = False) -> str:
    match reply.code // 100, give_up:
        case 2, _:
            return success
        case 4, False:
            return "delayed"
    return "failed"


@pytest.mark.parametrize("answer", [report.action_of, by_digit, solution(SOLVED, "action-code")["my_action_of"]])
def test_action_of_in_any_style(answer: Any) -> None:
    assert lab.check_action_of(answer).passed


def asked(envelope: Envelope, recipient: str) -> set[str]:
    notify = envelope.options.get(recipient, {}).get("NOTIFY")
    return set(parse_notify(notify)) if notify else {"FAILURE", "DELAY"}


@pytest.mark.parametrize("answer, says", [
    (lambda *given: None, "Not yet"), (lambda *given: True, "NOTIFY"), (lambda *given: False, "NOTIFY"),
    (lambda envelope, recipient, action: action == "failed", "NOTIFY"),
    (lambda envelope, recipient, action: {"failed": "FAILURE", "delayed": "DELAY", "delivered": "SUCCESS"}.get(action)
     in asked(envelope, recipient), "relayed"),
    (lambda envelope, recipient, action: any(
        report.wanted(envelope, address, action) for address in envelope.recipients), "'delivered'"),
    (lambda envelope, recipient, action: bool(envelope.options.get(recipient)) and report.wanted(
        envelope, recipient, action), "'failed'"),
])
def test_wanted_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_wanted(answer), says)


@pytest.mark.parametrize("answer", [report.wanted, solution(SOLVED, "wanted-code")["my_wanted"]])
def test_wanted_in_any_style(answer: Any) -> None:
    assert lab.check_wanted(answer).passed


def status(fields: dict[str, str], **changes: Any) -> RecipientStatus:
    right = report.recipient_status(fields)
    return RecipientStatus(**{name: getattr(right, name) for name in RecipientStatus.__slots__} | changes)


def careless(fields: dict[str, str]) -> RecipientStatus:
    """Asks for nothing."""
    return RecipientStatus(*[value_of(fields, name, True) for name in (
        "Final-Recipient", "Action", "Status", "Original-Recipient", "Remote-MTA", "Diagnostic-Code")])


@pytest.mark.parametrize("answer, says", [
    (lambda fields: None, "Not yet"), (careless, "action='FAILED'"),
    (lambda fields: status(fields, status=value_of(fields, "Status")), "(nobody)"),
    (lambda fields: status(fields, recipient=value_of(fields, "Final-Recipient")), "rfc822"),
    (lambda fields: status(fields, original=value_of(fields, "Final-Recipient", True)), "original="),
    (lambda fields: status({"status": "5.0.0", **fields}), "without Status"),
    (lambda fields: status({"action": "failed", **{k: v for k, v in fields.items() if v}}), "without Action"),
])
def test_recipient_status_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_recipient_status(answer), says)


@pytest.mark.parametrize("answer", [report.recipient_status, solution(SOLVED, "status-code")["my_recipient_status"]])
def test_recipient_status_in_any_style(answer: Any) -> None:
    assert lab.check_recipient_status(answer).passed


TOLD = solution(SOLVED, "told-code")["my_told"]


@pytest.mark.parametrize("name", TOLD)
def test_told_refuses(name: str) -> None:
    verdict = lab.check_told(TOLD | {name: "failed" if TOLD[name] != "failed" else "delayed"})
    wrong(verdict, f"for {name}")
    assert "Our own server" not in str(verdict)
    assert f"{name} is missing" in str(lab.check_told({key: told for key, told in TOLD.items() if key != name}))


def test_told() -> None:
    assert list(TOLD.values()).count(None) == 4 and "Four of the eight" in str(lab.check_told.hint(2))
    assert lab.check_told({name: str(told).title() for name, told in TOLD.items()}).passed
    assert lab.check_told(TOLD).passed and lab.check_told(dict(reversed(TOLD.items()))).passed


@pytest.mark.parametrize("rule, words", [
    ("about.original or about.recipient -> about.recipient", "forwards to"),
    ('about.action == "failed" and about.status.startswith("5") -> about.action == "failed"', "stayed full"),
    ('about.action == "failed" and about.status.startswith("5") -> about.action in ("failed", "delayed")', "delayed"),
    ("sent.get(report.envelope_id, ()) -> sum(sent.values(), [])", "never sent"),
    ("except ValueError -> except KeyError", "ValueError"), ("continue -> break", "One letter"),
    ("in report.recipients -> in report.recipients[:1]", "look at each"),
])
def test_leavers_refuse(rule: str, words: str) -> None:
    """The solution without one of its rules."""
    cells = {cell.id: cell.source for cell in nbformat.read(SOLUTIONS / f"{SOLVED}.ipynb", 4).cells}
    old, new = rule.split(" -> ")
    assert cells["leavers-code"].count(old) == 1
    names: dict[str, Any] = {}
    exec(cells["imports"] + "\n" + cells["leavers-code"].replace(old, new), names)
    wrong(lab.check_leavers(names["my_leavers"]), words)


def at_once(letters: list[bytes], sent: dict[str, list[str]]) -> list[str]:
    def gone(letter: bytes) -> list[str]:
        try:
            found = report.parse_report(letter)
        except ValueError:
            return []
        return [about.original for about in found.recipients if (about.action, about.status[:1]) == ("failed", "5")
                and about.original in sent.get(found.envelope_id, [])]
    return [address for letter in letters for address in gone(letter)]


@pytest.mark.parametrize("answer", [at_once, solution(SOLVED, "leavers-code")["my_leavers"]])
def test_leavers_in_any_style(answer: Any) -> None:
    assert lab.check_leavers(answer).passed
    assert "Not yet" in str(lab.check_leavers(lambda letters, sent: None))


def forged(victim: str, reply: Reply = Reply(550, "no", "5.1.1"), **wishes: Any) -> bytes:      # noqa: B008
    built = build_report(request(Envelope("a@b.example", [victim]), **wishes), {victim: reply}, b"", "mx.example")
    return built.as_bytes() if built else b""


BY_HAND = """Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; {}
Action: failed
Status: 5.1.1
--b--
"""


@pytest.mark.parametrize("answer, says", [
    (lambda victim: None, "Not yet"), (lambda victim: b"", "cannot read it"),
    (lambda victim: f"<{victim}> is gone".encode(), "cannot read it"),
    (lambda victim: forged("yui@tokyo.example"), "still sings"),
    (lambda victim: forged(victim, Reply(452, "full")), "nobody"),
    (lambda victim: forged("kenji@tokyo.example"), "still sings"),
    (lambda victim: forged(victim, envid="issue 7, a6F2"), "How would a stranger"),
])
def test_a_forged_report_refuses(answer: Any, says: str) -> None:
    wrong(lab.check_forged(answer), says)


@pytest.mark.parametrize("answer", [forged, lambda victim: BY_HAND.format(victim).encode(),
                                    solution(SOLVED, "forged-code")["my_forged"]])
def test_a_forged_report_in_any_style(answer: Any) -> None:
    assert lab.check_forged(answer).passed
