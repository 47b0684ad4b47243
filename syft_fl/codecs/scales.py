"""What a group of entries is measured by: its l2 norm, its largest magnitude, its mean and deviation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syft_fl.codecs.entries import refuse_damaged
from syft_fl.codecs.groups import Span, count_groups, pieces
from syft_fl.errors import CodecError

__all__ = [
    "FLOAT32_MAX",
    "VectorsDifferError",
    "ends",
    "float_type",
    "group_sums",
    "group_widths",
    "l2_norms",
    "largest",
    "mean_magnitudes",
    "multipliers",
    "read_scales",
    "signed_means",
]

FLOAT32_MAX = float(np.finfo(np.float32).max)
_LARGEST_FACTOR = 2.0**100


def l2_norms(entries: NDArray[np.float32], spans: list[Span]) -> NDArray[np.float32]:
    """[groups] l2 norms, none of them below the largest magnitude in its group, at most the largest float32 number."""
    squares = np.empty(count_groups(spans), np.float64)
    for span in spans:
        rows = span.rows(entries)
        # Double precision: the square of 1e20 overflows float32, that of 1e-30 vanishes. No BLAS, whose
        # sums depend on the number of threads.
        np.einsum("ij,ij->i", rows, rows, dtype=np.float64, out=span.column(squares)[:, 0])
    return np.minimum(np.sqrt(squares), FLOAT32_MAX).astype(np.float32)


def ends(entries: NDArray[np.float32], spans: list[Span]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """[..., groups] smallest and largest of [..., entries]; a zero among them is positive."""
    lower = np.empty((*entries.shape[:-1], count_groups(spans)), np.float32)
    upper = np.empty_like(lower)
    for span in spans:
        rows = span.rows(entries)
        rows.min(axis=-1, keepdims=True, out=span.column(lower))
        rows.max(axis=-1, keepdims=True, out=span.column(upper))
    # Which zero is the least of +0 and -0 depends on their places.
    lower += 0
    upper += 0
    return lower, upper


def largest(entries: NDArray[np.float32], spans: list[Span]) -> NDArray[np.float32]:
    """[groups] largest magnitudes."""
    found = np.zeros(count_groups(spans), np.float32)
    for piece in pieces(spans):
        column, rows = piece.column(found), piece.rows(entries)
        np.maximum(column, rows.max(axis=1, keepdims=True), out=column)
        np.maximum(column, -rows.min(axis=1, keepdims=True), out=column)
    found += 0  # and not -0
    return found


def mean_magnitudes(entries: NDArray[np.float32], spans: list[Span]) -> NDArray[np.float32]:
    """[vectors, groups] means of magnitudes of [vectors, entries]."""
    return (_sums_of_each(map(np.abs, entries), spans) / group_widths(spans)).astype(np.float32)


def signed_means(
    entries: NDArray[np.float32], signs: NDArray[np.uint8], spans: list[Span]
) -> NDArray[np.float32]:
    """[vectors, 2 groups] means of the negative entries of each group, then those of the others; 0 of none.

    Args:
        entries: [vectors, entries]
        signs: [vectors, entries] 1 where one is not negative, else 0.
    """
    sums, magnitudes, counts = (_sums_of_each(of, spans) for of in (entries, np.abs(entries), signs))
    # Sum and sum of magnitudes give the sums of either sign without a second pass.
    positive = (magnitudes + sums) / 2 / np.maximum(counts, 1)
    negative = (sums - magnitudes) / 2 / np.maximum(group_widths(spans) - counts, 1)
    return np.concatenate([np.minimum(negative, 0), np.maximum(positive, 0)], axis=1).astype(np.float32)


def _sums_of_each(numbers: Iterable[NDArray[np.generic]], spans: list[Span]) -> NDArray[np.float64]:
    # Vector by vector, so that the order of a sum does not depend on what is beside it.
    return np.stack([group_sums(row, spans) for row in numbers])


class VectorsDifferError(Exception):
    """Vectors of a batch ask for different arithmetic; each must be done by itself, as it would be alone."""


def float_type(wide: NDArray[np.bool_]) -> type[np.float32] | type[np.float64]:
    """float64 where [vectors, groups] ``wide`` asks for it, for one group of a vector at least.

    Raises:
        VectorsDifferError: some vectors do and some do not.
    """
    if not np.count_nonzero(wide):
        return np.float32
    if not wide.any(axis=1).all():
        raise VectorsDifferError
    return np.float64


def multipliers(reach: NDArray[np.floating[Any]], top: int) -> NDArray[Any]:
    """[vectors, groups] what takes numbers of 0 … ``reach`` to 0 … ``top``, and by no rounding beyond it.

    Args:
        reach: [vectors, groups] not negative; 0 is taken to 0.
        top: a float32 number.

    Returns:
        float32; or float64, where ``reach`` is or where a group is so small that a product could overflow.

    Raises:
        VectorsDifferError: as in :func:`float_type`.
    """
    exact = np.divide(top, np.where(reach > 0, reach, np.inf), dtype=np.float64)
    dtype = np.float64 if reach.dtype == np.float64 else float_type(exact > _LARGEST_FACTOR)
    factors: NDArray[Any] = exact.astype(dtype, copy=False)
    beyond = reach * factors > top
    if np.count_nonzero(beyond):
        np.nextafter(factors, dtype(0), out=factors, where=beyond)
    return factors


def group_widths(spans: list[Span]) -> NDArray[np.float64]:
    """[groups] entries in each."""
    widths = np.empty(count_groups(spans), np.float64)
    for span in spans:
        span.column(widths)[...] = span.width
    return widths


def group_sums(numbers: NDArray[np.generic], spans: list[Span]) -> NDArray[np.float64]:
    """[groups] sums in double precision."""
    sums = np.zeros(count_groups(spans), np.float64)
    for piece in pieces(spans):
        column = piece.column(sums)
        column += piece.rows(numbers).sum(axis=1, dtype=np.float64, keepdims=True)
    return sums


def read_scales(side: memoryview | NDArray[np.uint8], what: str) -> NDArray[np.float32]:
    """[..., groups] float32 scales from [..., bytes] of payloads.

    Raises:
        CodecError: one is negative, NaN or infinite.
    """
    scales = np.asarray(side, np.uint8).view("<f4").astype(np.float32, copy=False)
    refuse_damaged(scales, f"the {what}")
    if (scales < 0).any():
        raise CodecError(f"the {what} in the payload is negative; the bytes are damaged")
    return scales
