"""What a pointer has to know of an ATen operation before it runs at a worker."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch._ops import OpOverload

__all__ = ["Operation", "operation"]

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


@dataclass(frozen=True, slots=True)
class Operation:
    """Facts about one overload.

    Attributes:
        writes: places (positions or keywords) of the arguments that it writes into.
        moulds: it changes shape or strides of what it writes into, not (only) its values.
        selects: of data it makes data; any other operation consumes it.
        reveals: a value decides the result's shape, so that the shape tells something of the value.
        tells: a number that it returns is made of values; else it describes (a size, a flag).
    """

    writes: tuple[int | str, ...]
    moulds: bool
    selects: bool
    reveals: bool
    tells: bool


@functools.cache
def operation(func: OpOverload) -> Operation:
    """The facts about an overload, from its schema and tags."""
    writes = tuple(
        a.name if a.kwarg_only else position
        for position, a in enumerate(func._schema.arguments)
        if a.alias_info is not None and a.alias_info.is_write
    )
    return Operation(
        writes=writes,
        moulds=torch.Tag.inplace_view in func.tags,
        selects=func.overloadpacket in _SELECTIONS,
        reveals=torch.Tag.dynamic_output_shape in func.tags,
        # torch tags its own operations; of others nothing is known, so they tell.
        tells=torch.Tag.data_dependent_output in func.tags or func.namespace != "aten",
    )
