"""The checks of `scram`: keys, proofs, names and decoys; who learns what, a burglar's key, passwords that move."""
from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

from smtp_from_scratch.lab.check import NotYet, Problem, as_word, check
from smtp_from_scratch.sasl import AuthError, BadResponse, encode64
from smtp_from_scratch.scram import Keys, ScramKeys, ScramSha256, mac, scram_keys, server_first, sha256, xor

ANA = "ana@rio.example"
SAID = b"n=ana@rio.example,r=Rio,r=RioTokyo,s=c2FsdA==,i=4096,c=biws,r=RioTokyo"

# --- your turn: keys of a password ------------------------------------------------------------------------------


@check(
    hints=(
        "What does `zip` do with two rows of octets? What makes octets of numbers?",
        "bytes(a ^ b for a, b in zip(one, other, strict=True))",
        "Go through both at once and take `a ^ b` of each pair. `bytes` makes octets of these numbers. Two rows of "
        "different lengths are a mistake of the caller, which `strict=True` finds.",
    ),
    passed="Octet by octet, and back again.",
)
def check_xor(my_xor: Callable[[bytes, bytes], Any]) -> Problem | None:
    """Octet by octet."""
    for one, other in ((b"tides", b"choir"), (bytes(32), bytes(range(32))), (b"\xff\0", b"\xff\xff"), (b"", b"")):
        found, right = my_xor(one, other), bytes(a ^ b for a, b in zip(one, other, strict=True))
        if found is None or found is ...:
            raise NotYet(f"return octets: {right!r} for {one!r} and {other!r}.")
        if found != right or not isinstance(found, bytes | bytearray):
            return Problem(gave=f"{found!r} for {one!r} and {other!r}", wire="The proof is nobody's: 535.",
                           look=f"It should be {right!r}: as many octets as went in.")
    try:
        found = my_xor(b"tides", b"sea")
    except ValueError:
        return None
    return Problem(gave=f"{found!r} for two rows of different lengths",
                   wire="Three octets of a proof would do in place of 32.",
                   look="Raise a ValueError. `zip` has a parameter for that: `strict`.")


@check(
    hints=(
        "Which two keys does the picture show, and what is each made from?",
        'sha256(mac(salted, b"Client Key")), mac(salted, b"Server Key")',
        "Without a salt, take 16 random octets from `secrets`. Compute the salted password once, it is slow. StoredKey "
        "is the digest of the stamp on `Client Key`, and ServerKey is the stamp on `Server Key`.",
    ),
    passed="The two keys of RFC 7677's example, and a salt that is new each time.",
)
def check_scram_keys(my_scram_keys: Callable[..., Any]) -> Problem | None:
    """What to keep of a password."""
    salt = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    for password, iterations in (("pencil", 4096), ("maré alta", 5000), ("mare\u0301 alta", 5000)):
        found, right = my_scram_keys(password, salt, iterations), scram_keys(password, salt, iterations)
        if found is None or found is ...:
            raise NotYet("return `ScramKeys(salt, iterations, stored_key, server_key)`.")
        for name in ("salt", "iterations", "stored_key", "server_key"):
            value = getattr(found, name, None)
            if value != getattr(right, name):
                look = LOOK_AT_KEYS[name]
                if name in ("stored_key", "server_key") and password != "pencil":      # which came out right
                    look = "`pencil` came out right, with 4096 rounds. Here it is 5000."
                    if "́" in password:
                        look = "The same with `é` as one character came out right: SASLprep gives both one spelling."
                return Problem(gave=f"{value!r} as `{name}` for {password!a}",
                               wire="Ana's client computes something else of her password, and gets 535.", look=look)
    one, two = my_scram_keys("pencil", iterations=4096), my_scram_keys("pencil", iterations=4096)
    if one.salt == two.salt:
        return Problem(gave=f"the salt {one.salt!r} twice",
                       wire="Two users with one password have one line, and one table breaks all of them.",
                       look="`secrets.token_bytes(16)`, where no salt was given: in the function, not in its head.")
    if len(one.salt) < 16:
        return Problem(gave=f"a salt of {len(one.salt)} octets", look="16 octets, random.")
    if one.stored_key != scram_keys("pencil", one.salt, 4096).stored_key:
        return Problem(gave="keys that were made with another salt than the one that is kept",
                       look="Choose the salt first, then use it for both.")
    return None


