"""LAQ's quantiser against one written by hand, as the paper has it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from syft_fl.codecs import Context, Innovation, Payload
from syft_fl.experiment import parse, run
from syft_fl.keys import Key
from syft_fl.vectors import Layout

ENTRIES = 300


def by_hand(x: np.ndarray, last: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Symbols, what they stand for, and R: section 2.1 of Sun et al. 2019, in double precision."""
    radius = float(np.abs(x - last).max())
    tau = 1 / (2**bits - 1)
    symbols = np.floor((x - last + radius) / (2 * tau * radius) + 0.5)
    return symbols, last + 2 * tau * radius * symbols - radius, radius


def drifting(messages: int) -> list[torch.Tensor]:
    """Vectors that come to rest: each differs from the one before by half as much."""
    drawn = torch.randn(messages, ENTRIES, generator=(Key(8) / "drift").torch())
    return list(torch.cumsum(drawn * 0.5 ** torch.arange(messages)[:, None], dim=0))


def context(memory: dict | None = None) -> Context:
    return Context(Layout.flat(ENTRIES), Key(1), memory=memory or {})


def symbols_of(payload: Payload, bits: int) -> np.ndarray:
    """Words of ``bits`` bits behind the float32 R, the low bits first."""
    stream = np.unpackbits(np.frombuffer(bytes(payload.body)[4:], np.uint8), bitorder="little")
    return stream[: ENTRIES * bits].reshape(ENTRIES, bits) @ (1 << np.arange(bits))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_symbols_and_values_are_those_of_the_paper_message_after_message(bits: int) -> None:
    codec = Innovation(bits=bits)
    sender: dict = {}
    receiver: dict = {}
    last = np.zeros(ENTRIES)
    for x in drifting(12):
        payload, sender = codec.encode(x, ctx=context(sender))
        decoded, receiver = codec.decode(payload, ctx=context(receiver))
        symbols, values, radius = by_hand(x.double().numpy(), last, bits)
        assert payload.bits == 32 + bits * ENTRIES
        assert np.frombuffer(bytes(payload.body)[:4], "<f4")[0] == pytest.approx(radius, rel=2.0**-23)
        np.testing.assert_array_equal(symbols_of(payload, bits), symbols)
        np.testing.assert_allclose(decoded.numpy(), values, rtol=0, atol=2.0**-22 * np.abs(values).max())
        error = np.abs(decoded.double().numpy() - x.double().numpy()).max()
        assert error <= radius / (2**bits - 1) + 2.0**-22 * np.abs(values).max()
        last = decoded.double().numpy()
        assert torch.equal(sender["last"], receiver["last"])


def test_the_error_falls_with_the_change_and_not_with_the_vector() -> None:
    """Halving steps halve the error; a grid around 0 stays where it is."""
    codec = Innovation(bits=4)
    errors, without = [], []
    memory: dict = {}
    for x in drifting(12):
        payload, after = codec.encode(x, ctx=context(memory))
        errors.append(float((codec.decode(payload, ctx=context(memory))[0] - x).norm()))
        alone, _ = codec.encode(x, ctx=context())
        without.append(float((codec.decode(alone, ctx=context())[0] - x).norm()))
        memory = dict(after)
    # 0.5 a message in the long run; five of them may do a little worse.
    assert errors[10] <= 0.6**5 * errors[5]
    assert min(without) > 0.5 * max(without)


def test_a_vector_that_does_not_change_arrives_ever_more_exactly() -> None:
    """Each message divides the error by 2^b - 1 at least, down to float32's resolution."""
    codec, x = Innovation(bits=4), drifting(1)[0]
    memory: dict = {}
    before = float(x.abs().max())
    for _ in range(5):
        payload, after = codec.encode(x, ctx=context(memory))
        error = float((codec.decode(payload, ctx=context(memory))[0] - x).abs().max())
        assert error <= before / 15 + 2.0**-22
        before, memory = error, dict(after)


def test_a_message_that_does_not_arrive_changes_nothing() -> None:
    codec = Innovation()
    first, second, third = drifting(3)
    payload, sender = codec.encode(first, ctx=context())
    _, receiver = codec.decode(payload, ctx=context())
    codec.encode(second, ctx=context(dict(sender)))  # lost
    payload, sender = codec.encode(third, ctx=context(dict(sender)))
    decoded, receiver = codec.decode(payload, ctx=context(dict(receiver)))
    _, expected, _ = by_hand(
        third.double().numpy(), by_hand(first.double().numpy(), np.zeros(ENTRIES), 4)[1], 4
    )
    np.testing.assert_allclose(decoded.numpy(), expected, atol=1e-5)
    assert torch.equal(sender["last"], receiver["last"])


def test_a_change_beyond_float32_is_cut_to_it_and_made_up_for_by_the_next_message() -> None:
    codec = Innovation(bits=16)
    memory: dict = {}
    for sign in (1.0, -1.0, -1.0):
        x = torch.full((ENTRIES,), sign * 3.4e38)
        memory = dict(codec.encode(x, ctx=context(memory))[1])
        assert bool(torch.isfinite(memory["last"]).all())
    assert float((memory["last"] / x - 1).abs().max()) < 1e-4


def test_memory_of_another_model_is_not_used() -> None:
    codec, x = Innovation(), drifting(1)[0]
    other = context({"last": torch.ones(7)})
    assert codec.encode(x, ctx=other)[0] == codec.encode(x, ctx=context())[0]


def test_over_the_air_two_bits_around_the_last_update_do_what_two_bits_around_zero_do_not() -> None:
    """Full-batch updates change little from round to round; both ends remember, round after round."""

    def loss(codec: dict) -> float:
        config = parse(
            {
                "data": {"kind": "synthetic"},
                "model": {"kind": "softmax"},
                "population": {"ues": 6},
                "stop": {"rounds": 12},
                "training": {"batch_size": 10**5, "learning_rate": 0.3},
                "uplink": {"delta": True, "codec": codec},
            }
        )
        return float(run(config).rounds["loss"].iloc[-1])

    exact = loss({"kind": "float32"})
    around_last = abs(loss({"kind": "laq", "bits": 2}) - exact)
    around_zero = abs(loss({"kind": "uniform", "bits": 2, "ends": "symmetric", "block": "vector"}) - exact)
    assert around_last < 0.1 * around_zero
