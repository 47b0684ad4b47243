"""Data sets: shapes, splits, normalisation, checks, and what is said about missing or damaged files."""

import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from syft_fl.data import (
    CIFAR10,
    DATASETS,
    MNIST,
    Dataset,
    Digits,
    Samples,
    Synthetic,
    as_dataset,
    own_data,
)
from syft_fl.data.published import reading, torchvision_datasets
from syft_fl.errors import ConfigError, DataError
from syft_fl.keys import Key
from syft_fl.schema import plain

needs_files = pytest.mark.skipif("SYFT_FL_DATA" not in os.environ, reason="SYFT_FL_DATA names no data folder")


def toy(n=6, classes=3):
    return Samples(torch.randn(n, 4, generator=Key(0).torch()), torch.arange(n) % classes)


# Samples and digits.


def test_indexing_samples_takes_inputs_and_labels_together():
    samples = toy()
    some = samples[torch.tensor([4, 1])]
    assert len(some) == 2
    assert torch.equal(some.x, samples.x[[4, 1]])
    assert some.y.tolist() == [1, 1]


def test_a_share_has_the_samples_of_its_index_and_no_copy_of_them():
    whole = Samples(torch.randn(9, 2), torch.arange(9))
    index = torch.tensor([1, 4, 8])
    share, copied = whole.share(index), whole[index]
    assert torch.equal(share.x, copied.x)
    assert torch.equal(share.y, copied.y)
    assert len(share) == 3
    assert share.whole is whole
    whole.x[4] = 7.0
    assert share.x[1].tolist() == [7.0, 7.0]


def test_a_share_goes_to_another_process_without_the_whole():
    whole = Samples(torch.randn(10_000, 10), torch.arange(10_000))
    index = torch.tensor([5, 700])
    sent = pickle.dumps(whole.share(index))
    assert len(sent) < 2_000
    received = pickle.loads(sent)
    assert type(received) is Samples
    assert torch.equal(received.x, whole.x[index])
    assert received.y.tolist() == [5, 700]


def test_digits_are_scikit_learns_1797_split_without_overlap():
    from sklearn.datasets import load_digits

    data = Digits().load()
    assert (len(data.train), len(data.test), data.classes, data.shape) == (1437, 360, 10, (1, 8, 8))
    images, labels = load_digits(return_X_y=True)
    x = torch.cat([data.train.x, data.test.x]).flatten(1)
    grey = torch.round((x * 0.3760 + 0.3053) * 16).int()
    y = torch.cat([data.train.y, data.test.y])
    mine = sorted(zip(grey.tolist(), y.tolist(), strict=True))
    theirs = sorted(zip(images.astype(int).tolist(), labels.tolist(), strict=True))
    assert mine == theirs


def test_digits_are_normalised_float32_with_int64_labels_of_all_classes():
    data = Digits().load()
    x = torch.cat([data.train.x, data.test.x])
    assert x.dtype == torch.float32
    assert data.train.y.dtype == torch.int64
    assert abs(x.mean().item()) < 1e-3
    assert abs(x.std().item() - 1) < 1e-3
    assert data.train.y.unique().tolist() == data.test.y.unique().tolist() == list(range(10))


def test_digits_split_is_the_same_every_time():
    first, second = Digits().load(), Digits().load()
    assert torch.equal(first.test.x, second.test.x)
    assert torch.equal(first.train.y, second.train.y)


def test_enlarged_digits_are_the_bilinear_interpolation_of_the_small_ones():
    small, large = Digits().load().test, Digits(size=28).load().test
    assert large.x.shape == (360, 1, 28, 28)
    # Pixel centres at (i + 0.5) * 8/28 - 0.5 of the small image, clamped to its edge.
    at = np.clip((np.arange(28) + 0.5) * 8 / 28 - 0.5, 0, 7)
    low = np.minimum(at.astype(int), 6)
    matrix = np.zeros((28, 8))
    matrix[np.arange(28), low] = 1 - (at - low)
    matrix[np.arange(28), low + 1] = at - low
    expected = matrix @ small.x[7, 0].double().numpy() @ matrix.T
    assert np.abs(large.x[7, 0].numpy() - expected).max() < 1e-5
    assert torch.equal(small.y, large.y)


