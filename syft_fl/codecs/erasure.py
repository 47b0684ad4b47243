"""Payloads with gaps: which bits did not come, and what depends on them.

A lossy link cuts a message into packets, and says which stretches of bits never came
(:attr:`~syft_fl.radio.medium.Transfer.gaps`). A codec that can decode the rest is
:class:`~syft_fl.codecs.codec.Erasable`. It reads a copy in which the gaps are filled with zeros: a cleared bit makes a
number smaller, never one that no encoder writes. What a gap touches is then left out, whole.

Bit ``k`` of some bytes is bit ``k % 8`` of byte ``k // 8``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.codec import CODECS, Erasable, Gaps
from syft_fl.codecs.groups import Span, count_groups

__all__ = [
    "blanked",
    "cut",
    "entries_of_groups",
    "erasable_kinds",
    "lost_groups",
    "share_of",
    "touched",
    "why_not_erasable",
]


def blanked(body: bytes | memoryview, gaps: Gaps) -> bytes:
    """The bytes with all bits of the gaps 0: what a receiver has, whatever was sent there.

    Example:
        >>> blanked(bytes([255, 255, 255]), ((4, 10), (20, 24))).hex()
        '0ffc0f'
    """
    filled = np.frombuffer(body, np.uint8).copy()
    for first, end in gaps:
        start, stop = first // 8, end // 8
        below, above = (1 << first % 8) - 1, 256 - (1 << end % 8)
        if start == stop:
            filled[start] &= below | above
            continue
        filled[start] &= below
        filled[start + 1 : stop] = 0
        if end % 8:
            filled[stop] &= above
    return filled.tobytes()


def cut(gaps: Gaps, first: int, end: int) -> Gaps:
    """The gaps within a range of bits, counted from its first one.

    Example:
        >>> cut(((4, 10), (20, 24)), 8, 22)
        ((0, 2), (12, 14))
    """
    return tuple(
        (max(start, first) - first, min(stop, end) - first)
        for start, stop in gaps
        if max(start, first) < min(stop, end)
    )


def touched(gaps: Gaps, *, width: int, count: int) -> NDArray[np.bool_]:
    """[count] which words of ``width`` bits, one after the other from bit 0 on, have a bit in a gap."""
    found = np.zeros(count, np.bool_)
    for first, end in gaps if width else ():
        found[first // width : -(-end // width)] = True
    return found


def lost_groups(gaps: Gaps, spans: list[Span], *, number_bytes: int, numbers: int) -> NDArray[np.bool_]:
    """[groups] of which a scale is missing.

    Args:
        gaps: in the side information: one array of as many numbers as there are groups behind the other.
        spans: the groups.
        number_bytes: of one number.
        numbers: for each group, that is arrays.
    """
    groups = count_groups(spans)
    lost = touched(gaps, width=8 * number_bytes, count=groups * numbers)
    return np.asarray(lost.reshape(numbers, groups).any(axis=0))


def entries_of_groups(groups: NDArray[np.bool_], spans: list[Span], length: int) -> NDArray[np.bool_]:
    """[length] which entries are of such a group."""
    entries = np.zeros(length, np.bool_)
    for span in spans if groups.any() else ():
        span.rows(entries)[...] = span.column(groups)
    return entries


def share_of(missing: NDArray[np.bool_]) -> float:
    """How much came, 0 … 1, of [entries] that are missing or not; of none, all."""
    return 1.0 - int(np.count_nonzero(missing)) / max(missing.size, 1)


def why_not_erasable(codec: object) -> str:
    """What of a codec can't be decoded in part, for a message; nothing if all of it can."""
    if isinstance(codec, Erasable) and codec.erasable:
        return ""
    kind = repr(getattr(codec, "kind", type(codec).__name__))
    if isinstance(codec, Erasable):
        coder = getattr(codec, "coder", None)
        if coder is not None:
            return f"codec {kind} with coder {getattr(coder, 'kind', type(coder).__name__)!r}"
        return why_not_erasable(getattr(codec, "codec", None)) + f" within {kind}"
    return f"codec {kind}"


def erasable_kinds() -> list[str]:
    """Kinds of the registered codecs that can be decoded in part, with coders of fixed words."""
    return [kind for kind in CODECS.kinds() if hasattr(CODECS[kind], "decode_part")]
