"""Inputs near the seeds, for where atheris is not installed; and what a run does with time."""
from __future__ import annotations

import random
from collections.abc import Sequence

LONGEST = 20_000                                # octets of an input


def mutated(rng: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """A seed with a few changes; its first three octets, which choose role and cutting, change on their own."""
    data = rng.choice(seeds)
    head, rest = bytearray(data[:3].ljust(3, b"\0")), data[3:]
    for _ in range(rng.choice((1, 1, 2, 3, 5, 9))):
        rest = change(rng, rest, seeds, words)
    if rng.random() < 0.5:
        head[rng.randrange(3)] = rng.randrange(256)
    return bytes(head) + rest[:LONGEST]


def change(rng: random.Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """One change, at a line's start or anywhere."""
    starts = [0, *(at + 1 for at, octet in enumerate(data) if octet == 10)]
    one, other = sorted(rng.choice(starts) if rng.random() < 0.6 else rng.randrange(len(data) + 1) for _ in "12")
    match rng.randrange(8):
        case 0:
            return data[:one] + rng.choice(words) + data[one:]
        case 1:
            return data[:one] + data[other:]
        case 2:
            return data[:other] + data[one:]
        case 3:
            there = rng.choice(seeds)[3:]
            cut = rng.randrange(len(there) + 1)
            return data[:one] + there[cut : cut + 400] + data[other:]
        case 4:
            return data[:one] + bytes([rng.randrange(256)]) + data[one + 1 :]
        case 5:
            return data[:one] + rng.randbytes(rng.randrange(6)) + data[one:]
        case 6:
            return data[:one] + rng.choice((b"\r", b"\n", b"\r\n", b" ", b"\0", b".", b"<", b">", b'"')) + data[one:]
        case _:
            return data[:one] + data[one:other] * rng.choice((2, 2, 3, 40)) + data[other:]
