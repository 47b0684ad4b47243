"""A payload of several parts: one behind the other, each from a whole byte on."""

from __future__ import annotations

from collections.abc import Iterable

from syft_fl.codecs.codec import Payload
from syft_fl.errors import CodecError

__all__ = ["chained", "read_number", "taken", "write_number"]

_MOST_BYTES = 8  # of a number: 56 bits


def chained(parts: Iterable[Payload]) -> Payload:
    """Payloads one behind the other; those of no bits leave no trace.

    Up to seven bits between two parts are charged; they are 0.
    """
    bodies: list[bytes | memoryview] = []
    bits = 0
    for part in parts:
        if part.bits:
            bits = 8 * sum(len(body) for body in bodies) + part.bits
            bodies.append(_without_unused_bits(part))
    return Payload(b"".join(bodies), bits)


def _without_unused_bits(part: Payload) -> bytes | memoryview:
    used = part.bits % 8
    if not used or not part.body[-1] >> used:
        return part.body
    return bytes(part.body[:-1]) + bytes([part.body[-1] & (1 << used) - 1])


def taken(payload: Payload, bits: int) -> tuple[Payload, Payload]:
    """The part that has the first so many bits, and all that is behind it; views.

    Raises:
        CodecError: there are not so many, or the bits between the two are not 0.
    """
    if payload.bits < bits:
        raise CodecError(
            f"payload of {payload.bits} bits ends within a part of {bits} bits; "
            "both ends must have the same codec settings and the same architecture"
        )
    body, start = memoryview(payload.body), -(-bits // 8)
    first = Payload(body[:start], bits)
    if payload.bits == bits:
        return first, Payload(b"", 0)
    if payload.bits <= 8 * start or (bits % 8 and body[start - 1] >> bits % 8):
        raise CodecError(f"the bits behind a part of {bits} bits are not empty; the bytes are damaged")
    return first, Payload(body[start:], payload.bits - 8 * start)


def write_number(number: int) -> bytes:
    """A number from 0 on: seven bits in each byte, the low ones first; the eighth says that more follow."""
    body = bytearray()
    while number > 127:
        body.append(number & 127 | 128)
        number >>= 7
    return bytes(body) + bytes([number])


def read_number(body: memoryview) -> tuple[int, int]:
    """A number that :func:`write_number` wrote at the start of some bytes, and how many it took.

    Raises:
        CodecError: the bytes end within it, or it has more than 56 bits.
    """
    number = 0
    for at, byte in enumerate(body[:_MOST_BYTES]):
        number |= (byte & 127) << 7 * at
        if byte < 128:
            return number, at + 1
    raise CodecError("the payload ends within the length of a part; the bytes are damaged")
