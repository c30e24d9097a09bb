"""The checks of `trust`: a record, its first hit, fields alike and chosen, a signature, names of one owner."""
from __future__ import annotations

import base64
import email
import hashlib
import io
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from smtp_from_scratch import trust as ours
from smtp_from_scratch.canonical import body_hash
from smtp_from_scratch.dkim import signature_field
from smtp_from_scratch.fields import read_header
from smtp_from_scratch.keys import padded
from smtp_from_scratch.lab.check import NotYet, Problem, check
from smtp_from_scratch.lab.wires.signed import course_key
from smtp_from_scratch.questions import BadRecord, Questions
from smtp_from_scratch.resolver import NameTable
from smtp_from_scratch.spf import Term, parse_record

RIO = "v=spf1 ip4:192.0.2.1 -all"


def blank(value: object) -> bool:
    """Whether this is still what the stub returns."""
    return value is ...


# --- your turn: the record -------------------------------------------------------------------------------------------

RECORDS: list[tuple[list[str], str | None, str]] = [
    ([RIO], RIO, "The one record."),
    (["google-site=1", RIO, "v=DKIM1; p="], RIO, "A domain has other TXT records, too."),
    (["V=SPF1 -all"], "V=SPF1 -all", "Capitals do not matter (RFC 7208 §4.5)."),
    (["v=spf1"], "v=spf1", "A record without terms is one."),
    (["v=spf10 -all", "v=spf1-all", "spf2.0/pra -all", " v=spf1 -all"], None,
     "A record begins with `v=spf1`, and a space or nothing follows."),
    ([], None, "No record is no mistake: return None."),
]


@check(
    hints=(
        "What is the first word of each text, and what if two texts begin alike?",
        'found = [text for text in texts if text.split(" ")[0].lower() == "v=spf1"]',
        "Collect the texts whose first word, up to a space, is `v=spf1` in any case of letters. Raise BadRecord if "
        "there are two. Return the one, as it is, or None.",
    ),
    passed="One record, or none; two are a mistake of the domain.",
)
def check_spf_record(my_spf_record: Callable[..., Any]) -> Iterator[Problem]:
    """The SPF record among the TXT records."""
    for texts, expected, rule in RECORDS:
        found = my_spf_record(list(texts))
        if blank(found) or (found is None and expected == RIO and len(texts) == 1):
            raise NotYet("return the record.")
        if found != expected:
            yield Problem(gave=f"{found!r:.100} for {texts}", wire="Another record counts, or none at all.",
                          look=f"It would be {expected!r}. {rule}")
    for texts in ([RIO, "v=spf1 +all"], [RIO, RIO], [RIO, "x", "V=SPF1"]):
        try:
            found = my_spf_record(list(texts))
        except BadRecord:
            continue
        yield Problem(gave=f"{found!r:.100} for {texts}", look="RFC 7208 §4.5: raise BadRecord for a second record.",
                      wire="Each receiver takes another of the two, and nobody knows who may send.")


# --- your turn: the first hit ----------------------------------------------------------------------------------------

HITS: list[tuple[str, set[str], str | None]] = [
    ("ip4:192.0.2.1 -all", {"ip4", "all"}, "pass"), ("ip4:192.0.2.1 -all", {"all"}, "fail"),
    ("a ~mx ?ip4:192.0.2.1 -all", {"mx", "ip4", "all"}, "softfail"), ("a mx ?all", {"all"}, "neutral"),
    ("-a +a", {"a"}, "fail"), ("a mx", set(), None), ("", set(), None), ("+all", {"all"}, "pass"),
]


@check(
    hints=(
        "Which terms are asked after one has hit?",
        "for term in terms: if hits(term): return RESULTS[term.qualifier]",
        "Go through the terms in order. At the first that hits, return what its qualifier means, and ask no more. "
        "After the loop return None.",
    ),
    passed="The first hit decides, and what comes after it is not asked.",
)
def check_first_match(my_first_match: Callable[..., Any]) -> Iterator[Problem]:
    """What the first hit says."""
    for record, hitting, expected in HITS:
        terms, asked = parse_record(f"v=spf1 {record}")[0], list[Term]()

        def hits(term: Term, asked: list[Term] = asked, hitting: set[str] = hitting) -> bool:
            asked.append(term)
            return term.name in hitting

        found = my_first_match(list(terms), hits)
        if blank(found) or (found is None and not asked and terms):
            raise NotYet("the loop waits.")
        if found != expected:
            yield Problem(gave=f"{found!r:.100} for {record!r}, where {sorted(hitting) or 'nothing'} would hit",
                          look=f"It would be {expected!r}: RFC 7208 §4.6.2.",
                          wire="A stranger passes, or a friend does not.")
        needed = next((number for number, term in enumerate(terms, 1) if term.name in hitting), len(terms))
        if len(asked) > needed:
            yield Problem(gave=f"{len(asked)} terms asked of {record!r}", look="Stop at the first hit.",
                          wire="Each question may cost one of the ten that a record has.")


