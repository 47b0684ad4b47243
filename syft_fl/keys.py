"""Named random streams.

A :class:`Key` is a seed and a path of names, ``Key(7) / "ue3" / "upload7" / "dither"``. What it yields
depends on nothing but these: not on the order of calls, not on what else was drawn, not on any
global generator. So changing the codec of a run changes no batch order, no fading and no dropout,
and two runs that differ in one thing are compared in pairs.

The path is hashed (BLAKE2b), so streams of different paths are independent for every practical purpose.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["Key"]

_STANDARD_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Key:
    """A seed and a path of names; a value that yields generators and single draws.

    Example:
        >>> key = Key(0) / "ue3" / "fading"
        >>> key.uniform() == (Key(0) / "ue3" / "fading").uniform()
        True
        >>> str(key)
        '0/ue3/fading'
    """

    seed: int
    path: tuple[str, ...] = ()

    def __truediv__(self, name: str | int) -> Key:
        return Key(self.seed, (*self.path, str(name)))

    def __str__(self) -> str:
        return "/".join((str(self.seed), *self.path))

    def digest(self, size: int = 16) -> bytes:
        """``size`` bytes (at most 64) that stand for this seed and path."""
        parts = [str(self.seed).encode()]
        for name in self.path:
            data = name.encode()
            # The length in front keeps ("a", "bc") and ("ab", "c") apart.
            parts += (len(data).to_bytes(4, "little"), data)
        return hashlib.blake2b(b"".join(parts), digest_size=size).digest()

    def integer(self, bits: int = 63) -> int:
        """A whole number, uniform in 0 … 2**bits - 1 (bits at most 64)."""
        return int.from_bytes(self.digest(8), "little") >> (64 - bits)

    def uniform(self) -> float:
        """One draw, uniform in the open interval (0, 1)."""
        return (self.integer(52) + 0.5) * 2.0**-52

    def normal(self) -> float:
        """One standard normal draw."""
        return _STANDARD_NORMAL.inv_cdf(self.uniform())

    def exponential(self) -> float:
        """One exponential draw of mean 1 (the power gain of Rayleigh fading)."""
        return -math.log(self.uniform())

    def numpy(self) -> np.random.Generator:
        """A fresh numpy generator, always at the start of this key's stream."""
        return np.random.Generator(np.random.SFC64(int.from_bytes(self.digest(16), "little")))

    def torch(self, device: str = "cpu") -> torch.Generator:
        """A fresh torch generator, always at the start of this key's stream."""
        import torch

        return torch.Generator(device=device).manual_seed(self.integer(63))
