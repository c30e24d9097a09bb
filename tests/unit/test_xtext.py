"""xtext (RFC 3461 §4), and the mailbox in AUTH= (RFC 4954 §5)."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_from_scratch.status import CodedSession
from smtp_from_scratch.xtext import check_auth, decode_xtext, encode_xtext


@pytest.mark.parametrize("text, written", [
    ("ana@rio.example", "ana@rio.example"), ("a+b=c", "a+2Bb+3Dc"), ("a b", "a+20b"), ("é", "+C3+A9"), ("", ""),
    ("\x7f\0", "+7F+00"), ("+41", "+2B41"), ("~!", "~!")])
def test_xtext(text: str, written: str) -> None:
    assert encode_xtext(text) == written and decode_xtext(written) == text


@pytest.mark.parametrize("text", ["=", "a=b", "+", "+4", "+4g", "+c3+a9", " ", "a b", "é", "+C3", "a\n", "\x7f"])
def test_what_is_not_xtext(text: str) -> None:
    with pytest.raises(ValueError):
        decode_xtext(text)


@given(st.text())
def test_xtext_gives_back_any_text_and_fits_a_parameter(text: str) -> None:
    coded = encode_xtext(text)
    assert decode_xtext(coded) == text
    assert all("!" <= c <= "~" and c != "=" for c in coded)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126)))
def test_xtext_has_one_reading(text: str) -> None:
    """What is xtext decodes and encodes to a spelling that means the same; what is none is refused."""
    try:
        meant = decode_xtext(text)
    except ValueError:
        return
    assert decode_xtext(encode_xtext(meant)) == meant


@pytest.mark.parametrize("value, good", [
    ("<>", True), ("ana@rio.example", True), ("e+3Dmc2@sender.example", True), ("jos+C3+A9@x.example", True),
    (None, False), ("ana", False), ("@x.example", False), ("ana@", False), ("+3C+3E", False), ("e+3", False),
    ("a+zz@x.example", False),
    ("a+ff@x.example", False), ("a=b@x.example", False), ("jos+FF@x.example", False),
])
def test_the_parameter_of_mail(value: str | None, good: bool) -> None:
    found = check_auth(CodedSession(), value)
    assert found is None if good else found and found.code == 501
