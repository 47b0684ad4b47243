"""A codec on a card: the host's bytes and the host's values, by operations that give the same bits on both.

The card is pretended (``tests/pretended.py``): its operations are the CPU's. So what a real one may do in another way
is looked at by name: which operations it is asked for, and sums in several orders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from claims import CLAIMS
from pretended import CARD, PretendedCard

from syft_fl.codecs import CODECS, QSGD, Codec, Context, Dithered, OneBit, Payload, ScaledSign, Uniform
from syft_fl.codecs import backends as module
from syft_fl.codecs.batch import decode_batch, encode_batch, is_everywhere
from syft_fl.codecs.groups import Span
from syft_fl.codecs.quantiser import BatchQuantiser
from syft_fl.codecs.scales import l2_norms, mean_magnitudes, signed_means
from syft_fl.errors import CodecError
from syft_fl.keys import Key
from syft_fl.schema import plain
from syft_fl.vectors import Layout, Slot

EVERY = [CODECS.build({"kind": kind} | fields) for kind, claim in CLAIMS.items() for fields in claim.settings]
WIDE = [
    Uniform(bits=bits, rounding=rounding, ends=ends, block=100)  # type: ignore[arg-type]
    for bits in (1, 3, 8, 9, 15, 16)
    for rounding in ("nearest", "stochastic")
    for ends in ("affine", "symmetric")
]
WIDE += [QSGD(levels=levels) for levels in (1, 127, 128, 5000, 32767)]  # type: ignore[misc]
WIDE += [Dithered(bits=bits) for bits in (2, 9, 16)]  # type: ignore[misc]
CARDS = [codec for codec in [*EVERY, *WIDE] if is_everywhere(codec)]


def name_of(codec: Codec) -> str:
    return ",".join(map(str, plain(codec).values()))


every_codec = pytest.mark.parametrize("codec", EVERY, ids=name_of)
codecs_of_cards = pytest.mark.parametrize("codec", CARDS, ids=name_of)


def gaussian(ues: int = 3, entries: int = 650) -> torch.Tensor:
    return torch.randn(ues, entries, generator=(Key(0) / "backends").torch())


def contexts(ues: int, *lengths: int) -> list[Context]:
    starts = np.cumsum([0, *lengths])
    slots = [Slot(f"tensor{i}", (n,), int(starts[i])) for i, n in enumerate(lengths)]
    return [Context(Layout(tuple(slots)), Key(6) / f"ue{i}") for i in range(ues)]


def assert_same(codec: Codec, xs: torch.Tensor, ctxs: list[Context], card: PretendedCard) -> None:
    """Bytes of the host, and values of the host to the sign of a zero."""
    alone = [codec.encode(x, ctx=ctx)[0] for x, ctx in zip(xs, ctxs, strict=True)]
    values = [codec.decode(payload, ctx=ctx)[0] for payload, ctx in zip(alone, ctxs, strict=True)]
    with card:
        written = [payload for payload, _ in encode_batch(codec, xs.to(CARD), ctxs)]
        read, _ = decode_batch(codec, alone, ctxs, device=CARD)
        assert read.device == CARD
        read = read.cpu()
    assert [bytes(payload.body) for payload in written] == [bytes(payload.body) for payload in alone]
    assert [payload.bits for payload in written] == [payload.bits for payload in alone]
    assert torch.equal(read.view(torch.int32), torch.stack(values).view(torch.int32))


def test_the_quantisers_with_fixed_words_go_to_the_card_and_nothing_else_does() -> None:
    kinds = {codec.kind for codec in EVERY if is_everywhere(codec)}
    assert kinds == {"dithered", "one-bit", "qsgd", "sign", "terngrad", "uniform"}
    assert not is_everywhere(CODECS.build({"kind": "qsgd", "coder": "elias-gamma"}))
    assert not is_everywhere(CODECS.build({"kind": "rotated", "codec": "qsgd"}))


@every_codec
def test_a_card_has_the_bytes_and_the_values_of_the_host(codec: Codec) -> None:
    assert_same(codec, gaussian(), contexts(3, 3, 0, 600, 47), PretendedCard())


SCALES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "huge": lambda xs: xs * 5e37,
    "two huge": lambda xs: torch.cat([xs[:, 2:], torch.tensor([[3e38, -3e38]]).expand(len(xs), 2)], dim=1),
    "denormal": lambda xs: xs * 1e-41,
    "small": lambda xs: xs * 1e-35,
    "zeros of either sign": lambda xs: torch.where(xs > 0, 0.0, -0.0),
    "zeros of either sign below": lambda xs: torch.where(xs.abs() < 1, xs * 0, -xs.abs()),
    "one value": lambda xs: torch.full_like(xs, 0.3),
    "whole": lambda xs: (4 * xs).round(),
    "mixed": lambda xs: xs * torch.tensor([1.0, 1e37, 1e-40])[:, None],
}


@codecs_of_cards
@pytest.mark.parametrize("scale", SCALES)
def test_and_so_it_has_of_unusual_entries(codec: Codec, scale: str) -> None:
    assert_same(codec, SCALES[scale](gaussian()), contexts(3, 600, 1, 49), PretendedCard())


@codecs_of_cards
@pytest.mark.parametrize("shape", [(0, 7), (1, 1), (3, 0)])
def test_and_of_none_of_one_and_of_empty_vectors(codec: Codec, shape: tuple[int, int]) -> None:
    xs, ctxs = gaussian(*shape), contexts(shape[0], shape[1])
    alone = [codec.encode(x, ctx=ctx) for x, ctx in zip(xs, ctxs, strict=True)]
    with PretendedCard():
        assert encode_batch(codec, xs.to(CARD), ctxs) == alone
        values, _ = decode_batch(codec, [payload for payload, _ in alone], ctxs, device=CARD)
    assert values.shape == (shape if shape[0] else (0, 0))


class Recorder(PretendedCard):
    """A pretended card that writes down what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.refused: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = super().__torch_dispatch__(func, types, args, kwargs)
        tensors = [value for value in (*args, found) if isinstance(value, torch.Tensor)]
        if any(value.device == CARD for value in tensors):
            name = func._schema.name.removeprefix("aten::")
            self.asked[name] += 1
            unsigned = (torch.uint16, torch.uint32, torch.uint64)
            self.refused += [f"{name} of {value.dtype}" for value in tensors if value.dtype in unsigned]
            if name.startswith("div") and not (isinstance(args[1], torch.Tensor) and args[1].ndim):
                self.refused.append(f"{name} by a number")
        return found


