"""SCRAM-SHA-256 (RFC 5802, 7677): the RFC's values, dishonest servers and clients, and the store of keys."""
from __future__ import annotations

import base64
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtp_from_scratch import scram
from smtp_from_scratch.auth import (
    Auth,
    AuthError,
    BadResponse,
    Login,
    Mechanism,
    Passwords,
    Plain,
    SMTPAuthenticationError,
    Users,
)
from smtp_from_scratch.conversation import Work, rehearse
from smtp_from_scratch.ehlo import ClientSession, ExtendedSession, Offer, closed, hear, open_session, serve_extended
from smtp_from_scratch.scram import (
    BadUserFile,
    Keys,
    ScramKeys,
    ScramSha256,
    UserFile,
    decode_name,
    decoy,
    encode_name,
    saslprep,
    scram_keys,
)

USER, PASSWORD = "user", "pencil"                       # RFC 7677 §3
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
OURS, THEIRS = "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = (b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
KEYS = scram_keys(PASSWORD, SALT, 4096)
USERS = Keys({USER: KEYS})


class Exam:
    """The server's end; `say` answers its last challenge, and `work` counts what it had to look up."""

    def __init__(self, users: Users = USERS, mechanism: Mechanism | None = None) -> None:
        self.talk = (mechanism or ScramSha256(lambda: THEIRS)).examine(users)
        self.work = 0
        self.user: str | None = None
        assert next(self.talk) == b""

    def say(self, response: bytes) -> bytes | None:
        answer: object = response
        while True:
            try:
                said = self.talk.send(answer)
            except StopIteration as end:
                self.user = end.value
                return None
            if not isinstance(said, Work):
                return said
            self.work += 1
            answer = said.function()


# --- RFC 7677 §3 -------------------------------------------------------------------------------------------------


def test_the_server_says_what_the_rfc_says() -> None:
    exam = Exam()
    assert exam.say(CLIENT_FIRST) == SERVER_FIRST
    assert exam.say(CLIENT_FINAL) == SERVER_FINAL
    assert exam.say(b"") is None and exam.user == USER


def test_the_client_says_what_the_rfc_says() -> None:
    talk = ScramSha256(lambda: OURS).respond(USER, PASSWORD)
    assert next(talk) == CLIENT_FIRST
    assert talk.send(SERVER_FIRST) == CLIENT_FINAL
    assert talk.send(SERVER_FINAL) == b""
    with pytest.raises(StopIteration):
        talk.send(None)
