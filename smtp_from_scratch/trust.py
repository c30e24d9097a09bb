"""Who sent this? SPF, DKIM and DMARC: letters signed, checked, refused (RFC 7208, RFC 6376, RFC 7489)."""
# Exported from notebooks/25_trust.ipynb; edit the notebook.

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from hashlib import sha256
from typing import IO

from .canonical import body_hash
from .dkim import find_key, read_signature, signature_field, without_value
from .dmarc import Policies
from .envelope import Envelope
from .fields import Changed, Finding, author_domains, authority_of, changed, name_of, read_header, results_field
from .keys import Sign, ed25519_verifies, padded
from .questions import BadRecord, NoAnswer, Questions
from .resolver import Records
from .session import Deliver
from .spf import Caller, Term, expand, parse_record, validated
from .wire import Reply

__all__ = [
    "spf_record", "RESULTS", "first_match", "evaluate", "check_spf", "relaxed_field", "select", "signed_octets",
    "rsa_verifies", "check_signature", "SIGNED", "Signer", "aligned", "check_dmarc", "MOST_SIGNATURES", "Trust",
]


# %% spf-record
def spf_record(texts: Iterable[str]) -> str | None:
    """The SPF record among a domain's TXT records, if there is one; BadRecord for two (RFC 7208 §4.5)."""
    found = [text for text in texts if text.split(" ")[0].lower() == "v=spf1"]
    if len(found) > 1:
        raise BadRecord("two records, and nobody knows which of them counts")
    return found[0] if found else None


RESULTS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}


def first_match(terms: Iterable[Term], hits: Callable[[Term], bool]) -> str | None:
    """What the first term that hits says; those after it are not asked (RFC 7208 §4.6.2)."""
    return next((RESULTS[term.qualifier] for term in terms if hits(term)), None)


# %% matches
def matches(term: Term, domain: str, caller: Caller, ask: Questions) -> bool:
    """Whether a term of a domain's record hits (RFC 7208 §5); raises BadRecord, NoAnswer."""
    match term.name:
        case "all": return True
        case "ip4" | "ip6": return caller.is_in([term.value], term)
    ask.spend()                                # all others ask the DNS
    name = expand(term.value, domain, caller, ask)
    match term.name:
        case "include":
            result = evaluate(name, caller, ask)
            if result == "none":
                raise BadRecord(f"{name} has no record to include")
            return result == "pass"
        case "a": return caller.is_in(ask.ask(name, caller.kind), term)
        case "mx": return any(caller.is_in(ask.ask(host, caller.kind), term) for host in ask.hosts(name))
        case "exists": return bool(ask.ask(name, "A"))
    return any(f".{found}".lower().endswith(f".{name}".lower()) for found in validated(caller, ask))       # ptr


# %% evaluate
def evaluate(domain: str, caller: Caller, ask: Questions) -> str:
    """What a domain's record says about a caller (RFC 7208 §4.6); raises BadRecord, NoAnswer."""
    record = spf_record(ask.texts(domain))
    if record is None:
        return "none"
    terms, redirect = parse_record(record)
    found = first_match(terms, lambda term: matches(term, domain, caller, ask))
    if found or not redirect:
        return found or "neutral"
    ask.spend()
    result = evaluate(expand(redirect, domain, caller, ask), caller, ask)
    if result == "none":
        raise BadRecord("redirect= leads to a domain without a record")
    return result


# %% check-spf
def check_spf(envelope: Envelope, resolver: Records) -> Finding:
    """SPF for the domain of the reverse-path; for `<>`, the name that the caller gave (RFC 7208 §2.4)."""
    about, reason = "smtp.mailfrom" if envelope.sender else "smtp.helo", ""
    try:
        caller = Caller(envelope.peer, envelope.sender, envelope.hello)
    except ValueError:                         # a caller on this machine, on a path
        return Finding("spf", "none", reason="the caller has no address")
    try:
        result = evaluate(caller.domain, caller, Questions(resolver))
    except (BadRecord, NoAnswer) as error:
        result, reason = error.result, str(error)
    return Finding("spf", result, caller.domain, about, reason)