# Each of them rounds once and correctly, or not at all.
SAME_BITS = {
    *("add_", "sub", "sub_", "mul", "mul_", "div", "div_", "round_", "clamp_", "clamp", "abs", "ge", "where"),
    *("amin", "amax", "max"),
    *("bitwise_and", "bitwise_and_", "__and__", "__rshift__", "__irshift__"),
    *("_to_copy", "copy_", "fill_", "zeros", "empty", "cat", "stack", "clone"),
    *(
        "view",
        "_unsafe_view",
        "_reshape_alias",
        "slice",
        "select",
        "unsqueeze",
        "expand",
        "detach",
        "alias",
        "unbind",
    ),
    "_local_scalar_dense",
}
SUMS = {"sum", "linalg_vector_norm"}


def test_a_card_is_asked_for_nothing_that_may_give_other_bits() -> None:
    card = Recorder()
    for codec in CARDS:
        for scale in SCALES.values():
            assert_same(codec, scale(gaussian()), contexts(3, 600, 1, 49), card)
    assert set(card.asked) <= SAME_BITS | SUMS
    assert set(card.asked) >= SUMS
    assert card.refused == []


class InOrder(PretendedCard):
    """A pretended card that adds up term by term, from the first one or from the last one on."""

    def __init__(self, *, backwards: bool) -> None:
        super().__init__()
        self.backwards = backwards

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        if name not in SUMS or (kwargs or {}).get("dtype") is not torch.float64:
            return super().__torch_dispatch__(func, types, args, kwargs)
        terms = args[0].inner.double()
        terms = terms * terms if name == "linalg_vector_norm" else terms
        total = (terms.flip(-1) if self.backwards else terms).cumsum(-1)[..., -1]
        return super().__torch_dispatch__(
            torch.ops.aten._to_copy.default,
            types,
            (total.sqrt() if name == "linalg_vector_norm" else total,),
            {"device": CARD},
        )


