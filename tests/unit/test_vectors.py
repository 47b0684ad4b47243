"""A model against one flat vector."""

import pytest
import torch
from torch import nn

from syft_fl.errors import ConfigError
from syft_fl.vectors import Layout, ModelState


def _net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def test_a_model_read_and_written_back_is_the_same_model() -> None:
    net, other = _net(), _net()
    net(torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0)))
    layout = Layout.of(net)
    layout.write(layout.read(net), other)
    for name, value in net.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_every_floating_point_parameter_has_its_slot_in_order() -> None:
    net = _net()
    layout = Layout.of(net)
    vector = layout.read(net).vector
    assert layout.length == sum(p.numel() for p in net.parameters()) == vector.numel()
    for slot, (name, parameter) in zip(layout.slots, net.named_parameters(), strict=True):
        assert slot.name == name
        assert torch.equal(vector[slot.start : slot.stop].view(slot.shape), parameter)


def test_buffers_stay_beside_the_vector_in_their_own_dtype() -> None:
    state = Layout.of(_net()).read(_net())
    assert state.buffers["1.num_batches_tracked"].dtype == torch.int64
    assert set(state.buffers) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}


def test_a_value_read_is_a_copy() -> None:
    net = nn.Linear(2, 1)
    state = Layout.of(net).read(net)
    before = state.vector.clone()
    with torch.no_grad():
        net.weight.add_(1)
    assert torch.equal(state.vector, before)


def test_writing_keeps_the_parameter_objects() -> None:
    net = nn.Linear(2, 1)
    weight = net.weight
    layout = Layout.of(net)
    layout.write(ModelState(torch.ones(3), {}), net)
    assert net.weight is weight
    assert weight.tolist() == [[1.0, 1.0]]


def test_a_shared_parameter_has_one_slot() -> None:
    net = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
    net["b"].weight = net["a"].weight
    assert Layout.of(net).length == 4


def test_half_precision_parameters_keep_their_dtype() -> None:
    net = nn.Linear(2, 1).to(torch.float16)
    layout = Layout.of(net)
    state = layout.read(net)
    assert state.vector.dtype == torch.float32
    layout.write(state, net)
    assert net.weight.dtype == torch.float16


def test_a_vector_of_another_model_is_refused() -> None:
    net = nn.Linear(2, 1)
    with pytest.raises(ConfigError, match="4 entries does not fit a model of 3"):
        Layout.of(net).write(ModelState(torch.zeros(4), {}), net)


def test_a_complex_parameter_is_refused_by_name() -> None:
    net = nn.ParameterDict({"phase": nn.Parameter(torch.zeros(1, dtype=torch.complex64))})
    with pytest.raises(ConfigError, match="'phase' is complex"):
        Layout.of(net)


def test_a_model_without_parameters_is_an_empty_vector() -> None:
    layout = Layout.of(nn.ReLU())
    assert layout.length == 0
    assert layout.read(nn.ReLU()).vector.numel() == 0