LOOK_AT_KEYS = {
    "salt": "Keep the salt that was given.", "iterations": "Keep the number that was given.",
    "stored_key": "sha256 of the mac of `Client Key`, with the salted password as the key.",
    "server_key": "The mac of `Server Key`, with the salted password as the key, and no digest of it.",
}

# --- your turn: recognize a proof -------------------------------------------------------------------------------


def proof_of(password: str, auth_message: bytes) -> bytes:
    """What an honest client would say."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b"salt", 4096)
    client_key = mac(salted, b"Client Key")
    return xor(client_key, mac(sha256(client_key), auth_message))


@check(
    hints=(
        "The proof is client_key xor stamp. You can make the same stamp: from what?",
        "client_key = xor(proof, mac(keys.stored_key, auth_message)); what does sha256 make of it?",
        "The proof is the client's key with a stamp over it, and you can make the same stamp from the stored key "
        "and what was said. `xor` takes it off again. What remains is the client's key if its digest is the "
        "stored key, and only then.",
    ),
    passed="Whoever knows the password is recognized, by a server that does not know it.",
)
def check_proves(my_proves: Callable[[ScramKeys, bytes, bytes], Any]) -> Problem | None:
    """A proof is recognized with the stored key."""
    keys = scram_keys("tides", b"salt", 4096)
    good, wrong = proof_of("tides", SAID), proof_of("tide", SAID)
    found = my_proves(keys, SAID, good)
    if found is None or found is ...:
        raise NotYet("return True or False.")
    if found is not True:
        return Problem(gave=f"{found!r} for the proof of somebody who knows the password",
                       wire="Ana is turned away with 535, from her own mailbox.",
                       look="Put your own stamp on `auth_message` with the stored key; take it off the proof with xor.")
    for what, proof, said in (("a proof made with another password", wrong, SAID),
                              ("yesterday's proof, said again today", good, SAID.replace(b"Tokyo", b"Osaka")),
                              ("the stored key itself, in place of a proof", keys.stored_key, SAID),
                              ("32 zeros", bytes(32), SAID), ("the stamp alone", mac(keys.stored_key, SAID), SAID),
                              ("a proof of three octets", good[:3], SAID), ("no proof at all", b"", SAID),
                              ("a proof with an octet too many", good + b"\0", SAID)):
        try:
            given = my_proves(keys, said, proof)
        except ValueError as error:
            return Problem(gave=f"a ValueError for {what}: {error}", wire="A stranger makes the server stumble: 454.",
                           look="A proof has 32 octets. Anything else is False, before `xor` sees it.")
        if given is None:
            return Problem(gave=f"None for {what}", look="Say it: every path of the function returns True or False.")
        if given is not False:
            return Problem(gave=f"{given!r} for {what}",
                           wire="Somebody who does not know the password reads Ana's mail.",
                           look="What comes off is the client's key, if it was one. Whose digest is the stored key?")
    return None


# --- your turn: names, and a server's first message --------------------------------------------------------------

NAMES = {ANA: ANA, "a,b": "a=2Cb", "a=b": "a=3Db", "=2C": "=3D2C", ",=": "=2C=3D", "josé": "josé"}
BAD_NAMES = {"a=b": "a lone `=`", "a=2c": "small letters", "a=": "`=` at the end", "a=2": "half of it",
             "a\x07": "what SASLprep refuses"}


@check(
    hints=(
        "Two characters would end the name. Which of them must be replaced first?",
        'name.replace("=", "=3D").replace(",", "=2C")',
        "A comma ends an attribute, so it is written `=2C`. Then `=` must be written differently as well, or nobody "
        "could tell it from a comma's beginning: `=3D`. Replace `=` first, or you replace your own.",
    ),
    passed="Nothing is left in a name that would end it.",
)
def check_encode_name(my_encode_name: Callable[[str], Any]) -> Problem | None:
    """A name as an attribute has it."""
    for name, right in NAMES.items():
        found = my_encode_name(name)
        if found is None or found is ...:
            raise NotYet(f"return {right!r} for {name!r}.")
        if found != right:
            return Problem(gave=f"{found!r} for {name!r}", wire="The server reads another user's name.",
                           look=f"It should be {right!r} (RFC 5802 §5.1).")
    return None


@check(
    hints=(
        "What may come after a `=`? What do you raise when something else comes?",
        're.search("=(?!2C|3D)", text) finds a `=` that is wrong; replace "=2C" first, then "=3D".',
        "First refuse what no correct client writes: a `=` that neither 2C nor 3D follows. Then "
        "replace `=2C`, and `=3D` last. A ValueError of `saslprep` becomes BadResponse.",
    ),
    passed="Every name comes back, and no other text is taken for one.",
)
def check_decode_name(my_decode_name: Callable[[str], Any]) -> Problem | None:
    """A name from its attribute."""
    for name, text in [*NAMES.items(), ("josé", "jose\u0301"), ("IX", "\u2168")]:
        found = my_decode_name(text)
        if found is None or found is ...:
            raise NotYet(f"return {name!r} for {text!r}.")
        if found != name:
            return Problem(gave=f"{found!r} for {text!r}", wire="Somebody else is looked up.",
                           look=f"It should be {name!r}. The order of the two replacements counts; and SASLprep.")
    for text, what in BAD_NAMES.items():
        try:
            found = my_decode_name(text)
        except BadResponse:
            continue
        except ValueError as error:
            return Problem(gave=f"a {type(error).__name__} for {text!r}: {error}", look="Raise BadResponse.")
        return Problem(gave=f"{found!r} for {text!r}, which is {what}", wire="Two texts are one name.",
                       look="Raise BadResponse (RFC 5802 §5.1).")
    return None


FIRSTS = {
    "another nonce": "r=Osaka123,s=c2FsdA==,i=4096", "only our own nonce": "r=Rio,s=c2FsdA==,i=4096",
    "4095 rounds": "r=RioTokyo,s=c2FsdA==,i=4095", "two billion rounds": "r=RioTokyo,s=c2FsdA==,i=2000000000",
    "rounds that are not a number": "r=RioTokyo,s=c2FsdA==,i=many", "minus": "r=RioTokyo,s=c2FsdA==,i=-5000",
    "attributes out of order": "s=c2FsdA==,r=RioTokyo,i=4096", "no rounds": "r=RioTokyo,s=c2FsdA==",
    "an extension that must be understood": "r=RioTokyo,s=c2FsdA==,i=4096,m=x", "e=": "e=other-error",
    "digits that are not ASCII": "r=RioTokyo,s=c2FsdA==,i=٤٠٩٦",
}


@check(
    hints=(
        "What could a false server gain by a nonce of its own, by one round, by two billion?",
        'both, salt, rounds = attributes(message, "rsi"); both.startswith(nonce), both != nonce',
        "`attributes` takes the message apart, and refuses what has another form. The nonce must begin with ours, and "
        "go on. The rounds are ASCII digits, and lie between the two limits. Return nonce, salt and rounds as a tuple.",
    ),
    passed="An honest server gets its answer; the others do not even make the client compute.",
)
def check_server_first(my_server_first: Callable[[str, str], Any]) -> Problem | None:
    """The server's first message, read by a client that trusts nobody."""
    for message, right in (("r=RioTokyo,s=c2FsdA==,i=4096", ("RioTokyo", b"salt", 4096)),
                           ("r=Rio%x,s=AAAA,i=1000000,x=later", ("Rio%x", bytes(3), 1_000_000))):
        found = my_server_first(message, "Rio")
        if found is None or found is ...:
            raise NotYet(f"return {right!r} for {message!r}.")
        if (tuple(found) if isinstance(found, list) else found) != right:
            return Problem(gave=f"{found!r} for {message!r}", wire="Ana's client computes another proof: 535.",
                           look=f"It should be {right!r}.")
    for what, message in FIRSTS.items():
        try:
            found = my_server_first(message, "Rio")
        except AuthError:
            continue
        except Exception as error:
            return Problem(gave=f"a {type(error).__name__} for {what}: {error}",
                           wire="Ana's mail program ends with a traceback.", look="Raise AuthError.")
        return Problem(gave=f"{found!r} for {what}", look="Raise AuthError. " + (
            "The server must add a nonce of its own to ours." if "only" in what else
            "A nonce that is not ours is from somebody else's evening." if "nonce" in what else
            "Too few rounds make guessing cheap, too many keep the client busy." if "rounds" in what else
            "`[1-9][0-9]*` and `re.fullmatch` say which digits you mean."), wire=f"The message was {message!r}.")
    return None


