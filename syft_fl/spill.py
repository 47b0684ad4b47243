"""What is remembered of very many UEs: what was used last in memory, the rest in a file that is mapped.

A residual, a control variate or a codec's memory is a vector of the model's length for each UE: gigabytes where there
are a hundred thousand. :class:`Spill` keeps so many bytes of them in memory; beyond that the least recently used go to
a temporary file. What is read of those are tensors that lie in the file, with the same numbers: the system brings in
the pages that are looked at, and they are let go of when others were used since.

The file is removed as soon as it is open (where the system can do that), so nothing is left behind even by a program
that is killed. It lies in the folder for temporary files (``TMPDIR``); where that is itself in memory, nothing is
gained.

Left out: tensors of less than a page, which stay where they are.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable, ItemsView, Iterator, Mapping, MutableMapping, ValuesView
from dataclasses import fields, is_dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from syft_fl.errors import RunError

__all__ = ["Spill", "Spilling", "kept"]

K = TypeVar("K")
V = TypeVar("V")

_PAGE = max(4096, mmap.ALLOCATIONGRANULARITY)
_EXTENT = 2**26
"""The file grows by so many bytes at least."""


def kept(spill: Spill | None) -> MutableMapping[Any, Any]:
    """A new place to remember values in: all in memory where there is no spill."""
    return {} if spill is None else Spilling(spill)


class Spill:
    """So many bytes in memory, shared by any number of mappings (:class:`Spilling`); the rest in one file.

    Args:
        limit_bytes: of tensors in memory; 0: all are in the file.

    Example:
        >>> residuals = Spilling(Spill(10_000))
        >>> for ue in range(5):
        ...     residuals[ue] = torch.full((1024,), float(ue))
        >>> residuals.spill.in_memory_bytes, residuals.spill.in_file_bytes
        (8192, 12288)
        >>> residuals[1].sum().item()
        1024.0
    """

    def __init__(self, limit_bytes: float) -> None:
        self._limit = limit_bytes
        self._used: OrderedDict[int, _Entry] = (
            OrderedDict()
        )  # what counts as in memory, the last used at the end
        self._file = _File()
        self.in_memory_bytes = 0
        self._brought_in = 0.0

    @property
    def in_file_bytes(self) -> int:
        """What lies in the file now."""
        return self._file.held

    def use(self, entry: _Entry) -> None:
        """An entry was written or read: it counts as in memory, and others may have to go."""
        if not entry.bytes:
            return
        if id(entry) in self._used:
            self._used.move_to_end(id(entry))
            return
        self._used[id(entry)] = entry
        self.in_memory_bytes += entry.bytes
        # The system brings in what lies beside it, too.
        self._brought_in += entry.bytes if entry.is_filed else 0
        while self.in_memory_bytes > self._limit:
            _, oldest = self._used.popitem(last=False)
            self.in_memory_bytes -= oldest.bytes
            oldest.spill(self._file)
        if self._brought_in > max(self._limit, _EXTENT):
            self._file.let_go()
            self._brought_in = 0

    def drop(self, entry: _Entry) -> None:
        """An entry is gone."""
        if self._used.pop(id(entry), None) is not None:
            self.in_memory_bytes -= entry.bytes

    def looks_through(self) -> None:
        """All values are about to be read, none of them for long: that says nothing of what will be used next."""
        self._brought_in = math.inf


class Spilling(MutableMapping[K, V], Generic[K, V]):
    """A dictionary whose values' tensors may lie in a spill's file. Values are tensors, or hold some.

    A value that is read is the one that was written, or (where that is in the file) an equal one: with other tensors,
    and dictionaries in place of mappings. A tensor that somebody else still holds is given as it is.
    """

    def __init__(self, spill: Spill) -> None:
        self.spill = spill
        self._entries: dict[K, _Entry] = {}

    def __getitem__(self, key: K) -> V:
        entry = self._entries[key]
        self.spill.use(entry)
        value: V = entry.value
        return value

    def __setitem__(self, key: K, value: V) -> None:
        before = self._entries.get(key)
        if before is not None:
            if before.value is value:  # one model, written down for each UE that received it
                self.spill.use(before)
                return
            self.spill.drop(before)
        self._entries[key] = entry = _Entry(value)
        self.spill.use(entry)

    def __delitem__(self, key: K) -> None:
        self.spill.drop(self._entries.pop(key))

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> ItemsView[K, V]:
        """All at once, as for a checkpoint: nothing counts as used."""
        self.spill.looks_through()
        return {key: entry.value for key, entry in self._entries.items()}.items()

    def values(self) -> ValuesView[V]:
        """As :meth:`items`."""
        return dict(self.items()).values()


class _Entry:
    """A value, wherever it is."""

    __slots__ = ("_alive", "_slots", "_value", "bytes")

    def __init__(self, value: Any) -> None:
        self._value = value
        self._slots: list[_Slot] = []
        self._alive: weakref.ref[Tensor] | None = None
        self.bytes = 0

        def count(leaf: Tensor | _Filed) -> Tensor | _Filed:
            self.bytes += int(leaf.nbytes) if _worth_moving(leaf) else 0
            return leaf

        _changed(value, count)

    @property
    def value(self) -> Any:
        if not self._slots:
            return self._value
        # The same object for as long as somebody holds it: a reference is told from another by that.
        value = None if self._alive is None else self._alive()
        if value is None:
            value = _changed(self._value, lambda leaf: leaf.open() if isinstance(leaf, _Filed) else leaf)
            self._hold_on_to(value)
        return value

    @property
    def is_filed(self) -> bool:
        return bool(self._slots)

    def _hold_on_to(self, value: Any) -> None:
        self._alive = weakref.ref(value) if isinstance(value, Tensor) else None

    def spill(self, file: _File) -> None:
        if self._slots:
            for slot in self._slots:
                slot.let_go()
            return

        def moved(leaf: Tensor | _Filed) -> Tensor | _Filed:
            if isinstance(leaf, _Filed) or not _worth_moving(leaf):
                return leaf
            filed = file.put(leaf)
            self._slots.append(filed.slot)
            return filed

        self._hold_on_to(self._value)
        self._value = _changed(self._value, moved)


def _worth_moving(leaf: Tensor | _Filed) -> bool:
    return (
        isinstance(leaf, Tensor)
        and leaf.nbytes >= _PAGE
        and leaf.device.type == "cpu"
        and leaf.layout is torch.strided
        and not leaf.requires_grad
    )


def _changed(value: Any, change: Callable[[Tensor | _Filed], Tensor | _Filed]) -> Any:
    """A value with others in the place of its tensors."""
    if isinstance(value, Tensor | _Filed):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _changed(item, change) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_changed(item, change) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(_changed(item, change) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        named = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        found = {name: _changed(item, change) for name, item in named.items()}
        return value if all(found[name] is item for name, item in named.items()) else replace(value, **found)
    return value


class _Filed:
    """In the place of a tensor: where it lies.

    A tensor there would do, but its parts come from the memory that has just become free, and the next vector then does
    not fit where the last one was.
    """

    __slots__ = ("_dtype", "_shape", "nbytes", "slot")

    def __init__(self, slot: _Slot, tensor: Tensor) -> None:
        self.slot = slot
        self.nbytes = tensor.nbytes
        self._dtype = tensor.dtype
        self._shape = tensor.shape

    def open(self) -> Tensor:
        return torch.from_numpy(self.slot.lend(self.nbytes)).view(self._dtype).view(self._shape)


class _Slot:
    """A piece of the file; free again when nobody holds it any more, neither an entry nor a tensor that was read."""

    __slots__ = ("_map", "_start", "length", "pool")

    def __init__(self, pool: _Pool, map: mmap.mmap, start: int, length: int) -> None:
        self.pool, self._map, self._start, self.length = pool, map, start, length
        pool.held += length

    def __del__(self) -> None:
        self.let_go()
        self.pool.held -= self.length
        self.pool.free[self.length].append((self._map, self._start))

    def lend(self, count: int) -> _Lent:
        """[count] bytes of it, which hold it."""
        lent = np.frombuffer(self._map, np.uint8, count, self._start).view(_Lent)
        lent.slot = self
        return lent

    def let_go(self) -> None:
        """Its pages need not be in memory."""
        _let_go(self._map, self._start, self.length)


class _Lent(np.ndarray[Any, Any]):
    slot: _Slot


class _Pool:
    """Pieces that are free again, by length; apart from the file, since pieces outlive it where tensors do."""

    def __init__(self) -> None:
        self.held = 0
        self.free: defaultdict[int, list[tuple[mmap.mmap, int]]] = defaultdict(list)


class _File:
    """Tensors in one temporary file, which is made when it is first asked for."""

    def __init__(self) -> None:
        self._pool = _Pool()
        self._file: Any = None
        self._maps: list[mmap.mmap] = []
        self._length = 0
        self._last: tuple[int, int] = (0, 0)  # of the newest map: from where on it is new, and its length

    @property
    def held(self) -> int:
        return self._pool.held

    def put(self, tensor: Tensor) -> _Filed:
        """A copy of a tensor in the file."""
        filed = _Filed(self._slot(_rounded(tensor.nbytes)), tensor)
        filed.open().copy_(tensor)
        filed.slot.let_go()
        return filed

    def let_go(self) -> None:
        for map_ in self._maps:
            _let_go(map_, 0, len(map_))

    def _slot(self, length: int) -> _Slot:
        free = self._pool.free[length]
        if free:
            return _Slot(self._pool, *free.pop(), length)
        start, end = self._last
        if start + length > end:
            self._grow(max(_EXTENT, length))
            start, end = self._last
        self._last = start + length, end
        return _Slot(self._pool, self._maps[-1], start, length)

    def _grow(self, length: int) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="syft_fl-")  # noqa: SIM115
                weakref.finalize(self, self._file.close)
            # Room is taken and not only named: a full disk is an error here, and not the end of the process later.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._file.fileno(), self._length, length)
            else:
                self._file.truncate(self._length + length)
            self._maps.append(mmap.mmap(self._file.fileno(), length, offset=self._length))
        except OSError as error:
            raise RunError(
                f"no room for {length} bytes more in a temporary file in {tempfile.gettempdir()} "
                f"({error.strerror or error}); set TMPDIR to a folder with room, or let more stay in memory "
                "(population.spill_mb)"
            ) from error
        self._length += length
        self._last = 0, length


def _rounded(length: int) -> int:
    """Up to whole pages, and by at most an eighth: pieces of few lengths fit again where one has been."""
    step = max(_PAGE, (1 << length.bit_length() - 1) // 8)
    step -= step % _PAGE
    return -(-length // step) * step


def _let_go(map_: mmap.mmap, start: int, length: int) -> None:
    # What was written stays in the system's own memory until it is on the disk; it no longer counts as ours.
    if hasattr(mmap, "MADV_DONTNEED"):
        map_.madvise(mmap.MADV_DONTNEED, start, length)
