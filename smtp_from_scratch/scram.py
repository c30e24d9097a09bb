"""A password that never travels: SCRAM-SHA-256 (RFC 5802, RFC 7677), and a store of keys, not passwords."""
# Exported from notebooks/16_scram.ipynb; edit the notebook.

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .auth import decode64
from .conversation import Work
from .passwords import Users
from .sasl import AuthError, BadResponse, Examination, Mechanism, Responses, as_text, encode64, heard
from .saslprep import by_name, saslprep

__all__ = [
    "mac", "sha256", "xor", "ITERATIONS", "TEXT_FORM", "ScramKeys", "salted_password", "scram_keys", "proves",
    "attributes", "encode_name", "decode_name", "MIN_ITERATIONS", "MAX_ITERATIONS", "client_first", "server_first",
    "prove", "decoy", "Keys", "ScramSha256",
]


# %% crypto
def mac(key: bytes, octets: bytes) -> bytes:
    """HMAC-SHA-256: a stamp that only a holder of the key can put on octets, and check."""
    return hmac.digest(key, octets, "sha256")


def sha256(octets: bytes) -> bytes:
    """A digest, from which nobody finds the way back."""
    return hashlib.sha256(octets).digest()


def xor(one: bytes, other: bytes) -> bytes:
    """Octet by octet: whoever has one of the two and the result has the other."""
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


# %% keys
ITERATIONS = 100_000                           # of ours; an old laptop needs a tenth of a second (RFC 7677 §4)
TEXT_FORM = re.compile(r"SCRAM-SHA-256\$([1-9][0-9]{0,8}):([^:$]+)\$([^:$]+):([^:$]+)")


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What a server keeps of a password: enough to know who knows it, too little to log in (RFC 5802 §3)."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def to_text(self) -> str:
        """`SCRAM-SHA-256$iterations:salt$stored key:server key`, in base64, as PostgreSQL has it, too."""
        salt, stored, server = map(encode64, (self.salt, self.stored_key, self.server_key))
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored}:{server}"

    @classmethod
    def from_text(cls, text: str) -> ScramKeys:
        """The inverse of `to_text`; raises ValueError."""
        if not (match := TEXT_FORM.fullmatch(text)):
            raise ValueError("expected SCRAM-SHA-256$iterations:salt$stored key:server key")
        salt, stored, server = map(decode64, match.groups()[1:])
        if len(stored) != 32 or len(server) != 32:
            raise ValueError("a key of SCRAM-SHA-256 has 32 octets")
        return cls(salt, int(match[1]), stored, server)


# %% derive
def salted_password(password: str, salt: bytes, iterations: int) -> bytes:
    """The password, slowly hashed: `Hi` of RFC 5802 §2.2; ValueError for a password that SASLprep refuses."""
    return hashlib.pbkdf2_hmac("sha256", saslprep(password, stored=True).encode(), salt, iterations)


