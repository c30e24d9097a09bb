"""`serve --queue FILE --relay`: a user's letter goes to whom the DNS names, a stranger's goes nowhere."""
from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import pytest

from smtp_from_scratch import Envelope, Server
from smtp_from_scratch.__main__ import main
from smtp_from_scratch.cli.outgoing import Outgoing
from smtp_from_scratch.cli.serve import ours
from smtp_from_scratch.relay import Zone

LETTER = b"From: ana@rio.example\r\nSubject: Choir\r\n\r\nSaturday.\r\n"
SERVE = ["serve", "--smtp", "127.0.0.1:0", "--domain", "rio.example"]


def outgoing(tmp_path: Path) -> Outgoing:
    options = argparse.Namespace(queue=str(tmp_path / "queue"), next_host=None, next_tls=False, relay=True)
    return Outgoing(options, "mx.rio.example", ours(["rio.example"]), lambda envelope, body: None)


def test_a_letter_goes_to_whom_the_dns_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dns.resolver", reason="dnspython is not installed")
    with Server() as tokyo:
        zone = Zone({"tokyo.example": [(10, "mx.tokyo.example")]}, {"mx.tokyo.example": [tokyo.address]})
        monkeypatch.setattr("smtp_from_scratch.resolver.DnsResolver", lambda: zone)
        onward = outgoing(tmp_path)
        with onward.lines() as lines:
            deliver = onward.onward(lines)
            for recipient, code in (("yui@tokyo.example", 250), ("bo@oslo.example", 550)):
                said = deliver(Envelope("ana@rio.example", [recipient]), io.BytesIO(LETTER))
                assert isinstance(said, dict) and said[recipient].code == code
        [message] = tokyo.messages
    assert message.envelope.hello == "mx.rio.example" and bytes(message.data) == LETTER
    assert deliver(Envelope("ana@rio.example", ["kenji@rio.example"]), io.BytesIO(LETTER)) is None, "ours stays here"


def test_options_that_contradict_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queue = ["--queue", str(tmp_path / "queue")]
    for words, says in ((["--relay"], "belong together"), (queue, "belong together"),
                        ([*queue, "--relay", "--next-host", "127.0.0.1:25"], "finds the next hosts"),
                        ([*queue, "--relay", "--next-tls"], "finds the next hosts")):
        assert main([*SERVE, *words]) == 2
        assert says in capsys.readouterr().err
    assert main(["serve", "--smtp", "127.0.0.1:0", *queue, "--relay"]) == 2
    assert "--domain says which are yours" in capsys.readouterr().err


def test_without_dnspython_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "dns.resolver", None)
    assert main([*SERVE, "--queue", str(tmp_path / "queue"), "--relay"]) == 2
    assert "smtp-from-scratch[relay]" in capsys.readouterr().err


def test_without_a_dns_to_ask_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    resolver = pytest.importorskip("dns.resolver", reason="dnspython is not installed")

    def nobody() -> None:
        raise resolver.NoResolverConfiguration

    monkeypatch.setattr(resolver, "Resolver", nobody)
    assert main([*SERVE, "--queue", str(tmp_path / "queue"), "--relay"]) == 2
    assert "no DNS to ask" in capsys.readouterr().err