# %% relaxed-field
def relaxed_field(field: bytes) -> bytes:
    """A header field as `relaxed` sees it: unfolded, its white space small, its name too (RFC 6376 §3.4.2)."""
    name, _, value = field.partition(b":")
    value = re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b""))
    return name.strip(b" \t").lower() + b":" + value.strip(b" ") + b"\r\n"


# %% select
def select(fields: Iterable[bytes], names: Iterable[str]) -> list[bytes]:
    """The fields that these names mean, in this order; of equals the lowest first (RFC 6376 §5.4.2)."""
    left: dict[str, list[bytes]] = {}
    for field in fields:
        left.setdefault(name_of(field), []).append(field)
    return [left[name].pop() for name in names if left.get(name)]


def signed_octets(field: bytes, fields: Iterable[bytes], names: Iterable[str], how: str) -> bytes:
    """What a signature signs: the fields it names, then itself with an empty `b=` (RFC 6376 §3.7)."""
    canonical = relaxed_field if how == "relaxed" else bytes
    covered = select([other for other in fields if other is not field], names)
    return b"".join(map(canonical, covered)) + canonical(without_value(field)).removesuffix(b"\r\n")


# %% rsa-verifies
def rsa_verifies(digest: bytes, signature: bytes, n: int, e: int) -> bool:
    """Whether a signature of RSA is right (RFC 8017 §8.2.2): compared as a whole, and nothing in it is read."""
    size, number = (n.bit_length() + 7) // 8, int.from_bytes(signature)
    return len(signature) == size and number < n and pow(number, e, n) == padded(digest, size)


# %% check-signature
def check_signature(field: bytes, fields: list[bytes], hash_of: Callable[[str], bytes], ask: Questions,
                    now: float) -> Finding:
    """Whether a signature holds, and whose it is (RFC 6376 §6.1). `hash_of("relaxed")` is that of the body."""
    found = partial(Finding, "dkim")
    try:
        said = read_signature(field)
        found = partial(Finding, "dkim", domain=said.domain, about="header.d")
        key = find_key(said, ask, now)
        if hash_of(said.body) != said.body_hash:
            return found("fail", reason="the body is another one")
        digest = sha256(signed_octets(field, fields, said.names, said.header)).digest()
        holds = (rsa_verifies(digest, said.value, key.n, key.e) if key.kind == "rsa"
                 else ed25519_verifies(digest, said.value, key.raw))
        return found("pass") if holds else found("fail", reason="the header is another one, or the key")
    except (ValueError, NoAnswer) as error:    # those of ours say which result they are
        return found(getattr(error, "result", "permerror"), reason=str(error))


# %% signer
SIGNED = ("from to cc subject date message-id reply-to in-reply-to references "
          "mime-version content-type content-transfer-encoding").split()


class Signer:
    """Signs for a domain (RFC 6376 §5); `sign(octets)` is a signature, as of `keys.signing_key`."""

    def __init__(self, domain: str, selector: str, sign: Sign, algorithm: str = "rsa-sha256") -> None:
        self.domain, self.selector, self.sign, self.algorithm = domain, selector, sign, algorithm

    def field(self, fields: list[bytes], body: IO[bytes], start: int) -> bytes:
        """The DKIM-Signature; it names each field once more than it is there, so that nobody can add one."""
        have = [name_of(field) for field in fields]
        names = [name for name in SIGNED for _ in range(have.count(name) + 1)]
        tags = {"v": "1", "a": self.algorithm, "c": "relaxed/relaxed", "d": self.domain, "s": self.selector,
                "h": ":".join(names), "bh": base64.b64encode(body_hash(body, start, "relaxed")).decode(),
                "t": f"{time.time():.0f}"}
        value = self.sign(signed_octets(signature_field(tags), fields, names, "relaxed"))
        return signature_field(tags, base64.b64encode(value).decode())

    def signed(self, envelope: Envelope, body: IO[bytes]) -> Changed | None:
        """A letter with a signature; None for one that is not from our domain."""
        try:
            fields, start = read_header(body)
            ours = all(f".{domain}".endswith(f".{self.domain}") for domain in author_domains(fields))
        except ValueError:                     # nobody could check a signature of that
            return None
        return ([self.field(fields, body, start), *fields], start) if ours else None

    def deliver(self, deliver: Deliver) -> Deliver:
        """A delivery that signs first."""
        return changed(deliver, self.signed)


