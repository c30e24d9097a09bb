"""What all mechanisms have in common (RFC 4422)."""
from __future__ import annotations

import pytest

from smtp_from_scratch.client import SMTPResponseException
from smtp_from_scratch.passwords import Passwords
from smtp_from_scratch.sasl import (
    AuthError,
    BadResponse,
    Cancelled,
    Mechanism,
    SMTPAuthenticationError,
    as_text,
    encode64,
    heard,
    name_of,
)
from smtp_from_scratch.wire import Reply


def test_ways_to_fail_are_of_one_kind() -> None:
    """`except AuthError` gets them all; a ValueError, which is bad base64, is another matter."""
    assert issubclass(BadResponse, AuthError) and issubclass(Cancelled, AuthError)
    assert not issubclass(AuthError, ValueError)


def test_the_clients_error_has_the_reply() -> None:
    error = SMTPAuthenticationError(Reply(535, "no", "5.7.8"), "AUTH")
    assert isinstance(error, SMTPResponseException) and error.smtp_code == 535


def test_a_mechanism_without_flags_is_the_careful_one() -> None:
    """Whoever forgets to say whether theirs is fit for a line in the clear gets one that is not."""
    plain = Mechanism()
    assert plain.clear and plain.needs == "verify" and plain.turns == 1
    for end in (lambda: plain.examine(Passwords({})), lambda: plain.respond("ana", "tides")):
        with pytest.raises(NotImplementedError):
            end()


@pytest.mark.parametrize("octets, written", [(b"", ""), (b"\0", "AA=="), (b"tides", "dGlkZXM="), (b"\xff\xff", "//8=")])
def test_octets_in_base64(octets: bytes, written: str) -> None:
    assert encode64(octets) == written


def test_text_is_utf_8_or_a_bad_response() -> None:
    assert as_text("maré".encode()) == "maré"
    with pytest.raises(BadResponse):
        as_text(b"mar\xe9")


@pytest.mark.parametrize("typed", ["ana", "a\u00adna", "\uff41na"])
def test_a_name_has_one_spelling(typed: str) -> None:
    assert name_of(typed) == "ana"


@pytest.mark.parametrize("typed", ["", "\u00ad", "a\x07", "a\0"])
def test_what_nobody_can_be_called(typed: str) -> None:
    with pytest.raises(AuthError):
        name_of(typed)


def test_a_challenge_that_did_not_come() -> None:
    assert heard(b"v=1") == "v=1"
    with pytest.raises(BadResponse):
        heard(b"\xff")
    with pytest.raises(AuthError, match="proved nothing"):
        heard(None)