# --- your turn: relaxed ----------------------------------------------------------------------------------------------

FIELDS: list[tuple[bytes, bytes, str]] = [
    (b"Subject: Choir\r\n", b"subject:Choir\r\n", "The name is in small letters, and no space is around the colon."),
    (b"SUBJect \t:\t Choir  \t\r\n", b"subject:Choir\r\n", "White space around the colon and at the end goes."),
    (b"To: a@b.example,\r\n\t c@d.example\r\n", b"to:a@b.example, c@d.example\r\n",
     "A folded field becomes one line; CR LF before white space goes, then the white space is one space."),
    (b"X: a  b\t\tc \t d\r\n", b"x:a b c d\r\n", "A run of spaces and tabs is one space."),
    (b"Date: Fri, 11 Jun 2027 20:00:00\r\n", b"date:Fri, 11 Jun 2027 20:00:00\r\n", "Only the first colon."),
    (b"X:\r\n", b"x:\r\n", "A field may be empty."),
    (b"X: \xe6\x9d\xb1\r\n", b"x:\xe6\x9d\xb1\r\n", "Octets stay."),
    (b"X: Aa\xc2\xa0b\x0c\r\n", b"x:Aa\xc2\xa0b\x0c\r\n", "White space here is space and tab, and nothing else."),
    (b"X: a\r\n \r\n b\r\n", b"x:a b\r\n", "Several folds."),
]


@check(
    hints=(
        "Which differences do servers on the way make, and which would a reader notice?",
        'value = re.sub(rb"[ \\t]+", b" ", value.replace(b"\\r\\n", b""))',
        "Part the field at its first colon. Of the name: white space off, small letters. Of the value: CR LF out, each "
        "run of spaces and tabs one space, then none at either end. Put a CR LF at the end.",
    ),
    passed="What a server on the way may change makes no difference any more.",
)
def check_relaxed_field(my_relaxed_field: Callable[..., Any]) -> Iterator[Problem]:
    """A header field, relaxed."""
    for field, expected, rule in FIELDS:
        found = my_relaxed_field(field)
        if blank(found) or found is None:
            raise NotYet("return the field.")
        if found != expected:
            yield Problem(gave=f"{found!r:.120} for {field!r}", look=f"It would be {expected!r}. {rule}",
                          wire="The two ends hash different octets, and an honest letter fails.")


# --- your turn: select -----------------------------------------------------------------------------------------------

HEADER = [b"Received: two\r\n", b"From: eve\r\n", b"received: one\r\n", b"FROM : ana\r\n", b"To: kenji\r\n"]
CHOICES: list[tuple[list[str], list[int], str]] = [
    (["from"], [3], "Of two, the lower one: what was there when the letter was signed is at the bottom."),
    (["from", "to"], [3, 4], "In the order of the names."), (["to", "from"], [4, 3], "In the order of the names."),
    (["from", "from"], [3, 1], "A name that is there twice takes the next one above."),
    (["from", "from", "from", "to"], [3, 1, 4], "What is not there counts as nothing."),
    (["date"], [], "What is not there counts as nothing."), ([], [], "No names, no fields."),
    (["received", "to", "received", "received"], [2, 4, 0], "Each name has its own place in the header."),
]


@check(
    hints=(
        "Servers put new fields on top. Where, then, are those that were there when Ana's server signed?",
        "left.setdefault(name_of(field), []).append(field), and later left[name].pop()",
        "Keep the fields of each name in a list, from the top down. For each name that is asked for, take the last one "
        "off its list. If the list is empty, or there is none, take nothing.",
    ),
    passed="From the bottom up, each field once.",
)
def check_select(my_select: Callable[..., Any]) -> Iterator[Problem]:
    """The fields that a signature covers."""
    for names, places, rule in CHOICES:
        fields = list(HEADER)
        found = my_select(fields, list(names))
        if blank(found) or found is None:
            raise NotYet("return a list of fields.")
        expected = [HEADER[place] for place in places]
        if not isinstance(found, list | tuple) or list(found) != expected:
            yield Problem(gave=f"{found!r:.200} for {names}", look=f"It would be {expected}. {rule}",
                          wire="The hash is of other octets, or a field on top is taken for one that was signed.")
        if fields != HEADER:
            yield Problem(gave="a header that is not the caller's any more", look="Use lists of your own.",
                          wire="The next signature of the letter finds fields missing.")


