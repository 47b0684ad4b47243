"""The bytes on the air: header, body, CRC32.

::

    0   2s   magic "SF"                     16  u32  samples (weight in the aggregate)
    2   u8   format of this header          20  u64  bits of the payload
    3   u8   message class                  28  u32  bytes of the side tensors
    4   u32  serial of the message          32       payload, then side tensors
    8   u32  federated round                …   u32  CRC32 of everything before
    12  u32  reference version (0: none)

A message class with its highest bit set has a training loss (f32) between header and payload: 4 bytes that are there
only where the codec of the uplink asks for them. Up it is the UE's own mean loss of this local training; down it is
the mean of those that came up last, and *samples* the mean samples of the UEs. Not a number is: not known.

The CRC32 is of all bytes, so it can't be checked where some are missing (``Uplink.erasure``): then each packet that
came was found intact by a CRC of its own, in the link's headers.

All integers are little-endian. A delta names the version that it refers to; a receiver that does not hold it
can't decode. There are no addresses: who may send when is the medium's business.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from syft_fl.codecs import Gaps, cut
from syft_fl.errors import FrameError
from syft_fl.transport.message import MessageKind

__all__ = ["OVERHEAD_BYTES", "Frame", "pack_facts", "pack_tensors", "unpack_facts", "unpack_tensors"]

_HEADER = struct.Struct("<2sBBIIIIQI")
_CRC = struct.Struct("<I")
_LOSS = struct.Struct("<f")
_HAS_LOSS = 0x80  # beside the message class
_MOST = float(np.finfo(np.float32).max)
_MAGIC = b"SF"
_FORMAT = 1
_KINDS: tuple[MessageKind, ...] = (
    "model",
    "data",
    "value",
    "control",
    "skip",
    "request",
    "grant",
    "ack",
    "nack",
    "hello",
    "bye",
)

OVERHEAD_BYTES = _HEADER.size + _CRC.size
"""Bytes that every frame adds to its body (and its training loss, if it has one)."""

_DTYPES: tuple[torch.dtype, ...] = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.complex128,
)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, taken apart.

    Attributes:
        kind: message class.
        serial: number of the message on its link; names the random stream of its codec.
        round: federated round.
        reference: version that a delta refers to; 0 for none.
        samples: the sender's weight in the aggregate; of the base station, the mean of the UEs'.
        payload: what the codec wrote.
        payload_bits: how many of its bits mean something.
        side: what travels beside it without loss.
        loss: the training loss that it reports (in float32), not a number if unknown; None where frames have none.
    """

    kind: MessageKind
    serial: int
    payload: bytes | memoryview
    payload_bits: int
    round: int = 0
    reference: int = 0
    samples: int = 0
    side: bytes | memoryview = b""
    loss: float | None = None

    def pack(self) -> bytes:
        """The bytes to send."""
        head = _HEADER.pack(
            _MAGIC,
            _FORMAT,
            _KINDS.index(self.kind) | (0 if self.loss is None else _HAS_LOSS),
            self.serial,
            self.round,
            self.reference,
            self.samples,
            self.payload_bits,
            len(self.side),
        )
        if self.loss is not None:
            head += _LOSS.pack(min(max(self.loss, -_MOST), _MOST))  # not a number stays so
        crc = zlib.crc32(self.side, zlib.crc32(self.payload, zlib.crc32(head)))
        return b"".join((head, self.payload, self.side, _CRC.pack(crc)))

    @classmethod
    def unpack(cls, data: bytes, *, untouched: bool = False) -> Frame:
        """Take received bytes apart. Payload and side are views of them: a model is not copied to be looked at.

        Args:
            untouched: they are the very object that :meth:`pack` made in this process. Bytes can't change, so the
                CRC32 that was just computed over them is not computed a second time.

        Raises:
            FrameError: cut short, damaged (CRC), of another format, or with lengths that don't add up.
        """
        if len(data) < OVERHEAD_BYTES:
            raise FrameError(f"{len(data)} bytes are no frame: the shortest has {OVERHEAD_BYTES}")
        body = memoryview(data)[: -_CRC.size]
        if not untouched and zlib.crc32(body) != _CRC.unpack_from(data, len(body))[0]:
            raise FrameError("CRC32 does not match: the frame was damaged on the way")
        return cls._taken_apart(data, body)

    @classmethod
    def unpack_part(cls, data: bytes, gaps: Gaps) -> tuple[Frame, Gaps] | None:
        """Take apart what came of a frame. Its CRC32 is not checked: each packet that came had one of its own.

        Args:
            data: of the length that was sent, anything where nothing came.
            gaps: bits that did not come.

        Returns:
            The frame, and the gaps in its payload; None where its header, its loss or its side is not all there.
        """
        if cut(gaps, 0, 8 * _HEADER.size):
            return None
        frame = cls._taken_apart(data, memoryview(data)[: -_CRC.size])
        start = _HEADER.size + (0 if frame.loss is None else _LOSS.size)
        end = start + len(frame.payload)
        if cut(gaps, 0, 8 * start) or cut(gaps, 8 * end, 8 * (end + len(frame.side))):
            return None
        return frame, cut(gaps, 8 * start, 8 * start + frame.payload_bits)

    @classmethod
    def _taken_apart(cls, data: bytes, body: memoryview) -> Frame:
        magic, form, kind, serial, round_, reference, samples, bits, side = _HEADER.unpack_from(data)
        has_loss, kind = bool(kind & _HAS_LOSS), kind & ~_HAS_LOSS
        if magic != _MAGIC or form != _FORMAT or kind >= len(_KINDS):
            raise FrameError(f"header {magic!r} format {form} kind {kind} is not one of ours")
        payload_start = _HEADER.size + (_LOSS.size if has_loss else 0)
        payload_end = len(body) - side
        if payload_end - payload_start != (bits + 7) // 8:
            raise FrameError(f"{bits} payload bits and {side} side bytes don't fill {len(data)} bytes")
        return cls(
            _KINDS[kind],
            serial,
            body[payload_start:payload_end],
            bits,
            round_,
            reference,
            samples,
            body[payload_end:],
            _LOSS.unpack_from(data, _HEADER.size)[0] if has_loss else None,
        )