def scram_keys(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> ScramKeys:
    """What to keep of a password (RFC 5802 §3); raises ValueError. A salt of 16 random octets, unless given."""
    salt = secrets.token_bytes(16) if salt is None else salt
    salted = salted_password(password, salt, iterations)
    return ScramKeys(salt, iterations, sha256(mac(salted, b"Client Key")), mac(salted, b"Server Key"))


# %% proves
def proves(keys: ScramKeys, auth_message: bytes, proof: bytes) -> bool:
    """Whether a proof comes from somebody who knows the password, by a server's keys (RFC 5802 §3)."""
    if len(proof) != 32:
        return False
    client_key = xor(proof, mac(keys.stored_key, auth_message))
    return hmac.compare_digest(sha256(client_key), keys.stored_key)


# %% messages
def attributes(message: str, names: str) -> list[str]:
    """The values of a message's attributes, in order; others may follow, but no `m` (RFC 5802 §5.1)."""
    parts = message.split(",")
    known, others = parts[: len(names)], parts[len(names) :]
    well_formed = all(re.fullmatch(r"[A-Za-z]=[^\0]+", part) for part in parts)
    if not well_formed or [part[0] for part in known] != list(names):
        raise BadResponse(f"expected {', '.join(f'{name}=…' for name in names)}")
    if any(part[0] == "m" for part in others):
        raise BadResponse("an extension that must be understood, and is not")
    return [part[2:] for part in known]


def encode_name(name: str) -> str:
    """A user's name as an attribute has it (RFC 5802 §5.1)."""
    return name.replace("=", "=3D").replace(",", "=2C")


def decode_name(text: str) -> str:
    """The inverse, and SASLprep; raises BadResponse."""
    if re.search("=(?!2C|3D)", text):
        raise BadResponse("in a name `=` is followed by 2C or 3D")
    try:
        return saslprep(text.replace("=2C", ",").replace("=3D", "="))
    except ValueError as error:
        raise BadResponse(str(error)) from None


# %% first-messages
MIN_ITERATIONS, MAX_ITERATIONS = 4096, 1_000_000       # that a client puts up with (RFC 7677 §4, RFC 5802 §9)


def client_first(message: str) -> tuple[str, str, str, str]:
    """The client's first message: header, who to act as, user, nonce; raises BadResponse (RFC 5802 §7)."""
    match = re.match(r"([ny]|p=[A-Za-z0-9.-]+),(?:a=([^,]+))?,", message)
    if not match or match[1].startswith("p"):  # we offer no channel binding, so `y` tells the truth (§6)
        raise BadResponse("the first message begins with n or y: there is no channel to bind to")
    name, nonce = attributes(message[match.end() :], "nr")
    if not re.fullmatch("[!-~]+", nonce):
        raise BadResponse("a nonce is printable ASCII")
    return match[0], decode_name(match[2]) if match[2] else "", decode_name(name), nonce


def server_first(message: str, nonce: str) -> tuple[str, bytes, int]:
    """The server's first message: nonce, salt, iterations; AuthError for what a client must not go into."""
    both, salt, iterations = attributes(message, "rsi")
    if not re.fullmatch("[!-~]+", both) or not both.startswith(nonce) or both == nonce:
        raise AuthError("the server's nonce is not ours with its own after it")
    number = int(iterations) if re.fullmatch("[1-9][0-9]{0,9}", iterations) else 0
    if not MIN_ITERATIONS <= number <= MAX_ITERATIONS:
        raise AuthError(f"the server asks for {iterations[:20]} iterations, "
                        f"not {MIN_ITERATIONS} to {MAX_ITERATIONS}")
    return both, decode64(salt), number


# %% prove
def prove(user: str, password: str, nonce: str) -> Responses:
    """The client's end of SCRAM: prove who we are, and have the server prove the same (RFC 5802 §5)."""
    bare = f"n={encode_name(user)},r={nonce}"
    challenge = heard((yield f"n,,{bare}".encode()))
    both, salt, iterations = server_first(challenge, nonce)
    salted = salted_password(password, salt, iterations)
    without_proof = f"c={encode64(b'n,,')},r={both}"
    auth_message = ",".join([bare, challenge, without_proof]).encode()
    client_key = mac(salted, b"Client Key")
    proof = xor(client_key, mac(sha256(client_key), auth_message))
    final = heard((yield f"{without_proof},p={encode64(proof)}".encode()))
    if final.startswith("e="):
        raise AuthError(f"the server says {final[2:60]!r}")
    signature = mac(mac(salted, b"Server Key"), auth_message)
    if not hmac.compare_digest(decode64(*attributes(final, "v")), signature):
        raise AuthError("the server does not know the password: it is not the one that we know")
    if (yield b"") is not None:
        raise AuthError("the server goes on asking after it has proved itself")


# %% store
def decoy(secret: bytes, user: str, iterations: int = ITERATIONS) -> ScramKeys:
    """Keys for a user who does not exist: the same every time, and no password has them (RFC 5802 §7)."""
    salt, stored, server = (mac(secret, what + user.encode()) for what in (b"salt:", b"stored:", b"server:"))
    return ScramKeys(salt[:16], iterations, stored, server)


class Keys:
    """Users and their keys, in memory. Unknown users have keys, too, so that nobody sees who is unknown."""

    knows = frozenset({"verify", "scram_keys"})

    def __init__(self, keys: Mapping[str, ScramKeys], secret: bytes = b"") -> None:
        self._secret = secret or secrets.token_bytes(32)
        self._hold(by_name(keys))

    def _hold(self, keys: dict[str, ScramKeys]) -> None:
        """Have these users, and decoys with as many iterations as most of them."""
        most = Counter(them.iterations for them in keys.values()).most_common(1)
        self._keys, self._usual = keys, most[0][0] if most else ITERATIONS

    def scram_keys(self, user: str) -> ScramKeys:
        """A user's keys, or a decoy."""
        return self._keys.get(user) or decoy(self._secret, user, self._usual)

    def verify(self, user: str, password: str) -> bool:
        """Whether this is the user's password; as much work for an unknown user as for a known one."""
        try:
            keys = self.scram_keys(saslprep(user))
            same = scram_keys(password, keys.salt, keys.iterations)
        except ValueError:                     # nobody has such a name or password
            return False
        return hmac.compare_digest(same.stored_key, keys.stored_key)

    def secret(self, user: str) -> None:
        """None: the password is not kept."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._keys)}>"


# %% scram
class ScramSha256(Mechanism):
    """SCRAM-SHA-256: each end proves that it knows the password, and neither says it (RFC 5802, RFC 7677).

    Not SCRAM-SHA-256-PLUS: the standard library has no channel binding that holds under TLS 1.3.
    """

    name = "SCRAM-SHA-256"
    needs = "scram_keys"
    turns = 3

    def __init__(self, nonce: Callable[[], str] = lambda: secrets.token_urlsafe(18)) -> None:
        self._nonce, self._secret = nonce, secrets.token_bytes(32)

    def examine(self, users: Users) -> Examination:
        first = as_text((yield b""))
        header, acting_as, user, nonce = client_first(first)
        keys = (yield Work(lambda: users.scram_keys(user))) or decoy(self._secret, user)
        nonce += self._nonce()
        challenge = f"r={nonce},s={encode64(keys.salt)},i={keys.iterations}"
        final, _, proof = as_text((yield challenge.encode())).rpartition(",p=")
        auth_message = ",".join([first.removeprefix(header), challenge, final]).encode()
        right = proves(keys, auth_message, decode64(proof)) and acting_as in ("", user)
        if attributes(final, "cr") != [encode64(header.encode()), nonce] or not right:
            raise AuthError("wrong")
        if (yield f"v={encode64(mac(keys.server_key, auth_message))}".encode()):
            raise BadResponse("there is nothing left to say")
        return user

    def respond(self, user: str, password: str) -> Responses:
        yield from prove(saslprep(user), saslprep(password, stored=True), self._nonce())
