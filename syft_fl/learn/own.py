"""A user's own model: a module class, or a function that returns a module."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from syft_fl.errors import ConfigError
from syft_fl.learn.models import MODELS, ModelFactory
from syft_fl.schema import import_path, remember, require, schema

__all__ = ["OwnModel", "own_model"]


@MODELS
@schema
class OwnModel:
    """A model that is made by calling something without arguments; the data's shape is the user's concern.

    Attributes:
        path: ``package.module:name`` of what is called: a module class, or a function that returns a module.
    """

    kind: ClassVar[str] = "own"
    path: str

    def __post_init__(self) -> None:
        require(callable(import_path(self.path)), "path", self.path, "of a module class or of a function")

    def build(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        """A new module.

        Raises:
            ConfigError: the call does not give a module.
        """
        made = import_path(self.path)()
        if not isinstance(made, nn.Module):
            raise ConfigError(
                f"model.path = {self.path!r} gave a {type(made).__name__}; it must give a torch.nn.Module"
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
    return OwnModel(path=remember(value))