def pack_tensors(tensors: Sequence[Tensor]) -> bytes:
    """Tensors in their own dtype: per tensor dtype and dimensions (u8, u8, u32 each), then its bytes.

    Raises:
        FrameError: a dtype that has no code here (quantised, sparse).
    """
    parts: list[bytes | memoryview] = []
    for tensor in tensors:
        if tensor.dtype not in _DTYPES or tensor.layout != torch.strided:
            raise FrameError(
                f"tensors of {tensor.dtype} ({tensor.layout}) can't be sent; convert to a dense dtype"
            )
        parts.append(struct.pack("<BB", _DTYPES.index(tensor.dtype), tensor.ndim))
        parts.append(struct.pack(f"<{tensor.ndim}I", *tensor.shape))
        parts.append(_bytes_of(tensor))
    return b"".join(parts)


def unpack_tensors(data: bytes | memoryview) -> tuple[Tensor, ...]:
    """What :func:`pack_tensors` wrote, in fresh memory.

    Raises:
        FrameError: the bytes are not such a list.
    """
    tensors: list[Tensor] = []
    at = 0
    try:
        while at < len(data):
            code, ndim = struct.unpack_from("<BB", data, at)
            shape = struct.unpack_from(f"<{ndim}I", data, at + 2)
            at += 2 + 4 * ndim
            empty = torch.empty(0, dtype=_DTYPES[code])
            size = empty.element_size() * int(np.prod(shape, dtype=object))
            if at + size > len(data):
                raise FrameError(f"a tensor of {size} bytes is cut short")
            if size:
                raw = torch.from_numpy(np.frombuffer(data, np.uint8, size, at).copy())
                tensors.append(raw.view(empty.dtype).reshape(shape))
            else:
                tensors.append(empty.reshape(shape))
            at += size
    except (struct.error, IndexError, RuntimeError) as error:  # torch: dimensions beyond int64
        raise FrameError(f"no list of tensors: {error}") from None
    return tuple(tensors)


def pack_facts(facts: Mapping[str, Any]) -> bytes:
    """A control message's facts as compact JSON."""
    return json.dumps(facts, separators=(",", ":"), sort_keys=True).encode()


def unpack_facts(data: bytes | memoryview) -> dict[str, Any]:
    """What :func:`pack_facts` wrote."""
    try:
        facts: dict[str, Any] = json.loads(bytes(data))
    except ValueError as error:
        raise FrameError(f"no control message: {error}") from None
    return facts


def _bytes_of(tensor: Tensor) -> bytes | memoryview:
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else b""
