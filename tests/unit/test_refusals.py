"""A receipt becomes the exception that `smtplib` would raise."""
from __future__ import annotations

import pytest

from smtp_from_scratch.client import Receipt, SMTPException
from smtp_from_scratch.refusals import SMTPDataError, SMTPRecipientsRefused, SMTPSenderRefused, raise_for_refusal
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
