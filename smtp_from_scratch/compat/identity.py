"""EHLO, STARTTLS and AUTH behind the names of `smtplib`."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable

from smtp_from_scratch.auth import cram_md5
from smtp_from_scratch.client import (
    SMTPException,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from smtp_from_scratch.compat.answers import Answer, refusal
from smtp_from_scratch.compat.session import Commands
from smtp_from_scratch.ehlo import read_offers
from smtp_from_scratch.sasl import SMTPAuthenticationError
from smtp_from_scratch.starttls import secure_client
from smtp_from_scratch.wire import Reply

MOST_CHALLENGES = 5
AuthObject = Callable[..., "str | None"]        # takes a challenge, or nothing when it may begin


class Hello(Commands):
    """Who we are, and what the server offers."""

    helo_resp: bytes | None = None
    ehlo_resp: bytes | None = None
    ehlo_msg = "ehlo"
    does_esmtp = False
    esmtp_features: dict[str, str]

    def helo(self, name: str = "") -> Answer:
        """Say HELO."""
        answer = self.docmd("helo", name or self.local_hostname)
        self.helo_resp = answer[1]
        return answer

    def ehlo(self, name: str = "") -> Answer:
        """Say EHLO, and note in `esmtp_features` what is offered."""
        self.esmtp_features = {}
        code, text = self.docmd(self.ehlo_msg, name or self.local_hostname)
        if code == -1 and not text:             # some hang up at EHLO
            self.close()
            raise SMTPServerDisconnected("Server not connected")
        self.ehlo_resp = text
        if code == 250:
            self.does_esmtp = True
            offers = read_offers(Reply(250, text.decode("latin-1").replace("\r", "").replace("\0", "")))
            self.esmtp_features = {keyword.lower(): rest.strip() for keyword, rest in offers.items()}
        return code, text

    def ehlo_or_helo_if_needed(self) -> None:
        """EHLO, or HELO, if neither was said; raises SMTPHeloError."""
        if self.helo_resp is None and self.ehlo_resp is None and not 200 <= self.ehlo()[0] <= 299:
            answer = self.helo()
            if not 200 <= answer[0] <= 299:
                raise refusal(SMTPHeloError, answer)

    def has_extn(self, opt: str) -> bool:
        """Whether the server offers an extension."""
        return opt.lower() in self.esmtp_features

    def forget(self) -> None:
        """Forget what the server has said of itself."""
        self.helo_resp = self.ehlo_resp = None
        self.esmtp_features, self.does_esmtp = {}, False

    def starttls(self, keyfile: str | None = None, certfile: str | None = None,
                 context: ssl.SSLContext | None = None) -> Answer:
        """Seal the line. SMTPNotSupportedError, SMTPResponseException, ssl.SSLError."""
        self.ehlo_or_helo_if_needed()
        if not self.has_extn("starttls"):
            raise SMTPNotSupportedError("STARTTLS extension not supported by server.")
        context = context_of(keyfile, certfile, context)
        answer = self.docmd("STARTTLS")
        if answer[0] != 220:
            raise refusal(SMTPResponseException, answer)
        self.play(secure_client(self.session, context))
        self.forget()
        return answer


def context_of(keyfile: str | None, certfile: str | None, context: ssl.SSLContext | None) -> ssl.SSLContext:
    """The context, or one that verifies, with this certificate of ours if there is one."""
    if context is not None and (keyfile is not None or certfile is not None):
        raise ValueError("context and keyfile or certfile arguments are mutually exclusive")
    if context is None:
        context = ssl.create_default_context()
        if certfile:
            context.load_cert_chain(certfile, keyfile)
    return context


class Login(Hello):
    """Who we are, proved."""

    user = password = ""
    _auth_challenge_count = 0

    def auth(self, mechanism: str, authobject: AuthObject, *, initial_response_ok: bool = True) -> Answer:
        """AUTH: `authobject` answers each challenge, and begins where it may; raises SMTPAuthenticationError."""
        initial = authobject() if initial_response_ok else None
        words = [mechanism.upper(), *([] if initial is None else [encoded(initial)])]
        self._auth_challenge_count = len(words) - 1
        answer = self.docmd("AUTH", " ".join(words))
        while answer[0] == 334:
            self._auth_challenge_count += 1
            answer = self.docmd(encoded(authobject(base64.decodebytes(answer[1])) or ""))
            if self._auth_challenge_count > MOST_CHALLENGES:
                raise SMTPException(f"Server AUTH mechanism infinite loop. Last response: {answer!r}")
        if answer[0] in (235, 503):             # 503: we have done so before
            return answer
        raise refusal(SMTPAuthenticationError, answer)

    def auth_cram_md5(self, challenge: bytes | None = None) -> str | None:
        """CRAM-MD5, for `auth`, with `user` and `password`."""
        return None if challenge is None else f"{self.user} {cram_md5(self.password, challenge)}"

    def auth_plain(self, challenge: bytes | None = None) -> str:
        """PLAIN, for `auth`, with `user` and `password`."""
        return f"\0{self.user}\0{self.password}"

    def auth_login(self, challenge: bytes | None = None) -> str:
        """LOGIN, for `auth`, with `user` and `password`."""
        return self.user if challenge is None or self._auth_challenge_count < 2 else self.password

    def login(self, user: str, password: str, *, initial_response_ok: bool = True) -> Answer:
        """Prove who we are, by what the server offers, one mechanism after another until one is right.

        SMTPHeloError, SMTPAuthenticationError, SMTPNotSupportedError; SMTPException if we know none of them.
        """
        self.ehlo_or_helo_if_needed()
        if not self.has_extn("auth"):
            raise SMTPNotSupportedError("SMTP AUTH extension not supported by server.")
        offered, refused = self.esmtp_features["auth"].split(), None
        self.user, self.password = user, password
        for name in ("CRAM-MD5", "PLAIN", "LOGIN"):
            if name in offered:
                try:
                    method = getattr(self, f"auth_{name.lower().replace('-', '_')}")
                    return self.auth(name, method, initial_response_ok=initial_response_ok)
                except SMTPAuthenticationError as error:
                    refused = error
        raise refused or SMTPException("No suitable authentication method found.")


def encoded(text: str) -> str:
    """What a mechanism says, as AUTH writes it."""
    return base64.b64encode(text.encode()).decode()
