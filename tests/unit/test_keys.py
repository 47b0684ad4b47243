"""Named random streams: a function of seed and path, and of nothing else."""

import math

import numpy as np
import torch

from syft_fl.keys import Key


def test_a_stream_does_not_depend_on_what_was_drawn_before() -> None:
    first = (Key(3) / "ue1" / "dither").numpy().random(5)
    (Key(3) / "ue0" / "dither").numpy().random(1000)
    np.random.default_rng(0).random(10)
    assert np.array_equal((Key(3) / "ue1" / "dither").numpy().random(5), first)


def test_a_torch_stream_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    torch.rand(3, generator=(Key(0) / "x").torch())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_paths_that_join_to_the_same_text_are_different_streams() -> None:
    assert (Key(0) / "a" / "bc").digest() != (Key(0) / "ab" / "c").digest()
    assert (Key(0) / "a/b").digest() != (Key(0) / "a" / "b").digest()


def test_seed_and_name_both_change_the_stream() -> None:
    keys = [Key(seed) / f"ue{ue}" for seed in range(20) for ue in range(20)]
    assert len({key.digest() for key in keys}) == len(keys)
    assert len({key.integer() for key in keys}) == len(keys)


def test_streams_of_neighbouring_names_are_uncorrelated() -> None:
    n = 20_000
    streams = [(Key(1) / "ue" / i).numpy().standard_normal(n) for i in range(6)]
    correlations = np.corrcoef(streams)[np.triu_indices(6, 1)]
    assert np.abs(correlations).max() < 5 / math.sqrt(n)
    torch_streams = [torch.randn(n, generator=(Key(1) / "ue" / i).torch()) for i in range(6)]
    correlations = torch.corrcoef(torch.stack(torch_streams))[tuple(torch.triu_indices(6, 6, 1))]
    assert correlations.abs().max() < 5 / math.sqrt(n)


def test_single_draws_have_the_moments_of_their_law() -> None:
    n = 20_000
    keys = [Key(5) / i for i in range(n)]
    uniform = np.array([key.uniform() for key in keys])
    normal = np.array([key.normal() for key in keys])
    exponential = np.array([key.exponential() for key in keys])
    bound = 5 / math.sqrt(n)
    assert uniform.min() > 0
    assert uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < bound * math.sqrt(1 / 12)
    assert abs(normal.mean()) < bound
    assert abs(normal.var() - 1) < bound * math.sqrt(2)
    assert abs(exponential.mean() - 1) < bound
    assert abs(exponential.var() - 1) < bound * math.sqrt(8)
