"""What must be true of a partition, whatever the code: closed forms and counting."""

import numpy as np
import pytest
import torch

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.learn import IID, PARTITIONS, Dirichlet, Quantity, Shards

KEY = Key(11) / "partition"


def balanced(classes, each):
    """Labels 0 … classes - 1 in turn."""
    return torch.arange(classes * each) % classes


def shares(parts, labels):
    """[ues, classes] share of each class that a UE holds."""
    classes = int(labels.max()) + 1
    counts = torch.stack([torch.bincount(labels[part], minlength=classes) for part in parts])
    return (counts / torch.bincount(labels, minlength=classes)).double()


ALL = [IID(), Dirichlet(alpha=0.3), Dirichlet(alpha=100.0), Shards(), Shards(per_ue=5), Quantity(alpha=2.0)]


def test_every_registered_partition_is_under_the_common_laws():
    assert {type(partition) for partition in ALL} == set(PARTITIONS)


@pytest.mark.parametrize("partition", ALL)
@pytest.mark.parametrize("ues", [1, 3, 10])
def test_every_sample_is_at_exactly_one_ue(partition, ues):
    labels = balanced(10, 101)
    parts = partition.split(labels, ues=ues, key=KEY)
    assert len(parts) == ues
    assert all(part.dtype == torch.int64 and len(part) >= 1 for part in parts)
    assert torch.cat(parts).sort().values.tolist() == list(range(1010))


@pytest.mark.parametrize("partition", ALL)
def test_a_partition_is_a_function_of_its_key_with_ascending_indices(partition):
    labels = balanced(10, 100)
    one, again, other = (partition.split(labels, ues=4, key=key) for key in (KEY, KEY, KEY / "other"))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert all(bool((part.diff() > 0).all()) for part in one)


@pytest.mark.parametrize("partition", ALL)
def test_no_ue_or_more_ues_than_samples_are_refused(partition):
    labels = balanced(3, 4)
    with pytest.raises(ConfigError, match="ues = 13 must be at most the number of samples, 12"):
        partition.split(labels, ues=13, key=KEY)
    with pytest.raises(ConfigError, match="ues = 0 must be at least 1"):
        partition.split(labels, ues=0, key=KEY)


def test_as_many_ues_as_samples_get_one_each_where_sizes_are_equal():
    for partition in (IID(), Shards(per_ue=1)):
        parts = partition.split(balanced(3, 4), ues=12, key=KEY)
        assert [len(part) for part in parts] == [1] * 12


# IID


def test_iid_sizes_are_equal_up_to_one():
    sizes = [len(part) for part in IID().split(balanced(10, 103), ues=7, key=KEY)]
    assert sorted(set(sizes)) == [147, 148]


def test_iid_samples_per_ue_leaves_the_rest_out():
    labels = balanced(10, 100)
    parts = IID(samples_per_ue=30).split(labels, ues=4, key=KEY)
    assert [len(part) for part in parts] == [30] * 4
    assert len(torch.cat(parts).unique()) == 120
    with pytest.raises(
        ConfigError, match="samples_per_ue = 300 must be at most 250 for 4 UEs and 1000 samples"
    ):
        IID(samples_per_ue=300).split(labels, ues=4, key=KEY)


def test_iid_labels_of_sorted_data_pass_a_chi_square_test():
    labels = balanced(10, 1000).sort().values
    parts = IID().split(labels, ues=10, key=KEY)
    counts = torch.stack([torch.bincount(labels[part], minlength=10) for part in parts]).double()
    chi_square = ((counts - 100) ** 2 / 100).sum().item()
    freedom = 9 * 9
    assert abs(chi_square - freedom) < 5 * (2 * freedom) ** 0.5


# Dirichlet: a UE's share of a class is Beta(alpha, alpha (K - 1)).


@pytest.mark.parametrize("alpha", [0.05, 0.5, 5.0, 500.0])
@pytest.mark.parametrize("ues", [2, 5, 20])
def test_dirichlet_shares_have_the_variance_of_the_beta_law(alpha, ues):
    # Many classes give many independent draws, and no UE is ever empty, so nothing is drawn anew.
    classes, each = 400, 500
    labels = balanced(classes, each)
    found = shares(Dirichlet(alpha=alpha).split(labels, ues=ues, key=KEY), labels)
    squares = ((found - 1 / ues) ** 2).mean(dim=0)
    expected = (1 / ues) * (1 - 1 / ues) / (alpha * ues + 1)
    # Both cuts that bound a share are rounded to a sample: an error of variance 2/12 of a sample squared.
    rounding = 2 / 12 / each**2
    standard_error = squares.std().item() / classes**0.5
    assert abs(squares.mean().item() - expected) < 5 * standard_error + rounding


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_dirichlet_shares_of_one_ue_have_mean_one_over_k(alpha):
    ues, classes = 5, 400
    labels = balanced(classes, 500)
    found = shares(Dirichlet(alpha=alpha).split(labels, ues=ues, key=KEY), labels)
    sigma = ((1 / ues) * (1 - 1 / ues) / (alpha * ues + 1)) ** 0.5
    assert ((found.mean(dim=1) - 1 / ues).abs() < 5 * sigma / classes**0.5).all()


