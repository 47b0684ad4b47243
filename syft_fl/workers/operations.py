"""What a pointer has to know of an ATen operation before it runs at a worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch._ops import OpOverload

__all__ = ["KNOWN", "Operation", "operation"]

_aten = torch.ops.aten

_SELECTIONS = frozenset(
    (
        _aten._to_copy,
        _aten._unsafe_view,
        _aten.alias,
        _aten.clone,
        _aten.detach,
        _aten.index,
        _aten.index_select,
        _aten.select,
        _aten.slice,
        _aten.split,
        _aten.split_with_sizes,
        _aten.unbind,
        _aten.unsqueeze,
        _aten.view,
    )
)

_DESCRIPTIONS = frozenset(
    (
        _aten._debug_has_internal_overlap,
        _aten._fused_sdp_choice,
        _aten._has_same_storage_numel,
        _aten.is_contiguous,
        _aten.is_pinned,
        _aten.is_same_size,
        _aten.is_set_to,
        _aten.result_type,
    )
)
"""What returns a number that is made of shapes and places; any other number is taken to be made of values."""

_SHORT_CUTS: dict[OpOverload, Callable[..., Any]] = {
    _aten.add.Tensor: torch.add,
    _aten.add_.Tensor: torch.Tensor.add_,
    _aten.addmm.default: torch.addmm,
    _aten.detach.default: torch.detach,
    _aten.mm.default: torch.mm,
    _aten.mul.Tensor: torch.mul,
    _aten.mul_.Tensor: torch.Tensor.mul_,
    _aten.relu.default: torch.relu,
    _aten.sum.dim_IntList: torch.sum,
    _aten.t.default: torch.t,
    _aten.view.default: torch.Tensor.view,
}
"""Functions with an overload's arguments in its order: the same kernel, called in about half the time."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Facts about one overload.

    Attributes:
        overload: itself.
        call: runs it.
        common: it only reads or writes into its first argument, returns tensors of shapes that
            the shapes of its operands decide, draws nothing, and its tensors are arguments by themselves, not in lists.
        writes: places (positions or keywords) of the arguments that it writes into.
        selects: of data it makes data; any other operation consumes it.
        reveals: a value decides the result's shape, so that the shape tells something of the value.
        tells: a number that it returns is made of values; else it describes (a size, a flag).
        draws: it may draw random numbers.
        takes_generator: it draws them from an argument ``generator``.
    """

    overload: OpOverload
    call: Callable[..., Any]
    common: bool
    writes: tuple[int | str, ...]
    selects: bool
    reveals: bool
    tells: bool
    draws: bool
    takes_generator: bool


KNOWN: dict[int, Operation] = {}
"""What :func:`operation` found, by the overload's identity: its hash would be a Python call."""


def operation(func: OpOverload) -> Operation:
    """The facts about an overload, from its schema and tags."""
    schema = func._schema
    writes = tuple(
        a.name if a.kwarg_only else position
        for position, a in enumerate(schema.arguments)
        if a.alias_info is not None and a.alias_info.is_write
    )
    reveals = torch.Tag.dynamic_output_shape in func.tags
    tells = func.overloadpacket not in _DESCRIPTIONS and any(
        "Tensor" not in str(r.type) for r in schema.returns
    )
    takes_generator = any(a.name == "generator" for a in schema.arguments)
    draws = takes_generator or torch.Tag.nondeterministic_seeded in func.tags
    is_in_place = writes == (0,) and torch.Tag.inplace_view not in func.tags and len(schema.returns) == 1
    has_spread_tensors = any(
        "Tensor" in str(a.type) and (a.kwarg_only or "List" in str(a.type)) for a in schema.arguments
    )
    facts = Operation(
        overload=func,
        # The overload's own __call__ does no more than call _op.
        call=_SHORT_CUTS.get(func, func._op),
        common=(is_in_place or not writes) and not (reveals or tells or draws or has_spread_tensors),
        writes=writes,
        selects=func.overloadpacket in _SELECTIONS,
        reveals=reveals,
        tells=tells,
        draws=draws,
        takes_generator=takes_generator,
    )
    KNOWN[id(func)] = facts
    return facts
