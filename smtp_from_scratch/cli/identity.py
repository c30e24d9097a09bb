"""`serve --verify-senders` and `--sign`: who wrote a letter, and that ours are ours."""
from __future__ import annotations

import argparse
from typing import IO, TYPE_CHECKING, Any

from smtp_from_scratch.fields import changed
from smtp_from_scratch.session import Deliver
from smtp_from_scratch.stream import BLOCK

if TYPE_CHECKING:
    from smtp_from_scratch.bodies import Spool
    from smtp_from_scratch.envelope import Envelope
    from smtp_from_scratch.resolver import Records
    from smtp_from_scratch.trust import Signer

HINT = "pip install 'smtp-from-scratch[trust]'"


def add_identity_options(serve: argparse.ArgumentParser) -> None:
    """The options."""
    serve.add_argument("--verify-senders", action="store_true", help="at --smtp, ask SPF, DKIM and DMARC of strangers' "
                       "letters, refuse what the author's domain disowns, and write down the rest")
    serve.add_argument("--sign", action="append", metavar="DOMAIN:SELECTOR:KEYFILE", default=[],
                       help="sign what users at --submission and --submissions write from this domain; may be repeated")


def signers(texts: list[str]) -> list[Signer]:
    """A signer for each `DOMAIN:SELECTOR:KEYFILE`. ValueError for what is none, and for a file without a key."""
    return [signer(text) for text in texts]


def signer(text: str) -> Signer:
    """A signer; ValueError says what is wrong."""
    from smtp_from_scratch.keys import signing_key
    from smtp_from_scratch.questions import is_domain
    from smtp_from_scratch.trust import Signer

    domain, _, rest = text.partition(":")
    selector, _, path = rest.partition(":")
    if not path or not is_domain(f"{selector}._domainkey.{domain}"):
        raise ValueError(f"--sign takes DOMAIN:SELECTOR:KEYFILE, not {text!r}")
    try:
        with open(path, "rb") as file:
            algorithm, sign, _ = signing_key(file.read())
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot sign with {path}: {error}") from None
    except ImportError:
        raise ValueError(f"--sign needs the library cryptography: {HINT}") from None
    return Signer(domain.lower(), selector, sign, algorithm)


def resolver() -> Records:
    """Whoever answers about strangers; ValueError without dnspython, or without a DNS to ask."""
    from smtp_from_scratch.resolver import DnsResolver

    try:
        return DnsResolver()
    except ImportError:
        raise ValueError(f"--verify-senders asks the DNS with dnspython: {HINT}") from None
    except Exception as error:                  # dns.resolver.NoResolverConfiguration
        raise ValueError(f"--verify-senders has no DNS to ask: {error}") from None


def checked(deliver: Any, role: str, options: argparse.Namespace, hostname: str) -> Deliver:
    """A delivery with what the options ask for in this role. ValueError."""
    if role == "smtp" and options.verify_senders:
        from smtp_from_scratch.trust import Trust

        return Trust(hostname, resolver()).deliver(deliver)
    for each in (found := signers(options.sign) if role in ("submission", "submissions") else []):
        deliver = each.deliver(deliver)
    return changed(deliver, in_seven_bits) if found else deliver


def in_seven_bits(envelope: Envelope, body: IO[bytes]) -> Spool | None:
    """The letter in 7 bits, before it is signed: a host on the way could not change it afterwards (RFC 6376 §5.3).

    None for one that is so already, and for one that cannot be had so: that is signed as it is.
    """
    from smtp_from_scratch.sevenbit import seven_bit

    if all(block.isascii() for block in iter(lambda: body.read(BLOCK), b"")):
        return None
    body.seek(0)
    try:
        return seven_bit(body)
    except ValueError:
        return None