@pytest.mark.parametrize("size", [7, 257])
def test_digits_of_impossible_size_are_refused(size):
    with pytest.raises(ConfigError, match=r"size = \d+ must be in 8 … 256"):
        Digits(size=size)


# Synthetic data.


@pytest.mark.parametrize("law", ["mixture", "linear"])
def test_synthetic_data_is_a_function_of_its_seed(law):
    one, again, other = (Synthetic(law=law, seed=seed).load() for seed in (1, 1, 2))
    assert torch.equal(one.train.x, again.train.x)
    assert torch.equal(one.test.y, again.test.y)
    assert not torch.equal(one.train.x, other.train.x)
    assert (len(one.train), len(one.test), one.shape, one.classes) == (2000, 500, (20,), 10)


def test_a_noiseless_mixture_shows_nothing_but_the_class_centres():
    data = Synthetic(noise=0.0, classes=4).load()
    for label in range(4):
        both = torch.cat([data.train.x[data.train.y == label], data.test.x[data.test.y == label]])
        assert len(both.unique(dim=0)) == 1


def test_noise_in_a_mixture_has_the_stated_variance():
    sigma = 2.0
    train = Synthetic(noise=sigma, train_samples=20000, features=10, classes=5).load().train
    residuals = torch.cat([train.x[train.y == c] - train.x[train.y == c].mean(dim=0) for c in range(5)])
    expected = sigma**2 / (1 + sigma**2)
    freedom = (20000 - 5) * 10
    variance = residuals.double().square().sum().item() / freedom
    assert abs(variance - expected) < 5 * expected * (2 / freedom) ** 0.5


def test_noiseless_linear_labels_depend_on_the_side_of_a_plane_alone():
    # With one feature and two classes the plane is the point 0.
    data = Synthetic(law="linear", noise=0.0, features=1, classes=2).load()
    positive = data.train.x[:, 0] > 0
    assert len(data.train.y[positive].unique()) == 1
    assert len(data.train.y[~positive].unique()) == 1
    assert data.train.y[positive][0] != data.train.y[~positive][0]


def test_linear_labels_follow_the_softmax_of_their_logits():
    # Two classes, one feature: log odds of the labels are a line through the origin in x. With the slope fitted on
    # one half by maximum likelihood, the other half's standardised residuals have mean square 1.
    train = Synthetic(law="linear", noise=1.0, features=1, classes=2, train_samples=40000).load().train
    x, y = train.x[:, 0].double(), train.y.double()
    slope = torch.zeros((), dtype=torch.float64)
    for _ in range(50):
        p = torch.sigmoid(slope * x[:20000])
        slope += ((y[:20000] - p) * x[:20000]).sum() / (p * (1 - p) * x[:20000] ** 2).sum()
    for low in (-2.0, -1.0, 0.0, 1.0):
        bin_ = (x[20000:] >= low) & (x[20000:] < low + 1)
        p = torch.sigmoid(slope * x[20000:][bin_])
        surplus = (y[20000:][bin_] - p).sum() / (p * (1 - p)).sum().sqrt()
        # Five for the bin, and a little for the fitted slope.
        assert abs(surplus) < 6


def test_overwhelming_noise_makes_linear_labels_uniform():
    y = Synthetic(law="linear", noise=1e6, classes=4, train_samples=40000).load().train.y
    counts = torch.bincount(y, minlength=4)
    assert ((counts - 10000).abs() < 5 * (40000 * 0.25 * 0.75) ** 0.5).all()


@pytest.mark.parametrize("bad", [{"classes": 1}, {"features": 0}, {"noise": -1.0}, {"train_samples": 0}])
def test_impossible_synthetic_data_is_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        Synthetic(**bad)


# A user's own data.


def test_own_data_may_be_pairs_of_tensors_samples_or_a_dataset():
    train, test = toy(6), toy(3)
    from_tensors = as_dataset(((train.x, train.y), (test.x, test.y)))
    from_samples = as_dataset([train, test])
    for data in (from_tensors, from_samples, as_dataset(Dataset(train, test, 3))):
        assert data.classes == 3
        assert torch.equal(data.train.x, train.x)
        assert torch.equal(data.test.y, test.y)