# --- your turn: a user who does not exist ------------------------------------------------------------------------


@check(
    hints=(
        "What must stay the same for a name, and what must nobody be able to compute?",
        'mac(secret, b"salt:" + user.encode())[:16], and two more stamps for the keys',
        "Everything comes from a stamp on the name, with a secret that only the server has. So it is the same each "
        "time, and nobody else can compute it. With three different texts, the salt says nothing about the keys.",
    ),
    passed="He may ask as often as he likes.",
)
def check_decoy(my_decoy: Callable[..., Any]) -> Problem | None:
    """Keys for a user who does not exist."""
    found = my_decoy(b"Tokyo's own", "ola@oslo.example", 4096)
    if found is None or found is ...:
        raise NotYet("return ScramKeys.")
    if any(not hasattr(found, part) for part in ("salt", "iterations", "stored_key", "server_key")):
        return Problem(gave=f"{found!r}", look="Return `ScramKeys(salt, iterations, stored_key, server_key)`.")
    if (found.iterations, len(found.salt), len(found.stored_key), len(found.server_key)) != (4096, 16, 32, 32):
        return Problem(gave=f"a salt of {len(found.salt)}, keys of {len(found.stored_key)} and {len(found.server_key)} "
                            f"octets, {found.iterations} rounds", wire="A decoy can be told from a user at a glance.",
                       look="16, 32 and 32 octets, and the rounds that were given.")
    parts = ("salt", "stored_key", "server_key")

    def differ(other: Any) -> str:
        return next((part for part in parts if getattr(found, part) == getattr(other, part)), "")

    if my_decoy(b"Tokyo's own", "ola@oslo.example", 4096) != found:
        return Problem(gave="other keys the second time", wire="The burglar asks twice: a real salt stays.",
                       look="No random octets here: a stamp on the name.")
    if same := differ(my_decoy(b"Tokyo's own", "li@beijing.example", 4096)):
        return Problem(gave=f"the same `{same}` for two names", wire="Whoever has that salt does not exist.",
                       look="The name goes into the stamp.")
    if same := differ(my_decoy(b"Osaka's own", "ola@oslo.example", 4096)):
        return Problem(gave=f"the same `{same}` with another secret",
                       wire="The burglar computes it himself, compares, and knows who does not exist.",
                       look="`mac(secret, …)`: the secret is the key.")
    if found.salt in found.stored_key or found.salt in found.server_key:
        return Problem(gave="a salt that is a part of a key", wire="The salt is said aloud, and the keys with it.",
                       look="Three stamps on three texts, such as `b\"salt:\"` and `b\"stored:\"` before the name.")
    return None


