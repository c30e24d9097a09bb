"""Letters that are signed: the course's own key, and a letter that somebody else has signed."""
from __future__ import annotations

from typing import NamedTuple

__all__ = ["CourseKey", "course_key", "football"]


class CourseKey(NamedTuple):
    """A key of RSA whose secret `d` everybody can read. It is for this course, and for nothing else."""

    n: int
    e: int
    d: int

    @property
    def record(self) -> str:
        """What its owner publishes."""
        from smtp_from_scratch.keys import der_of, key_record

        return key_record(der_of(self.n, self.e))


_N = int(
    "d2a1d7434a1cfe649b849c143ce04378bcc5ec94bbd350e7fea04c33cb86c8ba0734da22174720bb6416ce6975ae16ce992c"
    "170ed7259434b17c768c0fdcb6ea642484839a55103297069d100d81d8be6995fd9d8a535508179e77f210c2d1b347aff11c"
    "cc5055c435b52fee190c57f2a03e0cbe1708f1e0a4ee5e90c04cce586aff15ccc5e6c794d0cdba1c0a1d1362f623d062fdcf"
    "6a708523b8dff3d69c2cf6258012f61f10bef5aabe74be0eb30218d2ebbfb35c853c438ab5d9f12d6510345c31fc48fae8f9"
    "f28fab469895787737b76522f25cf2fa979ec022419cc90c37e4b225503c096b1f507071bb9be7f920d5e996da6df7ded8df"
    "2d587affc143", 16)
_D = int(
    "4fb372af611768816c417907c5633cd4ae659c58495c34249cfa4deb596b967fa1e37358ec02fb953cd1ce682461ebfa6006"
    "497151a2c41a4e40a0e0edcda01f40267b480af97e080e92af92d7f196b0b2665191afba499626cdcd6838c467321601b2d4"
    "29518aaa94820b716663ffd16ca61e0f3dcb222f5569673a11b1de6ff1700a0a4ff229c65f4484b610f7425852b1c718b463"
    "b3596f35885a8ac3085805b1be0dff7a530b12e56b5fff9fa2dcc206e06eee104ee3f0c3078fdc350d7888f414e355de37a8"
    "9ea745b83ddb9341e10b123d6be6e9386977842524aa1c34768a012c039bb55005732c0fb3eb2c59e23fc0f0dbcebf33ec81"
    "e58aab798b81", 16)


def course_key() -> CourseKey:
    """The key with which Rio signs in this course."""
    return CourseKey(_N, 65537, _D)


_FOOTBALL = """\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
"""
_KEYS = {
    "brisbane": "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "test": "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2j"
            "LQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G"
            "+2kryOTIKT+l/K4w3QIDAQAB",
}


def football() -> tuple[bytes, dict[str, list[str]]]:
    """The letter that RFC 8463 shows (Appendix A.3), and the keys that its domain publishes."""
    letter = _FOOTBALL.replace("\n", "\r\n").encode()
    return letter, {f"{selector}._domainkey.football.example.com TXT": [key] for selector, key in _KEYS.items()}
