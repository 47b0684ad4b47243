"""Models by name, from a softmax regression to a residual network.

Each is a factory: settings that build a module for an input shape and a number of classes. All give logits but
``document_cnn``, which ends in ``log_softmax`` as in the document. Modules flatten their input themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn import functional as F

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.learn.generators import global_generators
from syft_fl.learn.resnet import ResNet
from syft_fl.schema import Registry, require, schema

__all__ = [
    "MLP",
    "MODELS",
    "CifarCNN",
    "DocumentCNN",
    "LeNet5",
    "ModelFactory",
    "ResNet18",
    "Softmax",
    "build_seeded",
]

MODELS = Registry("model", "build")
"""Model factories by kind; ``MODELS(MyFactory)`` adds one."""

Shape = tuple[int, ...]


@runtime_checkable
class ModelFactory(Protocol):
    """The settings of a model: a frozen dataclass with a ``kind``."""

    kind: ClassVar[str]

    def build(self, input_shape: Shape, classes: int) -> nn.Module:
        """A new module, drawn from torch's global generator as modules are.

        Args:
            input_shape: of one sample.
            classes: outputs.

        Raises:
            ConfigError: the architecture does not fit such inputs.
        """
        ...


def build_seeded(model: ModelFactory, input_shape: Shape, classes: int, key: Key) -> nn.Module:
    """A new module whose initial value depends on the key alone; global generators are left as found.

    Raises:
        ConfigError: the architecture does not fit such inputs.
    """
    with global_generators(key):
        return model.build(input_shape, classes)


@MODELS
@schema
class DocumentCNN:
    """The CNN of the document that the project starts from: two convolutions, two linear layers, ``log_softmax``.

    1,199,882 parameters for [1, 28, 28] and 10 classes. The script's ``Dropout2d`` is left out: it is made there but
    never called, and has no parameters. Names and shapes of the parameters are the script's.
    """

    kind: ClassVar[str] = "document_cnn"

    def build(self, input_shape: Shape, classes: int) -> nn.Module:
        _require_image(self.kind, input_shape, sides=(28,), channels=1)
        return _DocumentNet(classes)


class _DocumentNet(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3))
        self.fc = nn.Sequential(nn.Linear(64 * 12 * 12, 128), nn.ReLU(), nn.Linear(128, classes))

    def forward(self, x: Tensor) -> Tensor:
        # The script's ReLU comes before its pooling. The largest of four, cut off at 0, is the same either way; this
        # one is a quarter of the work.
        x = F.relu(F.max_pool2d(self.conv(x), 2)).flatten(1)
        return F.log_softmax(self.fc(x), dim=1)


@MODELS
@schema
class Softmax:
    """Softmax regression: one linear map of the flattened input (7,850 parameters for 784 entries, 10 classes)."""

    kind: ClassVar[str] = "softmax"

    def build(self, input_shape: Shape, classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), classes))


@MODELS
@schema
class MLP:
    """Linear layers with ReLU between (159,010 parameters for 784 entries, 10 classes).

    Attributes:
        hidden: width of each hidden layer.
    """

    kind: ClassVar[str] = "mlp"
    hidden: tuple[int, ...] = (200,)

    def __post_init__(self) -> None:
        ok = len(self.hidden) > 0 and min(self.hidden) >= 1
        require(
            ok, "hidden", self.hidden, "one or more widths of at least 1", "for none use kind = 'softmax'"
        )

    def build(self, input_shape: Shape, classes: int) -> nn.Module:
        widths = (math.prod(input_shape), *self.hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for fan_in, fan_out in pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


@MODELS
@schema
class LeNet5:
    """LeNet-5 with ReLU and max pooling, all its feature maps connected.

    61,706 parameters for [1, 28, 28] and 10 classes. 28 × 28 images are padded to the 32 × 32 of the original.
    Source: Y. LeCun et al., *Gradient-Based Learning Applied to Document Recognition*, 1998, section II.B.
    """

    kind: ClassVar[str] = "lenet5"

    def build(self, input_shape: Shape, classes: int) -> nn.Module:
        _require_image(self.kind, input_shape, sides=(28, 32))
        channels, side, _ = input_shape
        return nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=(32 - side) // 2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, classes),
        )


@MODELS
@schema
class CifarCNN:
    """A small CNN for CIFAR-10: three convolutions, two linear layers (122,570 parameters for [3, 32, 32], 10 classes).

    Source: the architecture of TensorFlow's tutorial *Convolutional Neural Network (CNN)*.
    """

    kind: ClassVar[str] = "cifar_cnn"

    def build(self, input_shape: Shape, classes: int) -> nn.Module:
        _require_image(self.kind, input_shape, sides=(32,))
        return nn.Sequential(
            nn.Conv2d(input_shape[0], 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, 64),
            nn.ReLU(),
            nn.Linear(64, classes),
        )


@MODELS
@schema
class ResNet18:
    """ResNet-18 for small images with group normalisation (11,173,962 parameters for [3, 32, 32], 10 classes).

    Group and not batch normalisation: running statistics of UEs whose labels differ don't average well, and they would
    travel beside the parameters.

    Attributes:
        groups: of channels that are normalised together; divides 64.
    """

    kind: ClassVar[str] = "resnet18"
    groups: int = 32

    def __post_init__(self) -> None:
        require(self.groups >= 1 and 64 % self.groups == 0, "groups", self.groups, "a divisor of 64")

    def build(self, input_shape: Shape, classes: int) -> nn.Module:
        _require_image(self.kind, input_shape, sides=range(8, 225))
        return ResNet(input_shape[0], classes, blocks=(2, 2, 2, 2), groups=self.groups)


def _require_image(kind: str, shape: Shape, *, sides: Sequence[int], channels: int | None = None) -> None:
    """Check for square images [channels, side, side]."""
    ok = len(shape) == 3 and shape[1] == shape[2] and shape[1] in sides and channels in (None, shape[0])
    if not ok:
        side = " or ".join(str(s) for s in sides) if len(sides) <= 2 else f"{min(sides)} … {max(sides)}"
        raise ConfigError(
            f"model.kind = {kind!r} takes square images of {channels or 'any number of'} channel(s) and side "
            f"{side}, not inputs of shape {list(shape)}; use other data, or model.kind = 'mlp', which takes any"
        )