# --- exercise 1: who learns what --------------------------------------------------------------------------------

TRUTH = {
    "tap": {"PLAIN": "in", "CRAM-MD5": "guess", "SCRAM": "guess"},
    "file": {"PLAIN": "guess", "CRAM-MD5": "in", "SCRAM": "guess"},
    "file and tap": {"PLAIN": "in", "CRAM-MD5": "in", "SCRAM": "in"},
    "false server": {"PLAIN": "in", "CRAM-MD5": "guess", "SCRAM": "guess"},
}
LOOK = {
    ("tap", "PLAIN"): "What does the client's only line say, after base64?",
    ("tap", "CRAM-MD5"): "Challenge and digest are overheard. Can passwords be tried on them without asking Tokyo?",
    ("tap", "SCRAM"): "All but the password is overheard that goes into the proof. What can be tried?",
    ("file", "PLAIN"): "Tokyo keeps keys, as in this chapter. What can be tried on a stored key?",
    ("file", "CRAM-MD5"): "What must a server keep to compute the digest itself?",
    ("file", "SCRAM"): "The stored key is a digest of the client's key: no way back. What can be tried?",
    ("file and tap", "PLAIN"): "The tap alone was enough.",
    ("file and tap", "CRAM-MD5"): "The file alone was enough.",
    ("file and tap", "SCRAM"): "proof = client_key xor mac(stored_key, auth_message). Which of these is not known?",
    ("false server", "PLAIN"): "What does Ana's client tell whoever answers?",
    ("false server", "CRAM-MD5"): "The false server chose the challenge. What can it compare its guesses with?",
    ("false server", "SCRAM"): "Ana's client proves itself before the server does. What can be tried on that?",
}