# --- your turn: a signature ------------------------------------------------------------------------------------------


def signed_with(number: int) -> bytes:
    """What the secret key makes of a number."""
    key = course_key()
    return pow(number, key.d, key.n).to_bytes(256)


def signatures() -> Iterator[tuple[str, bytes, bytes, bool]]:
    """What each signature is, a digest, the signature, and whether it is right."""
    key, digest = course_key(), hashlib.sha256(b"Monday").digest()
    right = signed_with(padded(digest, 256))
    plain = padded(digest, 256).to_bytes(256)
    yield "a right signature", digest, right, True
    yield "a signature of another text", hashlib.sha256(b"Tuesday").digest(), right, False
    yield "a signature with one bit changed", digest, bytes([*right[:-1], right[-1] ^ 1]), False
    yield "no signature, but what it should contain", digest, plain, False
    yield "the digest signed without its padding", digest, signed_with(int.from_bytes(digest)), False
    short = plain[:2] + b"\xff" * 8 + plain[-52:] + b"x" * (256 - 2 - 8 - 52)
    yield "padding that is too short, and garbage after the digest (CVE-2006-4339)", digest, signed_with(
        int.from_bytes(short)), False
    yield "the digest at the right place, and garbage in the padding", digest, signed_with(
        int.from_bytes(b"\0\1" + b"x" * (256 - 2 - 52) + plain[-52:])), False
    yield "a right signature with a zero before it", digest, b"\0" + right, False
    yield "a right signature plus n", digest, (int.from_bytes(right) + key.n).to_bytes(257), False
    yield "nothing", digest, b"", False


@check(
    hints=(
        "What would have come out of the signature if it were right, and can you make that yourself?",
        "pow(int.from_bytes(signature), e, n) == padded(digest, size)",
        "The size of `n` is `(n.bit_length() + 7) // 8` octets, and the signature has as many. Raise its number to the "
        "power `e`, modulo `n`. Compare with the whole of `padded(digest, size)`: look for nothing in it.",
    ),
    passed="You compare the whole, so there is nothing in which garbage could hide.",
    seconds=20,
)
def check_rsa_verifies(my_rsa_verifies: Callable[..., Any]) -> Iterator[Problem]:
    """Whether a signature is right."""
    key = course_key()
    for what, digest, signature, expected in signatures():
        found = my_rsa_verifies(digest, signature, key.n, key.e)
        if blank(found) or found is None:
            raise NotYet("return True or False.")
        if found is not expected:
            yield Problem(gave=f"{found!r:.60} for {what}", look=f"It would be {expected}.",
                          wire="A forged letter passes." if not expected else "An honest letter fails.")


# --- your turn: aligned ----------------------------------------------------------------------------------------------

OWNERS = {"rio.example": "rio.example", "news.rio.example": "rio.example", "mail.rio.example": "rio.example",
          "shady.example": "shady.example", "notrio.example": "notrio.example", "rio.co.example": "rio.co.example",
          "shady.co.example": "shady.co.example", "": ""}
PAIRS: list[tuple[str, str, bool, bool, str]] = [
    ("rio.example", "rio.example", False, True, "The same name."),
    ("rio.example", "rio.example", True, True, "The same name."),
    ("news.rio.example", "rio.example", False, True, "One owner."),
    ("news.rio.example", "rio.example", True, False, "Strict: the very same name."),
    ("rio.example", "news.rio.example", False, True, "One owner; it works in both directions."),
    ("mail.rio.example", "news.rio.example", False, True, "Sisters have one owner."),
    ("shady.example", "rio.example", False, False, "Another owner."),
    ("notrio.example", "rio.example", False, False, "The end of a text is no domain."),
    ("shady.co.example", "rio.co.example", False, False, "What they share belongs to neither: ask `organization`."),
    ("", "rio.example", False, False, "No domain vouches for nobody."),
]