def test_own_classes_may_be_more_than_the_labels_show():
    assert as_dataset((toy(), toy()), classes=7).classes == 7
    assert as_dataset(Dataset(toy(), toy(), 5)).classes == 5


GOOD = toy()


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (GOOD, ConfigError, r"pair \(train, test\)"),
        ((GOOD, GOOD, GOOD), ConfigError, r"pair \(train, test\)"),
        ((GOOD, (GOOD.x.numpy(), GOOD.y)), ConfigError, "test holds ndarray and Tensor"),
        ((Samples(GOOD.x.double(), GOOD.y), GOOD), ConfigError, "train.x is torch.float64.*float32"),
        ((GOOD, Samples(GOOD.x, GOOD.y.int())), ConfigError, "test.y is torch.int32.*int64"),
        (
            (GOOD, Samples(GOOD.x, GOOD.y.view(-1, 1))),
            ConfigError,
            r"test.y is torch.int64 of shape \[6, 1\]",
        ),
        ((Samples(GOOD.x, GOOD.y[:5]), GOOD), ConfigError, "train.x has 6 samples and train.y has 5"),
        ((GOOD, Samples(GOOD.x[:, :2], GOOD.y)), ConfigError, "same shape"),
        ((GOOD, Samples(GOOD.x[:0], GOOD.y[:0])), DataError, "test has no samples"),
        ((Samples(GOOD.x / 0, GOOD.y), GOOD), DataError, "train.x has an entry that is NaN or infinite"),
        ((Samples(GOOD.x, GOOD.y - 1), GOOD), DataError, r"train.y has labels -1 … 1.*0 … 2"),
        (Dataset(GOOD, GOOD, 2), DataError, r"labels 0 … 2; they must be in 0 … 1"),
    ],
)
def test_unusable_own_data_gets_one_clear_error(value, error, said):
    with pytest.raises(error, match=said):
        as_dataset(value)


def test_own_data_is_a_source_known_in_configs_by_its_fingerprint():
    source = own_data((toy(), toy(3)))
    assert torch.equal(source.load(root=Path("nowhere")).test.x, toy(3).x)
    assert plain(source) == {"kind": "own", "path": source.path}
    assert source.path.startswith("memory:")
    assert DATASETS.build(plain(source)) == source
    assert source == own_data((toy(), toy(3)))
    changed = Samples(toy().x.clone(), toy().y)
    changed.x[0, 0] += 1e-6
    assert source != own_data((changed, toy(3)))
    assert own_data(Digits()) == Digits()
    assert DATASETS.build(source) is source


# Published files: small forgeries in the published formats.


def forge_mnist(root, train=20, test=10):
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    rng = Key(3).numpy()
    for part, n in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        header = np.array([0x803, n, 28, 28], ">i4").tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = np.array([0x801, n], ">i4").tobytes()
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    return folder


def forge_cifar(root, per_batch=4):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = Key(4).numpy()
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        data = rng.integers(0, 256, (per_batch, 3072), dtype=np.uint8)
        batch = {"data": data, "labels": [i % 10 for i in range(per_batch)], "filenames": []}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}, protocol=2))
    return folder


FORGERIES = [(MNIST, forge_mnist, "t10k-labels-idx1-ubyte"), (CIFAR10, forge_cifar, "data_batch_3")]


@pytest.mark.parametrize(("source", "forge", "name"), FORGERIES)
def test_files_with_other_checksums_are_refused_by_name(source, forge, name, tmp_path):
    forge(tmp_path)
    with pytest.raises(DataError, match=rf"{name}.*MD5.*accept_checksum_mismatch"):
        source().load(root=tmp_path)


@pytest.mark.parametrize(("source", "forge", "name"), FORGERIES)
def test_accepted_files_with_other_checksums_are_warned_about_and_read(source, forge, name, tmp_path):
    forge(tmp_path)
    with pytest.warns(UserWarning, match=rf"{name}.*not results on the published data"):
        data = source().load(root=tmp_path, accept_checksum_mismatch=True)
    assert (len(data.train), data.classes) == (20, 10)