@check(
    hints=(
        "Does the attacker have all that Ana's client needs to log in? Or enough to test a guess?",
        "Three cells of SCRAM say guess, one says in: stored key and proof together are the client's key.",
        "Ask two questions about each cell. Does the attacker have everything that Ana's client uses to log in? If "
        "not, is there something to compare guesses with, so that passwords can be tried without asking Tokyo?",
    ),
    passed="One row opens every door; elsewhere SCRAM leaves guessing, as slow as its iterations.",
)
def check_matrix(my_matrix: dict[str, dict[str, str]]) -> Problem | None:
    """What each attacker can do."""
    for attacker, row in TRUTH.items():
        for mechanism, truth in row.items():
            answer = as_word(my_matrix.get(attacker, {}).get(mechanism, ...))
            if answer is ...:
                raise NotYet(f"`{attacker}` against {mechanism} is missing.")
            if answer not in ("in", "guess", "nothing"):
                return Problem(gave=f"{answer!r} for `{attacker}`", look="Say 'in', 'guess' or 'nothing'.")
            if answer != truth:
                return Problem(gave=f"{answer!r} for `{attacker}` against {mechanism}", look=LOOK[attacker, mechanism])
    return None


# --- exercise 2: the burglar ------------------------------------------------------------------------------------


def overheard(password: str, keys: ScramKeys) -> tuple[str, str, str]:
    """An exchange of somebody honest, as the tap has it."""
    mechanism = ScramSha256()
    exam = mechanism.examine(Keys({ANA: keys}))
    talk = mechanism.respond(ANA, password)
    first = next(talk)
    next(exam)
    challenge = exam.send(exam.send(first).function())      # type: ignore[union-attr]
    final = talk.send(challenge)                            # type: ignore[arg-type]
    return first.decode(), challenge.decode(), final.decode()       # type: ignore[union-attr]


def enters(client_key: bytes, keys: ScramKeys) -> bool:
    """Whether somebody who has this key, and no password, is let in."""
    exam = ScramSha256().examine(Keys({ANA: keys}))
    next(exam)
    bare = f"n={ANA},r=burglar"
    challenge = exam.send(exam.send(f"n,,{bare}".encode()).function()).decode()     # type: ignore[union-attr]
    final = f"c=biws,r={server_first(challenge, 'burglar')[0]}"
    auth_message = ",".join([bare, challenge, final]).encode()
    proof = xor(client_key, mac(sha256(client_key), auth_message))
    try:
        return bool(exam.send(f"{final},p={encode64(proof)}".encode()))
    except AuthError:
        return False


@check(
    hints=(
        "What was the stamp made of? You have the stored key, and can put together what was said.",
        "first without its header `n,,`, the challenge, final up to `,p=`: joined with commas.",
        "proof = client_key xor mac(stored_key, auth_message). The tap has the proof and everything that was said, and "
        "the file has the stored key, so only the client's key is unknown. Put the message together exactly as both "
        "ends did, make the stamp, and take it off.",
    ),
    passed="File and tap together are as good as the password. This is why SCRAM wants TLS as well.",
)
def check_burglar(my_client_key: Callable[[bytes, str, str, str], Any]) -> Problem | None:
    """The client's key comes out of a stolen stored key and an overheard exchange."""
    for password, iterations in (("tides", 4096), ("maré alta", 5000)):
        keys = scram_keys(password, iterations=iterations)
        key = my_client_key(keys.stored_key, *overheard(password, keys))
        if key is None or key is ...:
            raise NotYet("return the client's key, 32 octets.")
        key = bytes(key) if isinstance(key, bytearray) else key
        if not isinstance(key, bytes) or len(key) != 32:
            return Problem(gave=f"{key!r}", look="A key is 32 octets; `decode64` and `xor` give you octets.")
        if sha256(key) != keys.stored_key:
            return Problem(gave="32 octets that are not Ana's key", wire="Tokyo says 535 to you, as it should.",
                           look="sha256(client_key) must be the stored key. Is every comma in its place?")
        if not enters(key, keys):
            return Problem(gave="a key that does not open Tokyo's door", look="Is it the client's key, or the proof?")
    return None


# --- exercise 3: passwords that move ----------------------------------------------------------------------------


def old_digest(password: str) -> str:
    """What Tokyo kept until today."""
    return hashlib.sha256(password.encode()).hexdigest()