@check(
    hints=(
        "When do two different names belong to the same owner, and who knows?",
        "one == author or (not strict and organization(one) == organization(author))",
        "The same name always does. Unless `strict`, compare what `organization` says of both. Do not look at the ends "
        "of the texts.",
    ),
    passed="Only a domain of the same owner vouches.",
)
def check_aligned(my_aligned: Callable[..., Any]) -> Iterator[Problem]:
    """Whether two domains belong together."""
    for one, author, strict, expected, rule in PAIRS:
        found = my_aligned(one, author, strict, OWNERS.__getitem__)
        if blank(found) or found is None:
            raise NotYet("return True or False.")
        if bool(found) is not expected:
            how = "strict" if strict else "relaxed"
            yield Problem(gave=f"{found!r:.60} for {one or 'no domain'} and {author}, {how}",
                          wire="A forgery passes, or an honest letter fails.", look=f"It would be {expected}. {rule}")


# --- exercise: six letters -------------------------------------------------------------------------------------------

SIX = {"A": "pass pass pass", "B": "fail pass pass", "C": "pass fail fail", "D": "pass pass fail",
       "E": "pass pass pass", "F": "pass none pass"}
BECAUSE = {
    "A": "Rio's host, Rio's signature, Rio's name.",
    "B": "SPF looks at the last host, which is Oslo's. The signature does not care who carries the letter.",
    "C": "SPF passes for the list's own domain. The footer breaks the signature. Nothing vouches for rio.example.",
    "D": "Both pass, for shady.example, and neither vouches for rio.example.",
    "E": "It is her own domain, and she is who she says: DMARC does not know what a name looks like.",
    "F": "news.rio.example and rio.example have one owner, and relaxed alignment accepts that.",
}


@check(
    hints=(
        "For each check, ask first: which domain does it look at in this letter?",
        "A is `pass pass pass`, and D is `pass pass fail`",
        "SPF asks the domain of MAIL FROM about the last host. DKIM asks the domain in `d=`, and fails when the body "
        "has changed. DMARC passes if one of them passed for a domain of the author's owner.",
    ),
    passed="You know which identity each of the three looks at.",
    not_yet="write three words for each of A to F.",
)
def check_six(my_six: Any) -> Iterator[Problem]:
    """Exercise: six letters."""
    if not isinstance(my_six, Mapping):
        yield Problem(gave=f"{my_six!r:.100}", look='A dictionary: `{"A": "pass pass pass", …}`.')
        return
    for case, expected in SIX.items():
        answer = my_six.get(case, ...)
        if blank(answer):
            raise NotYet(f"write three words for {case}.")
        words = answer.replace(",", " ").lower().split() if isinstance(answer, str) else answer
        if not isinstance(words, list | tuple) or list(words) != expected.split():
            yield Problem(gave=f"{answer!r:.100} for {case}", look=BECAUSE[case],
                          wire="A letter is believed, or refused, for the wrong reason.")


# --- exercise: another author ----------------------------------------------------------------------------------------


def careless(letter: bytes, names: str = "from:to:subject") -> bytes:
    """A letter signed by Rio, each field named once."""
    fields, start = read_header(io.BytesIO(letter))
    tags = {"v": "1", "a": "rsa-sha256", "c": "relaxed/relaxed", "d": "rio.example", "s": "course", "h": names,
            "bh": base64.b64encode(body_hash(io.BytesIO(letter), start, "relaxed")).decode()}
    octets = ours.signed_octets(signature_field(tags), fields, names.split(":"), "relaxed")
    signature = signed_with(padded(hashlib.sha256(octets).digest(), 256))
    return signature_field(tags, base64.b64encode(signature).decode()) + letter


def result_of(letter: bytes) -> str:
    """What DKIM says of the first signature."""
    body = io.BytesIO(letter)
    fields, start = read_header(body)
    ask = Questions(NameTable({"course._domainkey.rio.example TXT": [course_key().record]}))
    signature = next((field for field in fields if field.lower().startswith(b"dkim-signature:")), None)
    if signature is None:
        return "none"
    return ours.check_signature(signature, fields, lambda how: body_hash(body, start, how), ask, 0).result


LETTERS = [b"From: Ana <ana@rio.example>\r\nTo: kenji@tokyo.example\r\nSubject: Choir\r\n\r\nMonday, 8 pm.\r\n",
           b"To: kenji@tokyo.example\r\nSubject: From: here\r\nfrom: ana@rio.example\r\n\r\nFrom: nobody\r\n\r\n.\r\n"]


