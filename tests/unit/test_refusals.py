"""A receipt becomes the exception that `smtplib` would raise."""
from __future__ import annotations

import pickle
import smtplib
import subprocess
import sys

import pytest

import smtp_from_scratch
from smtp_from_scratch.client import Receipt, SMTPConnectError, SMTPException, SMTPServerDisconnected
from smtp_from_scratch.refusals import SMTPDataError, SMTPRecipientsRefused, SMTPSenderRefused, raise_for_refusal
from smtp_from_scratch.sasl import SMTPAuthenticationError
from smtp_from_scratch.wire import Reply

YUI, KENJI = "yui@tokyo.example", "kenji@tokyo.example"
OK, NO = Reply(250, "ok"), Reply(550, "no")


@pytest.mark.parametrize("receipt", [
    Receipt("ana@rio.example", {YUI: OK}, reply=OK), Receipt("ana@rio.example", {YUI: OK, KENJI: NO}, reply=OK)])
def test_whoever_reached_somebody_gets_the_receipt_back(receipt: Receipt) -> None:
    assert raise_for_refusal(receipt) is receipt


@pytest.mark.parametrize("receipt, kind", [
    (Receipt("ana@rio.example", {YUI: NO}, "MAIL", NO), SMTPSenderRefused),
    (Receipt("ana@rio.example", {YUI: NO, KENJI: NO}, "RCPT"), SMTPRecipientsRefused),
    (Receipt("ana@rio.example", {YUI: NO}, "DATA", NO), SMTPDataError),
    (Receipt("ana@rio.example", {YUI: NO}, "body", NO), SMTPDataError)])
def test_a_refusal_of_everybody_is_raised_and_has_the_receipt(receipt: Receipt, kind: type[SMTPException]) -> None:
    with pytest.raises(kind, match="550 no") as caught:
        raise_for_refusal(receipt)
    assert caught.value.receipts == [receipt] and caught.value.receipt is receipt


# --- the exceptions of smtplib ---------------------------------------------------------------------------------------

OURS = {name: getattr(smtp_from_scratch, name) for name in smtplib.__all__
        if name.endswith(("Error", "Exception", "Refused", "Disconnected"))}
CODED = Reply(550, "nobody\nof that name", "5.1.1")
PAIR = (550, b"5.1.1 nobody\n5.1.1 of that name")


def test_each_exception_is_one_of_smtplib_of_the_same_name() -> None:
    assert len(OURS) == 10
    for name, kind in OURS.items():
        assert issubclass(kind, getattr(smtplib, name)) and issubclass(kind, SMTPException), name


@pytest.mark.parametrize("ours, theirs", [
    (SMTPDataError(CODED, "DATA"), smtplib.SMTPDataError(*PAIR)),
    (SMTPSenderRefused(CODED, sender="ana@rio.example"), smtplib.SMTPSenderRefused(*PAIR, "ana@rio.example")),
    (SMTPAuthenticationError(CODED, "AUTH"), smtplib.SMTPAuthenticationError(*PAIR)),
    (SMTPConnectError(Reply(554, "no"), "greeting"), smtplib.SMTPConnectError(554, b"no")),
    (SMTPRecipientsRefused({YUI: PAIR}), smtplib.SMTPRecipientsRefused({YUI: PAIR})),
    (SMTPServerDisconnected("gone"), smtplib.SMTPServerDisconnected("gone"))], ids=lambda e: type(e).__name__)
def test_what_smtplib_puts_into_an_exception_is_in_ours(ours: SMTPException, theirs: smtplib.SMTPException) -> None:
    assert ours.args == theirs.args
    assert vars(ours).items() >= vars(theirs).items()


def test_all_recipients_refused_names_each_as_smtplib_does() -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        raise_for_refusal(Receipt("ana@rio.example", {YUI: CODED, KENJI: NO}, "RCPT"))
    assert caught.value.recipients == {YUI: PAIR, KENJI: (550, b"no")}
    assert str(caught.value) == f"{YUI}: 550 5.1.1 nobody / 5.1.1 of that name; {KENJI}: 550 no"


@pytest.mark.parametrize("receipt", [
    Receipt("ana@rio.example", {YUI: CODED}, "MAIL", CODED), Receipt("ana@rio.example", {YUI: CODED}, "RCPT"),
    Receipt("ana@rio.example", {YUI: CODED}, "body", CODED)], ids=lambda receipt: receipt.refused_by)
def test_a_refusal_survives_the_way_to_another_process(receipt: Receipt) -> None:
    with pytest.raises(SMTPException) as caught:
        raise_for_refusal(receipt)
    error, there = caught.value, pickle.loads(pickle.dumps(caught.value))
    assert (type(there), str(there), there.args) == (type(error), str(error), error.args)
    assert there.receipt == receipt and vars(there) == vars(error)


def test_the_package_alone_does_not_load_smtplib() -> None:
    code = "import sys, smtp_from_scratch; print('smtplib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