# %% check-dmarc
def aligned(one: str, author: str, strict: bool, organization: Callable[[str], str]) -> bool:
    """Whether a domain is the author's; unless `strict`, one of the same owner will do (RFC 7489 §3.1)."""
    return one == author or (not strict and bool(one) and organization(one) == organization(author))


def check_dmarc(author: str, findings: Iterable[Finding], policies: Policies) -> tuple[Finding, str]:
    """Whether anything that passed vouches for the author, and what is wanted if not (RFC 7489 §6.6.2)."""
    found, results = partial(Finding, "dmarc", domain=author, about="header.from"), set[str]()
    useful = [finding for finding in findings if finding.result in ("pass", "temperror")]
    try:
        policy = policies.policy(author)
        if policy is None:
            return found("none"), "none"
        for finding in useful:
            if aligned(finding.domain, author, finding.method in policy.strict, policies.organization):
                results.add(finding.result)
    except NoAnswer as error:                  # whatever the policy is: the author's own domain would do
        own = any(finding.result == "pass" and finding.domain == author for finding in useful)
        return found("temperror", reason=str(error)), "none" if own else "reject"
    result = min(results, default="fail")      # "pass" comes before "temperror"
    return found(result, reason="" if result == "pass" else f"the domain asks for {policy.wants}"), policy.wants


# %% judged
def judged(authors: Iterable[str], findings: list[Finding], policies: Policies
           ) -> tuple[list[Finding], Reply | None]:
    """What was found, DMARC included, and a refusal where an author's domain asks for one (RFC 7372 §3.3)."""
    refusal = None
    for author in authors:
        dmarc, wants = check_dmarc(author, findings, policies)
        findings = [*findings, dmarc]
        match dmarc.result, wants:
            case "fail", "reject":
                refusal = Reply(550, f"{author} says that this letter is not from there", "5.7.26")
            case "temperror", "reject":        # not now: the caller keeps it
                refusal = refusal or Reply(451, f"no answer now about {author}", "4.4.3")
    return findings, refusal


# %% trust
MOST_SIGNATURES = 5                            # of a letter that are looked at: each costs a question


class Trust:
    """Asks of a stranger's letter who sent it, refuses what the author's domain disowns, notes the rest."""

    def __init__(self, hostname: str, resolver: Records,
                 organization: Callable[[str], str] | None = None) -> None:
        self.hostname, self.resolver, self.organization = hostname.lower(), resolver, organization

    def findings(self, envelope: Envelope, fields: list[bytes], body: IO[bytes], start: int) -> list[Finding]:
        """What SPF says, and DKIM about each signature."""
        ask, hash_of = Questions(self.resolver), lru_cache(lambda how: body_hash(body, start, how))
        signatures = [field for field in fields if name_of(field) == "dkim-signature"][:MOST_SIGNATURES]
        return [check_spf(envelope, self.resolver),
                *(check_signature(field, fields, hash_of, ask, time.time()) for field in signatures)]

    def checked(self, envelope: Envelope, body: IO[bytes]) -> Changed | Reply:
        """A letter with what was found on top, and without what strangers found in our name (RFC 8601 §5)."""
        found, refusal = [Finding("auth", "pass", envelope.user, "smtp.auth")], None
        try:
            fields, start = read_header(body)
            authors = [] if envelope.user else author_domains(fields)
        except ValueError as error:
            return Reply(554, str(error), "5.6.0")
        if not envelope.user:                  # whoever has logged in is no stranger
            policies = Policies(Questions(self.resolver), self.organization)
            found, refusal = judged(authors, self.findings(envelope, fields, body, start), policies)
        kept = [field for field in fields if authority_of(field) not in ("", self.hostname)]
        return refusal or ([results_field(self.hostname, found), *kept], start)

    def deliver(self, deliver: Deliver) -> Deliver:
        """A delivery of what is not refused."""
        return changed(deliver, self.checked)
