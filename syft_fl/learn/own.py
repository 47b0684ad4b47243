"""A user's own model: a module class, or a function that returns a module, as a model factory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from typing import Any, ClassVar

from torch import nn

from syft_fl.errors import ConfigError
from syft_fl.learn.models import ModelFactory

__all__ = ["OwnModel", "own_model"]


@dataclass(frozen=True)
class OwnModel:
    """A model that is made by calling something without arguments. In a resolved config stands its name.

    Attributes:
        name: ``module:name`` of what is called.
    """

    kind: ClassVar[str] = "own"
    make: InitVar[Callable[[], Any]]
    name: str = field(init=False)

    def __post_init__(self, make: Callable[[], Any]) -> None:
        object.__setattr__(self, "_make", make)
        named = make if hasattr(make, "__qualname__") else type(make)
        object.__setattr__(self, "name", f"{named.__module__}:{named.__qualname__}")

    def build(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        """A new module; the shapes are the user's concern.

        Raises:
            ConfigError: the call does not give a module.
        """
        made = getattr(self, "_make")()  # noqa: B009 - no field, so that configs hold a name and not a function
        if not isinstance(made, nn.Module):
            raise ConfigError(
                f"model = {self.name} gave a {type(made).__name__}; it must give a torch.nn.Module"
            )
        return made


def own_model(value: object) -> ModelFactory:
    """A model factory of a user's own model.

    Args:
        value: a model factory as it is, an ``nn.Module`` class, or a function without arguments that returns a module.

    Raises:
        ConfigError: none of these. A module that exists already is refused: its initial value would not follow
            the run's seed.
    """
    if isinstance(value, ModelFactory) and not isinstance(value, type):
        return value
    if isinstance(value, nn.Module) or not callable(value):
        raise ConfigError(
            f"model is a {type(value).__name__}; it must be a module class or a function that returns a module, "
            "so that its initial value follows the seed: model = Net, not Net()"
        )
    return OwnModel(value)
