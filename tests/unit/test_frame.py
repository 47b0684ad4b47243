"""Frames: what is packed comes out, and damaged bytes are never taken for a frame."""

import math
import struct
import zlib
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from syft_fl.codecs import blanked, cut
from syft_fl.errors import FrameError
from syft_fl.transport.frame import (
    OVERHEAD_BYTES,
    Frame,
    pack_facts,
    pack_tensors,
    unpack_facts,
    unpack_tensors,
)

U32 = st.integers(0, 2**32 - 1)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    payload = draw(st.binary(max_size=40))
    spare = draw(st.integers(0, 7)) if payload else 0
    return Frame(
        draw(st.sampled_from(["model", "data", "value", "control"])),
        draw(U32),
        payload,
        8 * len(payload) - spare,
        draw(U32),
        draw(U32),
        draw(U32),
        draw(st.binary(max_size=20)),
        draw(st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False)),
    )


@given(frames())
def test_a_frame_comes_out_as_it_went_in(frame: Frame) -> None:
    data = frame.pack()
    assert Frame.unpack(data) == frame
    loss_bytes = 0 if frame.loss is None else 4
    assert len(data) == len(frame.payload) + len(frame.side) + OVERHEAD_BYTES + loss_bytes


@given(frames(), st.data())
def test_a_part_has_its_header_and_side_whole_and_gaps_in_its_payload(
    frame: Frame, data: st.DataObject
) -> None:
    packed = frame.pack()
    first, end = sorted(data.draw(st.tuples(*[st.integers(0, 8 * len(packed))] * 2)))
    gaps = ((first, end),) if first < end else ()
    before = 8 * (32 + (0 if frame.loss is None else 4))
    behind = before + 8 * len(frame.payload)
    needed = set(range(before)) | set(range(behind, behind + 8 * len(frame.side)))
    received = Frame.unpack_part(blanked(packed, gaps), gaps)
    assert (received is None) == bool(needed & set(range(first, end)))
    if received is None:
        return
    part, missing = received
    inside = {bit for start, stop in missing for bit in range(start, stop)}
    assert inside == {bit - before for bit in range(first, end)} & set(range(frame.payload_bits))
    # Nothing is known of the content of a gap, and all of the rest.
    gone = cut(gaps, before, behind)
    assert part == replace(frame, payload=blanked(frame.payload, gone))


@pytest.mark.parametrize(
    ("loss", "arrives"), [(0.1, 0.10000000149011612), (1e300, 3.4028234663852886e38), (math.nan, math.nan)]
)
def test_a_loss_takes_four_bytes_and_arrives_as_float32(loss: float, arrives: float) -> None:
    frame = Frame("model", 1, b"payload", 56, loss=loss, side=b"side")
    received = Frame.unpack(frame.pack())
    assert received.loss == pytest.approx(arrives, rel=0, abs=0, nan_ok=True)
    assert (bytes(received.payload), bytes(received.side)) == (b"payload", b"side")
    assert len(frame.pack()) == OVERHEAD_BYTES + 4 + 11


@given(frames(), st.data())
def test_a_flipped_bit_anywhere_is_noticed(frame: Frame, data: st.DataObject) -> None:
    sent = bytearray(frame.pack())
    bit = data.draw(st.integers(0, 8 * len(sent) - 1))
    sent[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FrameError):
        Frame.unpack(bytes(sent))


@given(frames(), st.data())
def test_a_cut_frame_is_noticed(frame: Frame, data: st.DataObject) -> None:
    sent = frame.pack()
    with pytest.raises(FrameError):
        Frame.unpack(sent[: data.draw(st.integers(0, len(sent) - 1))])


@given(st.binary(max_size=80))
def test_any_bytes_with_a_right_crc_are_a_frame_or_a_frame_error(body: bytes) -> None:
    data = body + struct.pack("<I", zlib.crc32(body))
    try:
        frame = Frame.unpack(data)
    except FrameError:
        return
    assert frame.pack() == data


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6, dtype=torch.int64).reshape(2, 3),
        torch.tensor(3.5),
        torch.empty(0, 4),
        torch.tensor([True, False]),
        torch.randn(2, 2, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16),
        torch.tensor([1 + 2j]),
        torch.arange(12.0).reshape(3, 4).t(),
        torch.tensor([1 + 2j]).conj(),
    ],
    ids=str,
)
def test_tensors_keep_dtype_shape_and_values(tensor: torch.Tensor) -> None:
    (found,) = unpack_tensors(pack_tensors([tensor]))
    assert found.dtype == tensor.dtype
    assert found.shape == tensor.shape
    assert torch.equal(found, tensor)


def test_several_tensors_come_out_in_order() -> None:
    sent = (torch.zeros(3), torch.ones((), dtype=torch.int8), torch.empty(0))
    found = unpack_tensors(pack_tensors(sent))
    assert [t.shape for t in found] == [t.shape for t in sent]


@given(st.binary(max_size=60))
def test_any_bytes_are_a_list_of_tensors_or_a_frame_error(data: bytes) -> None:
    try:
        unpack_tensors(data)
    except FrameError:
        return


def test_a_sparse_tensor_can_not_be_sent() -> None:
    with pytest.raises(FrameError, match="dense"):
        pack_tensors([torch.eye(2).to_sparse()])


def test_facts_travel_as_json() -> None:
    facts = {"request": 17, "why": "résumé"}
    assert unpack_facts(pack_facts(facts)) == facts
    with pytest.raises(FrameError):
        unpack_facts(b"\xff{")