def torn(codec: Codec) -> torch.Tensor:
    """[1, 64] a group whose float32 number depends on the order in which float64 terms are added.

    The first terms are exactly halfway between two float32 numbers, and go to the even one. Each of the others alone is
    less than their sum can hold; all of them together, added first, lead above it.
    """
    if isinstance(codec, QSGD):  # the root of 1 + 2**-23 + 2**-48 is 1 + 2**-24
        first, other = [1.0, 2.0**-12, 2.0**-12, 2.0**-24], 2.0**-27
    else:
        first, other = [1.0, 1.0 + 2.0**-23], 2.0**-53
    return torch.tensor([first + [other] * (64 - len(first))])


TORN: list[BatchQuantiser] = [QSGD(block=64), ScaledSign(), OneBit(block=64)]


@pytest.mark.parametrize("codec", TORN, ids=name_of)
def test_the_order_of_a_card_s_sums_changes_no_byte(
    codec: BatchQuantiser,
) -> None:
    x = torn(codec)
    for xs in (x, -x, torch.cat([x, gaussian(1, 64 * 50)], dim=1), torch.cat([gaussian(1, 64), -x], dim=1)):
        for ordered in (x.flip(-1) if xs is x else xs, xs):
            for backwards in (False, True):
                ctxs = contexts(1, *[64] * (xs.shape[1] // 64))
                assert_same(codec, ordered, ctxs, InOrder(backwards=backwards))


@pytest.mark.parametrize("codec", TORN, ids=name_of)
def test_and_it_would_if_the_host_were_not_asked(
    codec: BatchQuantiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_slack", lambda spans: np.zeros(len(spans)))
    ctxs = contexts(1, 64)
    written = []
    for backwards in (False, True):
        with InOrder(backwards=backwards):
            written += encode_batch(codec, torn(codec).to(CARD), ctxs)
    assert bytes(written[0][0].body) != bytes(written[1][0].body)


@pytest.mark.parametrize("codec", [ScaledSign(block=2), OneBit(block=4)], ids=name_of)
def test_where_many_groups_are_in_doubt_their_vector_comes_at_once(codec: Codec) -> None:
    card = PretendedCard()
    assert_same(codec, gaussian(2, 1000), contexts(2, 1000), card)
    # What is measured, both vectors, packed bytes; and the values that the test looks at.
    assert card.crossed["to host"] == 5


@pytest.mark.parametrize("width", [1, 3, 64, 512, 1000, 9000, 70_000])
def test_a_group_alone_is_measured_as_among_others(width: int) -> None:
    """What a card asks the host for: the number of one group, without its vector."""
    xs = gaussian(1, 5 * width).numpy()
    spans, one = [Span(0, 5 * width, 0, width)], [Span(0, width, 0, width)]
    measures: list[Callable[[Any, list[Span]], Any]] = [
        lambda rows, spans: l2_norms(rows[0], spans),
        lambda rows, spans: mean_magnitudes(rows, spans)[0],
        lambda rows, spans: signed_means(rows, (rows >= 0).view(np.uint8), spans)[0],
    ]
    for measure in measures:
        among = measure(xs, spans)
        for group in range(5):
            alone = measure(xs[:, group * width : (group + 1) * width].copy(), one)
            assert alone.tobytes() == among[group::5].tobytes()


def error_of(call: Callable[[], object]) -> str:
    try:
        call()
    except CodecError as error:
        return str(error)
    return ""


@codecs_of_cards
def test_what_the_host_refuses_a_card_refuses_for_the_same_reason(codec: Codec) -> None:
    ctxs = contexts(3, 10, 20)
    xs = gaussian(3, 30)
    xs[1, 17] = float("nan")
    payloads = [codec.encode(x, ctx=ctx)[0] for x, ctx in zip(gaussian(3, 30), ctxs, strict=True)]
    body = bytes(payloads[2].body)
    wrongs = [Payload(body + b"\0" * 9, 8 * len(body) + 72), Payload(b"\xff" * len(body), payloads[2].bits)]
    with PretendedCard():
        alone = error_of(lambda: codec.encode(xs[1], ctx=ctxs[1]))
        assert "index 17" in alone
        assert error_of(lambda: encode_batch(codec, xs.to(CARD), ctxs)) == alone
        for wrong in wrongs:
            alone = error_of(lambda wrong=wrong: codec.decode(wrong, ctx=ctxs[2]))
            many = error_of(
                lambda wrong=wrong: decode_batch(codec, [*payloads[:2], wrong], ctxs, device=CARD)
            )
            assert many == alone