@check(
    hints=(
        "Which of two From fields does the signature cover, and which one does a mail program show?",
        'return b"From: …\\r\\n" + letter',
        "The signature takes fields from the bottom up, and names From once. A reader takes the first. So a second "
        "field on top is shown, and the signature still holds.",
    ),
    passed="The signature is right, and Kenji reads the director's name. Ours names From twice: nothing can be added.",
)
def check_other_author(my_other_author: Callable[..., Any]) -> Iterator[Problem]:
    """Exercise: another author over a signature that holds."""
    for letter in map(careless, LETTERS):
        found = my_other_author(letter)
        if blank(found) or found is None:
            raise NotYet("return a letter.")
        if not isinstance(found, bytes | bytearray):
            yield Problem(gave=f"{type(found).__name__}", look="Octets: `bytes`.", wire="Nothing can be sent.")
            continue
        try:
            result = result_of(bytes(found))
        except ValueError as error:
            yield Problem(gave=f"a letter that nobody reads: {error}", look="Lines end with CR LF.",
                          wire="It is refused.")
            continue
        if result != "pass":
            yield Problem(gave=f"a letter whose signature says {result}", wire="The letter is refused.",
                          look="The field that was signed must stay, and be the lowest of its name.")
        author = str(email.message_from_bytes(bytes(found))["From"])
        if "director@rio.example" not in author:
            yield Problem(gave=f"a letter from {author:.60}", look="A reader shows the first From field.",
                          wire="Kenji reads the old name.")


# --- exercise: what a record costs -----------------------------------------------------------------------------------

COSTS: list[tuple[dict[str, str], int, str]] = [
    ({"rio.example": "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 -all"}, 0, "Networks and `all` ask nobody."),
    ({"rio.example": "v=spf1 a mx ptr exists:x.example -all"}, 4, "`a`, `mx`, `ptr` and `exists` ask."),
    ({"rio.example": "v=spf1 include:one.example ~all", "one.example": "v=spf1 a mx -all"}, 3,
     "An `include` is one, and what is in it counts as well."),
    ({"rio.example": "v=spf1 redirect=one.example", "one.example": "v=spf1 a:b.example/24 -all"}, 2,
     "`redirect` is one."),
    ({"rio.example": "v=spf1 include:one.example include:one.example -all", "one.example": "v=spf1 a -all"}, 4,
     "What is asked twice costs twice."),
    ({"rio.example": "v=spf1 ?a:x.example -mx ~include:one.example +a//64 x=a exp=why.example all",
      "one.example": "v=spf1 include:two.example", "two.example": "v=spf1 ip4:192.0.2.0/24 A"}, 6,
     "Qualifiers may stand before a term; other modifiers cost nothing; capitals do not matter."),
]


@check(
    hints=(
        "Which terms can be answered from the record alone?",
        "terms, redirect = parse_record(dns[domain])",
        "Count the terms that ask: include, a, mx, ptr, exists, and a redirect. Of include and redirect, add what the "
        "other domain's record costs: a function that calls itself.",
    ),
    passed="Ten are allowed, and each provider's record may change without a word to you.",
)
def check_cost(my_cost: Callable[..., Any]) -> Iterator[Problem]:
    """Exercise: how many of the ten a record costs."""
    chance = random.Random(7208)
    cases = [*COSTS, *(made(chance) for _ in range(20))]
    for dns, expected, rule in cases:
        found = my_cost("rio.example", dict(dns))
        if blank(found) or found is None:
            raise NotYet("return a number.")
        if found != expected or isinstance(found, bool):
            yield Problem(gave=f"{found!r:.60} for {dns}", look=f"It would be {expected}. {rule}",
                          wire="At the eleventh a receiver says permerror, for every letter of yours.")


def made(chance: random.Random) -> tuple[dict[str, str], int, str]:
    """Random records, each of which includes later ones only."""
    names = ["rio.example", "one.example", "two.example", "three.example"]
    dns, costs = dict[str, str](), dict[str, int]()
    for number in reversed(range(4)):
        terms, cost = list[str](), 0
        for _ in range(chance.randrange(4)):
            word = chance.choice(["a", "mx", "ip4:192.0.2.1", "exists:x.example", "include"])
            if word == "include" and number < 3:
                other = chance.choice(names[number + 1:])
                terms, cost = [*terms, f"include:{other}"], cost + 1 + costs[other]
            elif word != "include":
                terms, cost = [*terms, word], cost + (word[:3] != "ip4")
        dns[names[number]], costs[names[number]] = " ".join(["v=spf1", *terms, "-all"]), cost
    return dns, costs["rio.example"], "Each include costs one, and what is in it."
