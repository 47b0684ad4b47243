"""Recurrent modules (``nn.RNN``, ``nn.LSTM``, ``nn.GRU``), which keep lists of their own tensors.

They hold weak references to their weights, which a swap refuses, and make their zero states locally, away from
the weights. So the references are dropped and rebuilt around a swap, and a sent module is handed zero states
that are made where its input is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

__all__ = ["swappable"]

_HOOKS: WeakKeyDictionary[nn.Module, RemovableHandle] = WeakKeyDictionary()


@contextmanager
def swappable(module: nn.Module) -> Iterator[None]:
    """Within it, the tensors of a module can be swapped."""
    found = [m for m in module.modules() if isinstance(m, nn.RNNBase)]
    for recurrent in found:
        recurrent._flat_weight_refs = []
    try:
        yield
    finally:
        for recurrent in found:
            recurrent._init_flat_weights()
            _hand_states(recurrent, sent=hasattr(module, "location"))


def _hand_states(recurrent: nn.RNNBase, *, sent: bool) -> None:
    if not sent and recurrent in _HOOKS:
        _HOOKS.pop(recurrent).remove()
    elif sent and recurrent not in _HOOKS:
        _HOOKS[recurrent] = recurrent.register_forward_pre_hook(_with_zero_states, with_kwargs=True)


def _with_zero_states(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Zero states of the shapes that the module would make itself, at the place of its input."""
    if not isinstance(module, nn.RNNBase) or kwargs or len(args) != 1 or not isinstance(args[0], Tensor):
        return None
    source = args[0]
    layers = module.num_layers * (2 if module.bidirectional else 1)
    batch = () if source.dim() == 2 else (source.shape[0 if module.batch_first else 1],)
    hidden = source.new_zeros(layers, *batch, module.proj_size or module.hidden_size)
    if not isinstance(module, nn.LSTM):
        return (source, hidden), kwargs
    return (source, (hidden, source.new_zeros(layers, *batch, module.hidden_size))), kwargs
