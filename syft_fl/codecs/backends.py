"""Where rows of entries are computed with: numpy on the host, torch on a card.

A codec that takes vectors side by side (:class:`~syft_fl.codecs.quantiser.BatchQuantiser`) writes its arithmetic once,
with what arrays and tensors have in common (operators, slices, assignment), and asks a :class:`Backend` for the rest.
What is per group, [vectors, groups], is numpy's on the host wherever the entries are: a card measures groups, and gets
back what their entries are multiplied by.

A card gives the host's bits. Operations on entries are IEEE's, one by one, in the same order. Extremes are exact. A sum
of many terms is not: its order differs. So a sum from a card comes with a bound on what the order can change, and where
that could change the float32 number that is sent, the host adds up that group itself (of norms of 512 entries, one in a
million; of means of a few, often).

Two things to mind in arithmetic for both. To divide by a number, put it into an array (:meth:`Backend.put`): a card
multiplies by its reciprocal instead. And tensors know no ``out=``, ``where=`` or unsigned 16 bits.

Left out: codecs whose vectors go one by one, coders of variable length, parts of payloads. They are the host's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from syft_fl.codecs import scales
from syft_fl.codecs.coders.packing import pack_rows, unpack_rows
from syft_fl.codecs.coders.packing_on_card import pack_on_card, unpack_on_card
from syft_fl.codecs.groups import Span, count_groups, pieces

__all__ = ["Backend", "Rows", "backend_of"]

Rows = Any
"""[vectors, …] an array on the host, or a tensor on a card."""

_FEW = 8  # groups that come to the host one by one; for more, the vector does
_UNIT = 2.0**-53  # the most by which rounding changes a float64 number, relative to it


class Backend(Protocol):
    """What arithmetic on rows needs beside operators."""

    def pieces(self, spans: list[Span], *, vectors: int) -> Iterator[Span]:
        """All entries of the spans, in as many steps as suit."""
        ...

    def put(self, numbers: NDArray[Any]) -> Rows:
        """Numbers of the host, next to the entries; not to be changed."""
        ...

    def words(self, draws: NDArray[np.uint16]) -> Rows:
        """Random words of the host, next to the entries."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Rows:
        """Rows to be written; of symbols, the type may be a wider one."""
        ...

    def cast(self, rows: Rows, dtype: DTypeLike) -> Rows:
        """The rows as numbers of a type; they themselves where they are of it."""
        ...

    def integers(self, rows: Rows, *, most: int) -> Rows:
        """Whole floats as integers up to ``most`` (below 2**32; above 2**31, none is negative); a copy."""
        ...

    def rint(self, rows: Rows) -> None:
        """Round to the nearest whole numbers, halves to even ones; in place."""
        ...

    def clip(self, rows: Rows, most: float) -> None:
        """Keep numbers in ``-most … most``; in place."""
        ...

    def signs(self, rows: Rows) -> Rows:
        """uint8, 1 where a number is not negative."""
        ...

    def choose(
        self,
        symbols: Rows,
        zeros: NDArray[np.float32],
        ones: NDArray[np.float32],
        spans: list[Span],
        entries: Rows,
    ) -> None:
        """Write into [vectors, entries] of [vectors, groups] two numbers the one that a symbol 0 or 1 stands for."""
        ...

    def ends(self, entries: Rows, spans: list[Span]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """[vectors, groups] as :func:`~syft_fl.codecs.scales.ends`."""
        ...

    def largest(self, entries: Rows, spans: list[Span]) -> NDArray[np.float32]:
        """[vectors, groups] as :func:`~syft_fl.codecs.scales.largest` of each vector."""
        ...

    def l2_norms(self, entries: Rows, spans: list[Span]) -> NDArray[np.float32]:
        """[vectors, groups] as :func:`~syft_fl.codecs.scales.l2_norms` of each vector."""
        ...

    def mean_magnitudes(self, entries: Rows, spans: list[Span]) -> NDArray[np.float32]:
        """[vectors, groups] as :func:`~syft_fl.codecs.scales.mean_magnitudes`."""
        ...

    def signed_means(self, entries: Rows, signs: Rows, spans: list[Span]) -> NDArray[np.float32]:
        """[vectors, 2 groups] as :func:`~syft_fl.codecs.scales.signed_means`."""
        ...

    def packed(self, symbols: Rows, bits: int) -> NDArray[np.uint8]:
        """[vectors, bytes] on the host, as :func:`~syft_fl.codecs.coders.packing.pack_rows`."""
        ...

    def unpacked(self, packed: NDArray[np.uint8], bits: int, *, count: int) -> Rows:
        """[vectors, count] symbols of [vectors, bytes] of the host."""
        ...


def backend_of(rows: Rows) -> Backend:
    """What computes with these rows."""
    return _HOST if isinstance(rows, np.ndarray) else _Card(rows.device)


class _Host:
    """numpy. Work goes in pieces that fit in a cache."""

    def pieces(self, spans: list[Span], *, vectors: int) -> Iterator[Span]:
        return pieces(spans, vectors=vectors)

    def put(self, numbers: NDArray[Any]) -> Rows:
        return numbers

    def words(self, draws: NDArray[np.uint16]) -> Rows:
        return draws

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Rows:
        return np.empty(shape, dtype)

    def cast(self, rows: Rows, dtype: DTypeLike) -> Rows:
        return rows.astype(dtype, copy=False)

    def integers(self, rows: Rows, *, most: int) -> Rows:
        # Conversion to unsigned numbers takes twice the time.
        return rows.astype(np.int32 if most < 1 << 31 else np.uint32)

    def rint(self, rows: Rows) -> None:
        np.rint(rows, out=rows)

    def clip(self, rows: Rows, most: float) -> None:
        np.clip(rows, -most, most, out=rows)

    def signs(self, rows: Rows) -> Rows:
        return (rows >= 0).view(np.uint8)

    def choose(
        self,
        symbols: Rows,
        zeros: NDArray[np.float32],
        ones: NDArray[np.float32],
        spans: list[Span],
        entries: Rows,
    ) -> None:
        bits, start = entries.view(np.int32), np.ascontiguousarray(zeros, np.float32).view(np.int32)
        change = start ^ np.ascontiguousarray(ones, np.float32).view(np.int32)
        for piece in pieces(spans, vectors=len(entries)):
            rows = piece.rows(bits)
            # -1 has all bits: a tenth of what a choice entry by entry takes, which no processor can foresee.
            np.negative(piece.rows(symbols), out=rows, dtype=np.int32)
            rows &= piece.column(change)
            rows ^= piece.column(start)

    def ends(self, entries: Rows, spans: list[Span]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return scales.ends(entries, spans)

    def l2_norms(self, entries: Rows, spans: list[Span]) -> NDArray[np.float32]:
        return _each(entries, spans, scales.l2_norms)

    def largest(self, entries: Rows, spans: list[Span]) -> NDArray[np.float32]:
        return _each(entries, spans, scales.largest)

    def mean_magnitudes(self, entries: Rows, spans: list[Span]) -> NDArray[np.float32]:
        return scales.mean_magnitudes(entries, spans)

    def signed_means(self, entries: Rows, signs: Rows, spans: list[Span]) -> NDArray[np.float32]:
        return scales.signed_means(entries, signs, spans)

    def packed(self, symbols: Rows, bits: int) -> NDArray[np.uint8]:
        return pack_rows(symbols, bits)

    def unpacked(self, packed: NDArray[np.uint8], bits: int, *, count: int) -> Rows:
        return unpack_rows(packed, bits, count=count)


class _Card:
    """torch. Work goes in as few steps as there are widths of groups; what crosses is counted in ``docs/gpu.md``."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def pieces(self, spans: list[Span], *, vectors: int) -> Iterator[Span]:
        return iter(spans)

    def put(self, numbers: NDArray[Any]) -> Rows:
        return torch.from_numpy(np.array(numbers)).to(self._device)

    def words(self, draws: NDArray[np.uint16]) -> Rows:
        signed = torch.from_numpy(draws.view(np.int16)).to(self._device)  # two bytes each on the way
        return signed.to(torch.int32).bitwise_and_(0xFFFF)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Rows:
        return torch.empty(shape, dtype=_tensor_type(dtype), device=self._device)

    def cast(self, rows: Rows, dtype: DTypeLike) -> Rows:
        return rows.to(_tensor_type(dtype))

    def integers(self, rows: Rows, *, most: int) -> Rows:
        return rows.to(torch.int32 if most < 1 << 31 else torch.int64)

    def rint(self, rows: Rows) -> None:
        rows.round_()

    def clip(self, rows: Rows, most: float) -> None:
        rows.clamp_(-most, most)

    def signs(self, rows: Rows) -> Rows:
        return (rows >= 0).to(torch.uint8)

    def choose(
        self,
        symbols: Rows,
        zeros: NDArray[np.float32],
        ones: NDArray[np.float32],
        spans: list[Span],
        entries: Rows,
    ) -> None:
        low, high = self.put(zeros), self.put(ones)
        for span in spans:
            which = span.rows(symbols).to(torch.bool)
            span.rows(entries)[...] = torch.where(which, span.column(high), span.column(low))

    def ends(self, entries: Rows, spans: list[Span]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        lower, upper = self._measured(
            entries, spans, [lambda rows: rows.amin(dim=-1), lambda rows: rows.amax(dim=-1)]
        )
        # Which zero is the least of +0 and -0 is nobody's rule.
        return lower + np.float32(0), upper + np.float32(0)

    def largest(self, entries: Rows, spans: list[Span]) -> NDArray[np.float32]:
        lower, upper = self.ends(entries, spans)
        return np.maximum(upper, -lower) + np.float32(0)

    def l2_norms(self, entries: Rows, spans: list[Span]) -> NDArray[np.float32]:
        (norms,) = self._measured(
            entries, spans, [lambda rows: torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64)]
        )

        def sent(norms: NDArray[np.float64]) -> NDArray[np.float32]:
            return np.minimum(norms, scales.FLOAT32_MAX).astype(np.float32)

        slack = _slack(spans) / 2 * norms  # the root halves it
        return self._settled(sent, norms, slack, entries, spans, scales.l2_norms)

    def mean_magnitudes(self, entries: Rows, spans: list[Span]) -> NDArray[np.float32]:
        (sums,) = self._measured(entries, spans, [lambda rows: rows.abs().sum(dim=-1, dtype=torch.float64)])
        widths = scales.group_widths(spans)

        def sent(sums: NDArray[np.float64]) -> NDArray[np.float32]:
            return (sums / widths).astype(np.float32)

        def on_host(entries: NDArray[np.float32], spans: list[Span]) -> NDArray[np.float32]:
            return scales.mean_magnitudes(entries[None], spans)

        return self._settled(sent, sums, _slack(spans) * sums, entries, spans, on_host)

    def signed_means(self, entries: Rows, signs: Rows, spans: list[Span]) -> NDArray[np.float32]:
        negative, positive, counts = self._measured(
            entries,
            spans,
            [
                lambda rows: rows.clamp(max=0).sum(dim=-1, dtype=torch.float64),
                lambda rows: rows.clamp(min=0).sum(dim=-1, dtype=torch.float64),
                lambda rows: (rows >= 0).sum(dim=-1, dtype=torch.float64),
            ],
        )
        widths = scales.group_widths(spans)
        numbers = np.concatenate([widths - counts, counts], axis=1)
        sums = np.concatenate([negative, positive], axis=1) + 0.0

        def sent(sums: NDArray[np.float64]) -> NDArray[np.float32]:
            low, high = np.split(sums / np.maximum(numbers, 1), 2, axis=1)
            return np.concatenate([np.minimum(low, 0), np.maximum(high, 0)], axis=1).astype(np.float32)

        def on_host(entries: NDArray[np.float32], spans: list[Span]) -> NDArray[np.float32]:
            alone = entries[None]
            return scales.signed_means(alone, (alone >= 0).view(np.uint8), spans)

        # The host takes both from the sums of all entries and of all magnitudes; of none, exactly 0.
        slack = np.tile(_slack(spans) * (positive - negative), 2) * (numbers > 0)
        return self._settled(sent, sums, slack, entries, spans, on_host)

    def packed(self, symbols: Rows, bits: int) -> NDArray[np.uint8]:
        packed: NDArray[np.uint8] = pack_on_card(symbols, bits).cpu().numpy()
        return packed

    def unpacked(self, packed: NDArray[np.uint8], bits: int, *, count: int) -> Rows:
        return unpack_on_card(self.put(packed), bits, count=count)

    def _measured(
        self, entries: Tensor, spans: list[Span], measures: list[Callable[[Tensor], Tensor]]
    ) -> list[NDArray[Any]]:
        """Of each measure [vectors, groups] on the host, all in one piece."""
        if not spans:
            return [np.zeros((len(entries), 0)) for _ in measures]
        rows = [span.rows(entries) for span in spans]
        found = [torch.cat([measure(of) for of in rows], dim=-1) for measure in measures]
        return list(torch.stack(found).cpu().numpy())

    def _settled(
        self,
        sent: Callable[[NDArray[np.float64]], NDArray[np.float32]],
        sums: NDArray[np.float64],
        slack: NDArray[np.float64],
        entries: Tensor,
        spans: list[Span],
        on_host: Callable[[NDArray[np.float32], list[Span]], NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        """What the host would send: it is asked of a group whose sum, as the host may find it, can give two numbers.

        Args:
            sent: from [vectors, numbers] sums to what is sent; never falls where a sum rises.
            sums: a card's; one number a group, or several, all groups' first ones first.
            slack: [vectors, numbers] how far the host's sums can be from these.
            on_host: what is sent, of one vector.
        """
        numbers, others = sent(sums - slack), sent(sums + slack)
        groups = count_groups(spans)
        unsure = numbers.view(np.int32) != others.view(np.int32)
        for vector in np.flatnonzero(unsure.any(axis=1)).tolist():
            in_doubt = np.unique(np.flatnonzero(unsure[vector]) % groups).tolist()
            if len(in_doubt) > _FEW:  # means of two or four numbers often are halfway between two of float32
                numbers[vector] = on_host(entries[vector].cpu().numpy(), spans).ravel()
                continue
            for group in in_doubt:
                start, stop = _bounds(spans, group)
                alone = entries[vector, start:stop].cpu().numpy()
                found = on_host(alone, [Span(0, stop - start, 0, stop - start)])
                numbers[vector, group::groups] = found.ravel()
        return numbers


_HOST = _Host()


def _each(
    entries: NDArray[np.float32],
    spans: list[Span],
    measure: Callable[[NDArray[np.float32], list[Span]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    # Vector by vector, so that the order of a sum does not depend on what is beside it.
    return np.stack([measure(row, spans) for row in entries])


def _bounds(spans: list[Span], group: int) -> tuple[int, int]:
    """First entry of a group, and the one after its last."""
    span = next(of for of in reversed(spans) if of.first <= group)
    start = span.start + (group - span.first) * span.width
    return start, start + span.width


def _slack(spans: list[Span]) -> NDArray[np.float64]:
    r"""[groups] how far two sums of the same terms may be from each other, relative to the sum of magnitudes.

    In any order a sum of :math:`n` terms is off by at most :math:`(n - 1) u` of that, to first order (Higham 2002,
    "Accuracy and Stability of Numerical Algorithms", section 4.2). Twice that is between two of them; the rest is room
    for the operations around them.
    """
    return (2 * scales.group_widths(spans) + 16) * _UNIT


def _tensor_type(dtype: DTypeLike) -> torch.dtype:
    """A type that cards compute with; unsigned 16 bits are not."""
    if dtype == np.float32:
        return torch.float32
    if dtype == np.float64:
        return torch.float64
    return torch.uint8 if dtype == np.uint8 else torch.int32
