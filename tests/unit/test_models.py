"""Models: published sizes, what they accept, and that building them disturbs nobody."""

import os
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.learn import (
    MLP,
    MODELS,
    CifarCNN,
    DocumentCNN,
    LeNet5,
    OwnModel,
    ResNet18,
    Softmax,
    build_seeded,
    own_model,
)
from syft_fl.schema import plain

DIGIT, PHOTO = (1, 28, 28), (3, 32, 32)


@pytest.mark.parametrize(
    ("model", "shape", "parameters"),
    [
        (DocumentCNN(), DIGIT, 1_199_882),
        (Softmax(), DIGIT, 7_850),
        (MLP(), DIGIT, 159_010),
        (LeNet5(), DIGIT, 61_706),
        (CifarCNN(), PHOTO, 122_570),
        (ResNet18(), PHOTO, 11_173_962),
        (MLP(hidden=(30, 20)), (1, 8, 8), 64 * 30 + 30 + 30 * 20 + 20 + 20 * 10 + 10),
        (LeNet5(), PHOTO, 61_706 + 2 * 6 * 25),
    ],
)
def test_parameters_are_as_many_as_published(model, shape, parameters):
    module = build_seeded(model, shape, 10, Key(0))
    assert sum(p.numel() for p in module.parameters()) == parameters


CASES = [
    (DocumentCNN(), DIGIT),
    (Softmax(), (20,)),
    (MLP(), PHOTO),
    (LeNet5(), DIGIT),
    (LeNet5(), PHOTO),
    (CifarCNN(), PHOTO),
    (ResNet18(groups=2), PHOTO),
    (ResNet18(), (1, 8, 8)),
]


def test_every_registered_model_is_built_and_run():
    assert {type(model) for model, _ in CASES} | {OwnModel} == set(MODELS)


@pytest.mark.parametrize(("model", "shape"), CASES)
def test_outputs_are_one_score_for_each_class(model, shape):
    module = build_seeded(model, shape, 7, Key(0))
    x = torch.randn(3, *shape, generator=Key(1).torch())
    scores = module(x)
    assert scores.shape == (3, 7)
    assert bool(torch.isfinite(scores).all())
    log_probabilities = torch.allclose(scores.exp().sum(dim=1), torch.ones(3), atol=1e-5)
    assert log_probabilities == isinstance(model, DocumentCNN)


@pytest.mark.parametrize(("model", "shape"), CASES)
def test_a_sample_is_scored_by_itself_and_not_by_its_batch(model, shape):
    module = build_seeded(model, shape, 10, Key(0))
    x = torch.randn(4, *shape, generator=Key(1).torch())
    torch.testing.assert_close(module(x)[2:3], module(x[2:3]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (DocumentCNN(), PHOTO),
        (DocumentCNN(), (784,)),
        (LeNet5(), (1, 8, 8)),
        (LeNet5(), (1, 28, 32)),
        (CifarCNN(), DIGIT),
        (ResNet18(), (20,)),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_what_does(model, shape):
    with pytest.raises(
        ConfigError, match=rf"'{model.kind}' takes square images .*side .*not .*shape \[.*; use"
    ):
        model.build(shape, 10)


@pytest.mark.parametrize(
    ("kind", "bad"), [(MLP, {"hidden": ()}), (MLP, {"hidden": (0,)}), (ResNet18, {"groups": 5})]
)
def test_impossible_settings_are_refused_by_name(kind, bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        kind(**bad)


def test_widths_may_come_from_toml_as_a_list():
    assert MODELS.build({"kind": "mlp", "hidden": [10, 5]}) == MLP(hidden=(10, 5))


# Seeding.


class Curious(nn.Module):
    """Draws from all three global generators while it is made."""

    def __init__(self):
        super().__init__()
        drawn = [torch.rand(()).item(), np.random.rand(), random.random()]
        self.weight = nn.Parameter(torch.tensor(drawn))


def test_a_built_model_depends_on_the_key_alone():
    def value(key):
        return build_seeded(own_model(Curious), DIGIT, 10, key).weight.tolist()

    first = value(Key(5) / "model")
    torch.rand(7)
    np.random.rand(7)
    random.random()
    assert value(Key(5) / "model") == first
    other = value(Key(6) / "model")
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_building_leaves_the_global_generators_as_found():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    build_seeded(own_model(Curious), DIGIT, 10, Key(5))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]


def test_global_generators_are_put_back_even_if_building_fails():
    before = torch.get_rng_state()
    with pytest.raises(ConfigError):
        build_seeded(DocumentCNN(), PHOTO, 10, Key(5))
    assert torch.equal(torch.get_rng_state(), before)


# A user's own model.


def test_own_model_may_be_a_class_or_a_function_and_is_known_by_name():
    assert isinstance(own_model(Curious).build(DIGIT, 10), Curious)
    assert isinstance(own_model(lambda: nn.Linear(2, 2)).build((2,), 2), nn.Linear)
    assert plain(own_model(Curious)) == {"kind": "own", "path": f"{__name__}:Curious"}
    assert own_model(MLP()) == MLP()


@pytest.mark.parametrize("value", [nn.Linear(2, 2), "Net", None])
def test_a_module_that_exists_already_is_no_own_model(value):
    with pytest.raises(ConfigError, match=r"model = Net, not Net\(\)"):
        own_model(value)


def test_own_model_that_gives_no_module_is_refused():
    with pytest.raises(ConfigError, match="gave a dict"):
        own_model(dict).build(DIGIT, 10)


# The document's network.


@pytest.fixture
def document_net():
    """The class ``Net`` as it stands in the document."""
    text = Path(os.environ["SYFT_FL_DOCUMENT"]).read_text(encoding="utf-8")
    source = re.search(r"^class Net\(nn\.Module\):\n(?:(?:[ \t].*)?\n)+", text, re.MULTILINE)
    assert source is not None, "the document has no class Net"
    namespace = {"nn": nn, "F": F, "torch": torch}
    exec(source.group(0), namespace)
    return namespace["Net"]


@pytest.mark.skipif("SYFT_FL_DOCUMENT" not in os.environ, reason="SYFT_FL_DOCUMENT names no file")
def test_document_cnn_is_the_documents_net(document_net):
    mine = build_seeded(DocumentCNN(), DIGIT, 10, Key(0))
    theirs = document_net()
    assert [(n, p.shape) for n, p in mine.named_parameters()] == [
        (n, p.shape) for n, p in theirs.named_parameters()
    ]
    theirs.load_state_dict(mine.state_dict())
    x = torch.randn(5, *DIGIT, generator=Key(1).torch())
    assert torch.equal(mine.train()(x), theirs.train()(x))
    assert torch.equal(mine.eval()(x), theirs.eval()(x))


@pytest.mark.skipif("SYFT_FL_DOCUMENT" not in os.environ, reason="SYFT_FL_DOCUMENT names no file")
def test_document_cnn_starts_with_the_weights_the_documents_net_would(document_net):
    mine = build_seeded(DocumentCNN(), DIGIT, 10, Key(0))
    theirs = build_seeded(own_model(document_net), DIGIT, 10, Key(0))
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
