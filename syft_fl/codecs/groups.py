"""Groups of consecutive entries that share a scale, as numpy and torch like them: rows of a matrix.

A :class:`Span` is a stretch of the vector whose groups all have one width, so it can be viewed as
[groups, width] and computed with in one call. A whole vector takes a few spans, however many groups it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeVar

from numpy.typing import NDArray
from torch import Tensor

from syft_fl.schema import require
from syft_fl.vectors import Layout

__all__ = ["Block", "Span", "count_groups", "pieces", "require_block", "spans_of"]

Block = int | Literal["tensor", "channel", "vector"]
"""Which entries share a scale: so many consecutive ones (across tensors), those of a tensor, those of an output
channel (what shares the first index of a tensor; a bias is one channel), or all of the vector. No field takes None
for any of these: TOML has no null, so a default would come back in its place."""

_Numbers = TypeVar("_Numbers", NDArray[Any], Tensor)

_PIECE_ENTRIES = 2**16  # float32 temporaries of a quarter of a megabyte: in cache, and few enough calls


class Span(NamedTuple):
    """Entries ``start`` to ``stop`` in groups ``first``, ``first + 1``, … of ``width`` entries each."""

    start: int
    stop: int
    first: int
    width: int

    def rows(self, entries: _Numbers) -> _Numbers:
        """The span's part of [..., entries], as [..., groups, width]; a view."""
        part = entries[..., self.start : self.stop]
        return part.reshape(*part.shape[:-1], -1, self.width)

    def column(self, scales: _Numbers) -> _Numbers:
        """The span's part of [..., groups], as [..., groups, 1]; a view."""
        return scales[..., self.first : self.first + (self.stop - self.start) // self.width, None]


def require_block(block: Block) -> None:
    """Check a field ``block``.

    Raises:
        ConfigError: it is a number below 1.
    """
    ok = isinstance(block, str) or block >= 1
    require(ok, "block", block, "at least 1 entry", "or use 'tensor', 'channel' or 'vector'")


def spans_of(layout: Layout, block: Block) -> list[Span]:
    """The groups of a layout; tensors without an entry have none."""
    if block == "tensor":
        return _tensor_spans(layout, per_channel=False)
    if block == "channel":
        return _tensor_spans(layout, per_channel=True)
    return _block_spans(layout.length, max(layout.length, 1) if block == "vector" else block)


def _tensor_spans(layout: Layout, *, per_channel: bool) -> list[Span]:
    spans: list[Span] = []
    first = 0
    for slot in layout.slots:
        if slot.length:
            width = slot.length // slot.shape[0] if per_channel and len(slot.shape) > 1 else slot.length
            spans.append(Span(slot.start, slot.stop, first, width))
            first += slot.length // width
    return spans


def _block_spans(length: int, block: int) -> list[Span]:
    """Groups of ``block`` entries, across tensors; the last may be shorter."""
    groups = length // block
    whole = Span(0, groups * block, 0, block)
    rest = Span(whole.stop, length, groups, length - whole.stop)
    return [span for span in (whole, rest) if span.start < span.stop]


def count_groups(spans: list[Span]) -> int:
    """Groups in all spans."""
    return sum((span.stop - span.start) // span.width for span in spans)


def pieces(spans: list[Span], *, vectors: int = 1) -> Iterator[Span]:
    """The same entries in spans of which so many vectors' fit in a cache: several groups, or a part of one."""
    most = max(_PIECE_ENTRIES // vectors, 1)
    for start, stop, first, width in spans:
        if width > most:
            for group, begin in enumerate(range(start, stop, width), first):
                end = begin + width
                for at in range(begin, end, most):
                    until = min(at + most, end)
                    yield Span(at, until, group, until - at)
        else:
            groups = most // width
            for at in range(start, stop, groups * width):
                until = min(at + groups * width, stop)
                yield Span(at, until, first + (at - start) // width, width)
