"""A residual network of basic blocks for small images, with group normalisation.

Source: K. He et al., *Deep Residual Learning for Image Recognition*, 2016; the stem for small images (3 × 3,
no pooling) as in its section 4.2. Normalisation by groups of channels: Y. Wu and K. He, *Group Normalization*, 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ResNet"]


class ResNet(nn.Module):
    """Stages of basic blocks, 64 channels in the first; each stage halves the side and doubles the channels.

    Args:
        channels: of the input.
        classes: outputs (logits).
        blocks: basic blocks in each stage.
        groups: of channels that are normalised together.
    """

    def __init__(self, channels: int, classes: int, *, blocks: Sequence[int], groups: int) -> None:
        super().__init__()
        width = 64
        layers: list[nn.Module] = [_conv3x3(channels, width), nn.GroupNorm(groups, width), nn.ReLU()]
        for stage, count in enumerate(blocks):
            wider = 64 * 2**stage
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(_BasicBlock(width, wider, stride=stride, groups=groups))
                width = wider
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean(dim=(2, 3)))  # type: ignore[no-any-return]


class _BasicBlock(nn.Module):
    """Two convolutions and a way past them."""

    def __init__(self, width: int, wider: int, *, stride: int, groups: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _conv3x3(width, wider, stride=stride),
            nn.GroupNorm(groups, wider),
            nn.ReLU(),
            _conv3x3(wider, wider),
            nn.GroupNorm(groups, wider),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width != wider:
            self.shortcut = nn.Sequential(
                nn.Conv2d(width, wider, 1, stride=stride, bias=False), nn.GroupNorm(groups, wider)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.shortcut(x))


def _conv3x3(width: int, wider: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width, wider, 3, stride=stride, padding=1, bias=False)