def test_dirichlet_with_large_alpha_gives_every_ue_the_same_labels():
    labels = balanced(10, 1000)
    found = shares(Dirichlet(alpha=1e6).split(labels, ues=10, key=KEY), labels)
    # Standard deviation of a share 0.0001; rounding to one of 1000 samples.
    assert (found - 0.1).abs().max() < 0.0015


def test_dirichlet_with_small_alpha_leaves_each_class_at_few_ues():
    labels = balanced(10, 1000)
    found = shares(Dirichlet(alpha=0.01).split(labels, ues=3, key=KEY), labels)
    # The expected sum of squared shares is (1 + alpha) / (1 + alpha K) = 0.98: one UE has nearly all of a class.
    assert (found.max(dim=0).values > 0.9).sum() >= 8


def test_dirichlet_gives_every_ue_its_minimum_or_says_what_to_change():
    labels = balanced(10, 100)
    parts = Dirichlet(alpha=0.5, min_samples=40).split(labels, ues=10, key=KEY)
    assert min(len(part) for part in parts) >= 40
    with pytest.raises(ConfigError, match=r"min_samples = 90.*larger alpha, fewer UEs"):
        Dirichlet(alpha=0.1, min_samples=90).split(labels, ues=10, key=KEY)


def test_dirichlet_spreads_labels_that_are_not_counted_from_zero():
    labels = torch.tensor([3, 7] * 50)
    parts = Dirichlet(alpha=10.0).split(labels, ues=2, key=KEY)
    assert sum(len(part) for part in parts) == 100


# Shards


def test_shards_that_divide_classes_evenly_give_a_ue_at_most_as_many_labels():
    labels = balanced(10, 60)[torch.randperm(600, generator=Key(1).torch())]
    for per_ue in (1, 2, 5):
        parts = Shards(per_ue=per_ue).split(labels, ues=20, key=KEY)
        assert max(len(labels[part].unique()) for part in parts) <= per_ue
        assert {len(part) for part in parts} == {30}


def test_shards_within_a_class_size_have_at_most_two_labels_each():
    labels = balanced(10, 97)
    parts = Shards(per_ue=2).split(labels, ues=7, key=KEY)
    assert max(len(labels[part].unique()) for part in parts) <= 4
    assert sum(len(part) for part in parts) == 970


def test_shards_of_one_ue_are_all_of_the_data():
    assert len(Shards(per_ue=4).split(balanced(5, 10), ues=1, key=KEY)[0]) == 50


def test_more_shards_than_samples_are_refused():
    with pytest.raises(ConfigError, match="per_ue = 3 must be at most 2 for 5 UEs and 12 samples"):
        Shards(per_ue=3).split(balanced(3, 4), ues=5, key=KEY)


# Quantity


def test_quantity_shares_have_the_variance_of_the_beta_law():
    ues, alpha, draws = 5, 2.0, 300
    labels = balanced(10, 1000)
    parts = (Quantity(alpha=alpha).split(labels, ues=ues, key=KEY / draw) for draw in range(draws))
    sizes = np.array([[len(part) for part in one] for one in parts]) / 10000
    squares = ((sizes - 1 / ues) ** 2).mean(axis=1)
    expected = (1 / ues) * (1 - 1 / ues) / (alpha * ues + 1)
    assert abs(squares.mean() - expected) < 5 * squares.std() / draws**0.5


def test_quantity_keeps_the_label_shares_of_sorted_data():
    labels = balanced(10, 1000).sort().values
    for part in Quantity(alpha=1.0, min_samples=500).split(labels, ues=5, key=KEY):
        n = len(part)
        counts = torch.bincount(labels[part], minlength=10)
        assert ((counts - n / 10).abs() < 5 * (n * 0.1 * 0.9) ** 0.5).all()


def test_quantity_that_leaves_a_ue_empty_says_what_to_change():
    with pytest.raises(ConfigError, match=r"'quantity'.*100 draws.*larger alpha"):
        Quantity(alpha=0.01).split(balanced(10, 10), ues=50, key=KEY)


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (Dirichlet, {"alpha": 0.0}),
        (Dirichlet, {"alpha": float("inf")}),
        (Dirichlet, {"min_samples": 0}),
        (Quantity, {"alpha": -1.0}),
        (Shards, {"per_ue": 0}),
        (IID, {"samples_per_ue": 0}),
    ],
)
def test_impossible_settings_are_refused_by_name(kind, bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        kind(**bad)