@pytest.mark.filterwarnings("ignore:.*MD5:UserWarning")
def test_unit_pixels_are_what_is_normalised_otherwise(tmp_path):
    forge_mnist(tmp_path)
    unit = MNIST(pixels="unit").load(root=tmp_path, accept_checksum_mismatch=True)
    usual = MNIST().load(root=tmp_path, accept_checksum_mismatch=True)
    assert unit.train.x.min() == 0
    assert unit.train.x.max() == 1
    torch.testing.assert_close((unit.test.x - 0.1307) / 0.3081, usual.test.x)


@pytest.mark.parametrize(("source", "forge", "name"), FORGERIES)
@pytest.mark.parametrize("kept", [0, 3, 0.6])
@pytest.mark.filterwarnings("ignore:.*MD5:UserWarning")
def test_a_truncated_file_is_a_data_error_even_where_checksums_are_waived(
    source, forge, name, kept, tmp_path
):
    path = forge(tmp_path) / name
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(DataError, match="can't be read"):
        source().load(root=tmp_path, accept_checksum_mismatch=True)


@pytest.mark.filterwarnings("ignore:.*MD5:UserWarning")
def test_labels_outside_the_classes_are_a_data_error(tmp_path):
    path = forge_mnist(tmp_path) / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x0a")
    with pytest.raises(DataError, match="labels outside 0 … 9"):
        MNIST().load(root=tmp_path, accept_checksum_mismatch=True)


@pytest.mark.parametrize(("source", "forge", "name"), FORGERIES)
def test_missing_files_are_named_with_where_and_three_ways_out(source, forge, name, tmp_path):
    folder = forge(tmp_path)
    (folder / name).unlink()
    with pytest.raises(DataError) as caught:
        source().load(root=tmp_path)
    for said in (name, str(folder), "--data-root", "$SYFT_FL_DATA", "data.download = true"):
        assert said in str(caught.value)


def test_data_is_looked_for_in_root_then_variable_then_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYFT_FL_DATA", str(tmp_path / "variable"))
    with pytest.raises(DataError, match=str(tmp_path / "argument" / "MNIST")):
        MNIST().load(root=tmp_path / "argument")
    with pytest.raises(DataError, match=str(tmp_path / "variable" / "MNIST")):
        MNIST().load()
    monkeypatch.delenv("SYFT_FL_DATA")
    with pytest.raises(DataError, match=str(tmp_path / "data" / "MNIST")):
        MNIST().load()


@pytest.mark.filterwarnings("ignore:.*MD5:UserWarning")
@pytest.mark.parametrize(("source", "forge", "name"), FORGERIES)
def test_caps_take_the_first_samples_of_the_files(source, forge, name, tmp_path):
    forge(tmp_path)
    whole = source().load(root=tmp_path, accept_checksum_mismatch=True)
    capped = source(train_samples=7, test_samples=3).load(root=tmp_path, accept_checksum_mismatch=True)
    assert torch.equal(capped.train.x, whole.train.x[:7])
    assert torch.equal(capped.test.y, whole.test.y[:3])
    with pytest.raises(DataError, match="21 samples are asked for and there are 20"):
        source(train_samples=21).load(root=tmp_path, accept_checksum_mismatch=True)


def test_a_failed_download_is_a_data_error(tmp_path):
    (tmp_path / "file").write_text("no folder can be made below a file")
    for source in (MNIST, CIFAR10):
        with pytest.raises(DataError, match=r"can't be downloaded to .*--data-root"):
            source(download=True).load(root=tmp_path / "file")


@pytest.mark.filterwarnings("ignore:.*MD5:UserWarning")
@pytest.mark.parametrize(("source", "forge", "name"), FORGERIES)
def test_download_fetches_what_is_missing_and_leaves_what_is_there(
    source, forge, name, tmp_path, monkeypatch
):
    fetched = []

    def fetch(dataset):
        if not fetched:
            forge(Path(dataset.root))
        fetched.append(dataset.root)

    published = getattr(torchvision_datasets(), source.__name__)
    monkeypatch.setattr(published, "download", fetch)
    monkeypatch.setattr(published, "_check_integrity", lambda self: True, raising=False)
    monkeypatch.setattr(published, "_load_meta", lambda self: None, raising=False)
    data = source(download=True).load(root=tmp_path, accept_checksum_mismatch=True)
    assert len(data.train) == 20
    assert len(fetched) == 1
    source(download=True).load(root=tmp_path, accept_checksum_mismatch=True)
    assert len(fetched) == 1


