"""The checks of `scram`: a proof recognized, who learns what, a burglar's key, and passwords that move."""
from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from smtp_from_scratch.auth import AuthError, encode64
from smtp_from_scratch.lab.check import NotYet, Problem, check
from smtp_from_scratch.scram import Keys, ScramKeys, ScramSha256, mac, scram_keys, server_first, sha256, xor

SPOKEN = b"n=ana@rio.example,r=Rio,r=RioTokyo,s=c2FsdA==,i=4096,c=biws,r=RioTokyo"

# --- your turn: recognize a proof -------------------------------------------------------------------------------


def proof_of(password: str, spoken: bytes) -> bytes:
    """What an honest client would say."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b"salt", 4096)
    client_key = mac(salted, b"Client Key")
    return xor(client_key, mac(sha256(client_key), spoken))


@check(
    hints=(
        "The client computed client_key xor stamp. You can make the same stamp: from what?",
        "client_key = xor(proof, mac(stored_key, spoken)); what does sha256 make of it?",
        "The proof is the client's key with a stamp over it, and you can make the same stamp from the stored key "
        "and what was spoken. `xor` takes it off again. What remains is the client's key if its digest is the "
        "stored key, and only then.",
    ),
    passed="Who knows the password is recognized, by a server that does not know it.",
)
def check_proves(my_proves: Callable[[bytes, bytes, bytes], Any]) -> Problem | None:
    """A proof is recognized with the stored key."""
    stored_key = scram_keys("tides", b"salt", 4096).stored_key
    good, wrong = proof_of("tides", SPOKEN), proof_of("tide", SPOKEN)
    found = my_proves(stored_key, SPOKEN, good)
    if found is None or found is ...:
        raise NotYet("return True or False.")
    if found is not True:
        return Problem(gave=f"{found!r} for the proof of somebody who knows the password",
                       wire="Ana is turned away with 535, from her own mailbox.",
                       look="Put your own stamp on `spoken` with the stored key, and take it off the proof with xor.")
    for what, proof, spoken in (("a proof made with another password", wrong, SPOKEN),
                                ("yesterday's proof, said again today", good, SPOKEN.replace(b"Tokyo", b"Osaka")),
                                ("the stored key itself, in place of a proof", stored_key, SPOKEN),
                                ("32 zeros", bytes(32), SPOKEN), ("the stamp alone", mac(stored_key, SPOKEN), SPOKEN)):
        if (given := my_proves(stored_key, spoken, proof)) is None:
            return Problem(gave=f"None for {what}", look="Say it: every path of the function returns True or False.")
        if given is not False:
            return Problem(gave=f"{my_proves(stored_key, spoken, proof)!r} for {what}",
                           wire="Somebody who does not know the password reads Ana's mail.",
                           look="What comes off is the client's key, if it was one. Whose digest is the stored key?")
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
    ("file and tap", "SCRAM"): "proof = client_key xor mac(stored_key, spoken). Which of these is not known?",
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
            answer = my_matrix.get(attacker, {}).get(mechanism, ...)
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
    exam = mechanism.examine(Keys({"ana@rio.example": keys}))
    talk = mechanism.respond("ana@rio.example", password)
    first = next(talk)
    next(exam)
    challenge = exam.send(exam.send(first).function())      # type: ignore[union-attr]
    final = talk.send(challenge)                            # type: ignore[arg-type]
    return first.decode(), challenge.decode(), final.decode()       # type: ignore[union-attr]


def enters(client_key: bytes, keys: ScramKeys) -> bool:
    """Whether somebody who has this key, and no password, is let in."""
    exam = ScramSha256().examine(Keys({"ana@rio.example": keys}))
    next(exam)
    bare = "n=ana@rio.example,r=burglar"
    challenge = exam.send(exam.send(f"n,,{bare}".encode()).function()).decode()     # type: ignore[union-attr]
    final = f"c=biws,r={server_first(challenge, 'burglar')[0]}"
    spoken = ",".join([bare, challenge, final]).encode()
    proof = xor(client_key, mac(sha256(client_key), spoken))
    try:
        return bool(exam.send(f"{final},p={encode64(proof)}".encode()))
    except AuthError:
        return False


@check(
    hints=(
        "What was the stamp made of? You have the stored key, and can put together what was said.",
        "first without its header `n,,`, the challenge, final up to `,p=`: joined with commas.",
        "proof = client_key xor mac(stored_key, spoken). The tap has the proof and everything that was spoken, and "
        "the file has the stored key, so only the client's key is unknown. Put `spoken` together exactly as both "
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
        if not isinstance(key, bytes) or len(key) != 32:
            return Problem(gave=f"{key!r}", look="A key is 32 octets; `decode64` and `xor` give you octets.")
        if sha256(key) != keys.stored_key:
            return Problem(gave="32 octets that are not Ana's key", wire="Tokyo says 535 to you, as it should.",
                           look="sha256(client_key) must be the stored key. Is every comma of `spoken` in its place?")
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
        "keys[user] = scram_keys(password) and del old[user], only when the old digest fits.",
        "Look first for keys, then for an old digest, and if there is neither the answer is False. A right "
        "password at the old digest is the only moment at which the server knows the password, so keys are made "
        "then. Delete the old digest only when the keys exist, for a password that cannot be prepared makes none.",
    ),
    passed="Whoever comes by PLAIN moves house, and nobody was asked for a new password.",
)
def check_moving(my_verify: Callable[[dict[str, str], dict[str, ScramKeys], str, str], Any]) -> Problem | None:
    """Old digests become keys when their users log in."""
    ana, li = "ana@rio.example", "li@beijing.example"
    old = {ana: old_digest("maré alta"), li: old_digest("harvest")}
    keys: dict[str, ScramKeys] = {}
    if my_verify(old, keys, ana, "wrong") not in (False, None) or keys or ana not in old:
        return Problem(gave="a user who moved with a wrong password",
                       wire="From now on, the wrong password opens Ana's mailbox.",
                       look="Make keys only when the old digest fits.")
    if (answer := my_verify(old, keys, ana, "maré alta")) is None:
        raise NotYet("return True or False.")
    if answer is not True:
        return Problem(gave=f"{answer!r} for the right password", wire="535 to Ana, who did no wrong.",
                       look="`old[user]` is `sha256(password.encode()).hexdigest()`.")
    if ana not in keys or not Keys(keys).verify(ana, "maré alta"):
        return Problem(gave="no keys for Ana after she logged in", wire="AUTH SCRAM-SHA-256 will never work for her.",
                       look="`keys[user] = scram_keys(password)`.")
    if ana in old:
        return Problem(gave="Ana's old digest, still there",
                       wire="Who steals the file tests a million guesses a second on it.",
                       look="`del old[user]`.")
    before = keys[ana]
    if my_verify(old, keys, ana, "maré alta") is not True:
        return Problem(gave="False when Ana comes by PLAIN again",
                       look="She has keys now: `Keys(keys).verify(user, password)`.")
    if keys[ana] != before:
        return Problem(gave="new keys, with a new salt, at every visit",
                       look="Who has keys is checked by them, and no more.")
    if any(my_verify(old, keys, *guess) for guess in ((ana, "mare alta"), ("nobody", "x"), (li, "maré alta"))):
        return Problem(gave="True for a wrong password or an unknown user", look="Every path needs its comparison.")
    if set(old) != {li} or set(keys) != {ana}:
        return Problem(gave=f"{len(old)} old digests and {len(keys)} keys",
                       look="Li has not been here yet, and nobody else exists.")
    if my_verify(old, keys, ana, "\x07") not in (False, None):
        return Problem(gave="True for a password that SASLprep refuses", look="`Keys.verify` says False to such a one.")
    return None
