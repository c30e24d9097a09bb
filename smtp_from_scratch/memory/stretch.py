"""PBKDF2 where Python has no OpenSSL: by the browser's own cryptography, or in Python (RFC 8018 §5.2)."""

from __future__ import annotations

import hashlib
import hmac
from importlib import import_module

WORTH_IT = 1_000                               # iterations from which the way to the browser's cryptography pays


def pbkdf2_hmac(hash_name: str, password: bytes, salt: bytes, iterations: int, dklen: int | None = None) -> bytes:
    """As `hashlib.pbkdf2_hmac`."""
    if iterations < 1:
        raise ValueError("iteration value must be greater than 0.")
    length = dklen or hashlib.new(hash_name).digest_size
    count = -(-length // hashlib.new(hash_name).digest_size)
    blocks = [block(hash_name, password, salt + number.to_bytes(4, "big"), iterations)
              for number in range(1, count + 1)]
    return b"".join(blocks)[:length]


def block(hash_name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
    """One block: every iteration hashes the last one's result, and all results are added up."""
    start = hmac.new(password, digestmod=hash_name)
    total = 0
    last = salt
    for _ in range(iterations):
        turn = start.copy()
        turn.update(last)
        last = turn.digest()
        total ^= int.from_bytes(last, "big")
    return total.to_bytes(start.digest_size, "big")


def by_browser(hash_name: str, password: bytes, salt: bytes, iterations: int, dklen: int | None = None) -> bytes:
    """The same by Web Cryptography, which is as fast as OpenSSL; only where a stack can wait for a promise."""
    js, ffi = import_module("js"), import_module("pyodide.ffi")
    subtle = getattr(js.crypto, "subtle", None)
    if iterations < WORTH_IT or subtle is None or hash_name not in ("sha1", "sha256", "sha512"):
        return pbkdf2_hmac(hash_name, password, salt, iterations, dklen)
    length = dklen or hashlib.new(hash_name).digest_size
    key = ffi.run_sync(subtle.importKey("raw", ffi.to_js(password), "PBKDF2", False, ffi.to_js(["deriveBits"])))
    how = {"name": "PBKDF2", "salt": ffi.to_js(salt), "iterations": iterations, "hash": "SHA-" + hash_name[3:]}
    wanted = ffi.to_js(how, dict_converter=js.Object.fromEntries)
    return bytes(ffi.run_sync(subtle.deriveBits(wanted, key, 8 * length)).to_bytes())