@check(
    hints=(
        "Which of the two dictionaries knows the user? When are you sure that the password is right?",
        "keys[user] = scram_keys(password), then del old[user]: only when the old digest fits, and in this order.",
        "Look first for keys, then for an old digest, and if there is neither the answer is False. A right "
        "password at the old digest is the only moment at which the server knows the password, so keys are made "
        "then. Delete the old digest only when the keys exist: `scram_keys` raises ValueError for some passwords.",
    ),
    passed="Whoever comes by PLAIN moves house, and nobody was asked for a new password.",
)
def check_moving(my_verify: Callable[[dict[str, str], dict[str, Any], str, str], Any]) -> Iterator[Problem | None]:
    """Old digests become keys when their users log in."""
    li, tim = "li@beijing.example", "tim@reston.example"
    old = {ANA: old_digest("maré alta"), li: old_digest("harvest"), tim: old_digest(WAVE)}
    keys: dict[str, Any] = {}
    if my_verify(old, keys, ANA, "wrong") not in (False, None) or keys or ANA not in old:
        yield Problem(gave="a user who moved with a wrong password",
                      wire="From now on, the wrong password opens Ana's mailbox.",
                      look="Make keys only when the old digest fits.")
    if (answer := my_verify(old, keys, ANA, "maré alta")) is None:
        raise NotYet("return True or False.")
    if answer is not True:
        yield Problem(gave=f"{answer!r} for the right password", wire="535 to Ana, who did no wrong.",
                      look="`old[user]` is `sha256(password.encode()).hexdigest()`.")
    if ANA not in keys or not Keys(keys).verify(ANA, "maré alta"):
        yield Problem(gave="no keys for Ana after she logged in", wire="AUTH SCRAM-SHA-256 will never work for her.",
                      look="`keys[user] = scram_keys(password)`.")
    if ANA in old:
        yield Problem(gave="Ana's old digest, still there",
                      wire="Whoever steals the file tests a million guesses a second on it.", look="`del old[user]`.")
    yield from comes_again(my_verify, old, keys)
    yield from moves_nowhere(my_verify, old, keys, tim)


def comes_again(my_verify: Any, old: dict[str, str], keys: dict[str, Any]) -> Iterator[Problem]:
    """Ana has keys now; Li and Tim have not been here; and strangers stay strangers."""
    li, tim = "li@beijing.example", "tim@reston.example"
    before = keys[ANA]
    if my_verify(old, keys, ANA, "maré alta") is not True:
        yield Problem(gave="False when Ana comes by PLAIN again",
                      look="She has keys now: `Keys(keys).verify(user, password)`.")
    if keys[ANA] != before:
        yield Problem(gave="new keys, with a new salt, at every visit",
                      look="Somebody who has keys is checked by them, and no more.")
    guesses = (ANA, "mare alta"), ("nobody", "x"), (li, "maré alta"), ("", "")
    if any(my_verify(old, keys, *guess) for guess in guesses):
        yield Problem(gave="True for a wrong password or an unknown user", look="Every path needs its comparison.")
    if set(old) != {li, tim} or set(keys) != {ANA}:
        yield Problem(gave=f"{len(old)} old digests and {len(keys)} keys",
                      look="Li and Tim have not been here yet, and nobody else exists.")
    if my_verify(old, keys, ANA, "\x07") not in (False, None):
        yield Problem(gave="True for a password that SASLprep refuses", look="`Keys.verify` says False to such a one.")


WAVE = "tides \N{WATER WAVE}"                  # no keys can be made of it: newer than Unicode 3.2


def moves_nowhere(my_verify: Any, old: dict[str, str], keys: dict[str, Any], tim: str) -> Iterator[Problem]:
    """A password of which no keys can be made: its user is let in, and stays as he was."""
    try:
        answer = my_verify(old, keys, tim, WAVE)
    except ValueError as error:
        answer = error
    if tim not in old:
        yield Problem(gave="neither keys nor the old digest of Tim, whose password has an emoji",
                      wire="Nobody can ever check his password again: he is locked out.",
                      look="`scram_keys` raises ValueError for it. Make the keys first, then delete.")
    if isinstance(answer, ValueError):
        yield Problem(gave=f"a ValueError for a password with an emoji: {answer}", wire="454 to Tim, for ever.",
                      look="He cannot move with that password. Let him in as before.")
    if answer is not True or tim in keys:
        yield Problem(gave=f"{answer!r} for Tim, whose right password has an emoji",
                      wire="535 to Tim, who did no wrong.",
                      look="His old digest fits: he is in, though he does not move.")
