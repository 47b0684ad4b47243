"""A batch is its vectors: the same bytes, values, memories and errors, whatever is beside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from claims import CLAIMS

from syft_fl.codecs import CODECS, Codec, Context, Payload, Uniform
from syft_fl.codecs.batch import decode_batch, encode_batch
from syft_fl.errors import CodecError
from syft_fl.keys import Key
from syft_fl.schema import plain
from syft_fl.vectors import Layout, Slot

EVERY = [CODECS.build({"kind": kind} | fields) for kind, claim in CLAIMS.items() for fields in claim.settings]
every_codec = pytest.mark.parametrize("codec", EVERY, ids=lambda c: ",".join(map(str, plain(c).values())))


def layout_of(*lengths: int) -> Layout:
    starts = np.cumsum([0, *lengths])
    return Layout(tuple(Slot(f"tensor{i}", (n,), int(starts[i])) for i, n in enumerate(lengths)))


def contexts(layout: Layout, ues: int) -> list[Context]:
    return [Context(layout, Key(6) / f"ue{i}", memory={"ue": i}) for i in range(ues)]


def gaussian(ues: int, entries: int) -> torch.Tensor:
    return torch.randn(ues, entries, generator=(Key(0) / "batch").torch())


def plainly(value: Any) -> Any:
    """Payloads and memories as something that ``==`` compares: what a codec remembers may be a tensor."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {name: plainly(item) for name, item in value.items()}
    return [plainly(item) for item in value] if isinstance(value, list | tuple) else value


def assert_batch_is_its_vectors(codec: Codec, xs: torch.Tensor, ctxs: list[Context]) -> None:
    alone = [codec.encode(x, ctx=ctx) for x, ctx in zip(xs, ctxs, strict=True)]
    assert plainly(encode_batch(codec, xs, ctxs)) == plainly(alone)
    payloads = [payload for payload, _ in alone]
    decoded = [codec.decode(payload, ctx=ctx) for payload, ctx in zip(payloads, ctxs, strict=True)]
    values, memories = decode_batch(codec, payloads, ctxs)
    assert torch.equal(values.view(torch.int32), torch.stack([x for x, _ in decoded]).view(torch.int32))
    assert plainly(memories) == plainly([memory for _, memory in decoded])


@every_codec
def test_a_batch_has_the_bytes_and_the_values_of_single_calls(codec: Codec) -> None:
    assert_batch_is_its_vectors(codec, gaussian(4, 650), contexts(layout_of(3, 0, 600, 47), 4))


@every_codec
def test_vectors_that_need_other_arithmetic_do_not_change_their_neighbours(codec: Codec) -> None:
    xs = gaussian(5, 30)
    xs[1] *= 1e37
    xs[3] *= 1e-40
    xs[4] = 0
    assert_batch_is_its_vectors(codec, xs, contexts(layout_of(10, 20), 5))


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("ues", [1, 3, 9])
def test_a_batch_larger_than_a_cache_is_cut(rounding: str, ues: int) -> None:
    codec = CODECS.build({"kind": "uniform", "bits": 4, "rounding": rounding, "block": 1000})
    assert_batch_is_its_vectors(codec, gaussian(ues, 150_001), contexts(layout_of(149_990, 11), ues))


@every_codec
@pytest.mark.parametrize("shape", [(0, 7), (1, 7), (3, 0)])
def test_batches_may_be_of_none_of_one_and_of_empty_vectors(codec: Codec, shape: tuple[int, int]) -> None:
    layout = Layout.flat(shape[1])
    ctxs = contexts(layout, shape[0])
    encoded = encode_batch(codec, gaussian(*shape), ctxs)
    alone = [codec.encode(x, ctx=ctx) for x, ctx in zip(gaussian(*shape), ctxs, strict=True)]
    assert plainly(encoded) == plainly(alone)
    values, _ = decode_batch(codec, [payload for payload, _ in encoded], ctxs)
    assert values.shape == (shape if shape[0] else (0, 0))


def test_neighbours_may_have_different_layouts() -> None:
    layouts = [layout_of(20, 10), layout_of(20, 10), layout_of(30), layout_of(10, 20), layout_of(10, 20)]
    ctxs = [replace(ctx, layout=of) for ctx, of in zip(contexts(Layout(()), 5), layouts, strict=True)]
    assert_batch_is_its_vectors(Uniform(rounding="stochastic"), gaussian(5, 30), ctxs)


def error_of(call: Callable[[], object]) -> str:
    """What a call is refused for; nothing if it is not."""
    try:
        call()
    except CodecError as error:
        return str(error)
    return ""


@every_codec
def test_what_is_refused_alone_is_refused_in_a_batch_for_the_same_reason(codec: Codec) -> None:
    ctxs = contexts(layout_of(10, 20), 3)
    xs = gaussian(3, 30)
    xs[1, 17] = float("nan")
    alone = error_of(lambda: codec.encode(xs[1], ctx=ctxs[1]))
    assert "index 17" in alone
    assert error_of(lambda: encode_batch(codec, xs, ctxs)) == alone
    payloads = [codec.encode(x, ctx=ctx)[0] for x, ctx in zip(gaussian(3, 30), ctxs, strict=True)]
    body = payloads[2].body
    for wrong in (
        Payload(body + b"\0" * 9, 8 * len(body) + 72),
        Payload(b"\xff" * len(body), payloads[2].bits),
    ):
        alone = error_of(lambda wrong=wrong: codec.decode(wrong, ctx=ctxs[2]))
        assert error_of(lambda wrong=wrong: decode_batch(codec, [*payloads[:2], wrong], ctxs)) == alone


def test_each_vector_needs_a_context_and_the_length_of_its_layout() -> None:
    ctxs = contexts(Layout.flat(30), 3)
    assert "2 vectors can't go with 3 contexts" in error_of(
        lambda: encode_batch(Uniform(), gaussian(2, 30), ctxs)
    )
    assert "float32 vector of 30 entries" in error_of(lambda: encode_batch(Uniform(), gaussian(3, 31), ctxs))