def test_reading_is_silent_about_the_spelling_of_old_pickles_and_about_nothing_else(tmp_path):
    # Some releases of numpy 2.4 warn so when they read CIFAR-10's files (pytorch/vision issue 9340).
    old, other = np.exceptions.VisibleDeprecationWarning, FutureWarning
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with reading(tmp_path):
            warnings.warn("dtype(): align should be passed as boolean", old, stacklevel=1)
            warnings.warn("something else", other, stacklevel=1)
    assert [one.category for one in caught] == [other]


# torchvision beside any torch.


def python(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120
    )


def test_torchvision_is_imported_only_on_demand_and_even_after_a_failed_import():
    found = python(
        "import sys, syft_fl.data\n"
        "print('torchvision' in sys.modules, 'sklearn' in sys.modules)\n"
        "try:\n import torchvision\nexcept RuntimeError: pass\n"
        "from syft_fl.data.published import reading, torchvision_datasets as get\n"
        "print(get().MNIST.__name__, get() is get())"
    )
    assert found.stdout.split() == ["False", "False", "MNIST", "True"], found.stderr


def test_operators_that_exist_already_are_not_declared_again():
    found = python(
        "import torch\n"
        "try:\n import torchvision\n"
        "except RuntimeError:\n"  # beside a torch of another build; beside its own it has them already
        " for n in ('nms', 'qnms'):\n"
        "  args = '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'\n"
        "  torch.library.define(f'torchvision::{n}', args)\n"
        " import torchvision\n"
        "torch.library.define = None\n"
        "from syft_fl.data.published import reading, torchvision_datasets\n"
        "print(torchvision_datasets() is torchvision.datasets)"
    )
    assert found.stdout.split() == ["True"], found.stderr


def test_a_torchvision_that_cannot_be_imported_is_a_data_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(DataError, match=r"torchvision can't be imported beside torch \d"):
        torchvision_datasets()


# The published files themselves.


def normalised_by_torchvision(images, mean, std):
    torchvision_datasets()
    from torchvision import transforms

    to = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    return torch.stack([to(image) for image, _ in images])


@needs_files
def test_mnist_is_whole_and_equal_to_torchvisions_transforms_to_the_bit():
    data = MNIST().load()
    assert (len(data.train), len(data.test), data.shape, data.classes) == (60000, 10000, (1, 28, 28), 10)
    # Published label counts of the test set.
    assert torch.bincount(data.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.train.y.dtype == torch.int64
    theirs = torchvision_datasets().MNIST(os.environ["SYFT_FL_DATA"], train=False)
    chosen = [theirs[i] for i in range(0, 10000, 97)]
    expected = normalised_by_torchvision(chosen, (0.1307,), (0.3081,))
    assert torch.equal(data.test.x[::97], expected)
    # The two constants are the training set's mean and standard deviation.
    assert abs(data.train.x.mean().item()) < 1e-3
    assert abs(data.train.x.std().item() - 1) < 1e-3


@needs_files
@pytest.mark.filterwarnings("ignore:.*MD5:UserWarning")
def test_cifar10_is_whole_and_equal_to_torchvisions_transforms_to_the_bit():
    from PIL import Image

    data = CIFAR10(train_samples=2000).load(accept_checksum_mismatch=True)
    assert (len(data.train), len(data.test), data.shape, data.classes) == (2000, 10000, (3, 32, 32), 10)
    assert torch.bincount(data.test.y).tolist() == [1000] * 10
    batch = Path(os.environ["SYFT_FL_DATA"], "cifar-10-batches-py", "data_batch_1")
    raw = pickle.loads(batch.read_bytes(), encoding="latin1")
    planes = raw["data"][:2000:101].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    chosen = [(Image.fromarray(image), None) for image in planes]
    expected = normalised_by_torchvision(chosen, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    assert torch.equal(data.train.x[::101], expected)
    assert data.train.y.tolist() == raw["labels"][:2000]
    # Pixels of the test set differ a little from the training set that the constants are of.
    assert data.test.x.mean(dim=(0, 2, 3)).abs().max() < 0.05
    assert (data.test.x.std(dim=(0, 2, 3)) - 1).abs().max() < 0.05
