"""OAUTHBEARER and XOAUTH2: tokens in place of passwords, at both ends."""
from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from smtp_from_scratch import Client, Server, SMTPAuthenticationError
from smtp_from_scratch.oauth import Bearer, OAuthBearer, Tokens, XOAuth2
from smtp_from_scratch.sasl import BadResponse
from smtp_from_scratch.transcript import Transcript

MECHANISMS = [OAuthBearer, XOAuth2]
TOKENS = {"ana@rio.example": "mango.1", "a=b,c@rio.example": "papaya=="}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(users=Tokens(lambda user, token: TOKENS.get(user) == token), insecure_auth=True,
                require_auth=True) as one:
        yield one


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("user", TOKENS)
def test_a_good_token_lets_in(server: Server, mechanism: type[Bearer], user: str) -> None:
    with Client(*server.address) as smtp:
        chosen = smtp.login(user, TOKENS[user], mechanisms=[mechanism()], insecure=True)
        assert chosen == mechanism.name and smtp.sendmail("ana@rio.example", "kenji@tokyo.example", "hi").accepted
    assert server.messages[0].envelope.user == user


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_bad_token_takes_one_turn_more_and_keeps_the_session(server: Server, mechanism: type[Bearer]) -> None:
    with Client(*server.address, tap=(said := Transcript())) as smtp:
        with pytest.raises(SMTPAuthenticationError) as caught:
            smtp.login("ana@rio.example", "kiwi", mechanisms=[mechanism()], insecure=True)
        assert caught.value.reply.code == 535
        assert smtp.login("ana@rio.example", "mango.1", mechanisms=[mechanism()], insecure=True)
    [refusal] = [line.data for line in said.lines if line.role == "S" and line.data.startswith(b"334 ")]
    assert json.loads(base64.b64decode(refusal[4:])) == dict(mechanism.failure)
    assert "mango" not in str(said) and "kiwi" not in str(said)


def test_a_function_fetches_the_token_at_each_login(server: Server) -> None:
    fetched = []

    def fetch() -> str:
        fetched.append(1)
        return "mango.1"

    client = Client(user="ana@rio.example", token=fetch, insecure_auth=True)
    for _ in range(2):
        client.connect(*server.address)
        client.sendmail("ana@rio.example", "kenji@tokyo.example", "hi")
        client.quit()
    assert len(fetched) == 2 and len(server.messages) == 2
    assert server.messages[1].envelope.user == "ana@rio.example"


def test_the_server_offers_what_its_store_can_tell(server: Server) -> None:
    with Client(*server.address) as smtp:
        assert smtp.offered["AUTH"] == "OAUTHBEARER XOAUTH2"


def test_as_the_rfc_and_the_provider_write_it() -> None:
    """RFC 7628 §4.1, and the example that Google publishes for XOAUTH2."""
    said = (b"n,a=user@example.com,\1host=server.example.com\1port=143\1"
            b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1")
    assert OAuthBearer().read(said) == ("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
    example = ("dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB2RjlkZnQ0cW1UYzJOdmIzUmxja0Js"
               "ZEhSaGRtbHpkR0V1WTI5dENnPT0BAQ==")
    assert XOAuth2().read(base64.b64decode(example)) == ("someuser@example.com",
                                                         "vF9dft4qmTc2Nvb3RlckBldHRhdmlzdGEuY29tCg==")
    assert XOAuth2().write(*XOAuth2().read(base64.b64decode(example))) == base64.b64decode(example)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("wrong", [
    b"", b"\0ana\0mango", b"user=ana", b"user=\1auth=Bearer x\1\1", b"user=ana\1auth=Basic x\1\1",
    b"n,a=,\1auth=Bearer x\1\1", b"n,a=ana,\1auth=Bearer x\1", b"n,a=ana,\1host=x\1\1",
    b"n,a=a=zz,\1auth=Bearer x\1\1", b"n,a=ana,\1auth=Bearer a b\1\1",
    b"y,,\1auth=Bearer x\1\1", b"\xff", b"user=ana\1auth=Bearer \1\1"])
def test_what_has_another_form_is_refused(mechanism: type[Bearer], wrong: bytes) -> None:
    with pytest.raises(BadResponse):
        mechanism().read(wrong)


@pytest.mark.parametrize("wrong", ["", "two words", "line\r\n", "x\1auth=Bearer y", "ü"])
def test_a_token_that_is_none_is_never_said(server: Server, wrong: str) -> None:
    with Client(*server.address, tap=(said := Transcript())) as smtp:
        with pytest.raises(ValueError):
            smtp.login("ana@rio.example", wrong, mechanisms=[XOAuth2()], insecure=True)
    assert "AUTH XOAUTH2" not in str(said)


@pytest.mark.parametrize("answer", [None, 1, "yes", {}])
def test_only_true_is_true(answer: object) -> None:
    assert not Tokens(lambda user, token: answer).verify_token("ana", "x")      # type: ignore[arg-type, return-value]


def test_a_token_and_a_password_contradict_each_other() -> None:
    for wrong in ({"user": "ana", "password": "x", "token": "y"}, {"token": "y"}, {"user": "ana"}):
        with pytest.raises(ValueError):
            Client(**wrong)                    # type: ignore[arg-type]
