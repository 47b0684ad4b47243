"""Which model both ends of each link are known to hold.

Every model that goes down has a version. A UE that acknowledged it holds it, until a later one replaces it; deltas in
both directions refer to it. Vectors are kept by version, once, however many UEs hold them, and dropped with
the last holder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from syft_fl.errors import TransportError
from syft_fl.vectors import Vector

__all__ = ["References"]

Holder = tuple[str, str]
"""A UE and a stream."""


class References:
    """Versions, their vectors, and who holds them."""

    def __init__(self) -> None:
        self._vectors: dict[int, Vector] = {}
        self._held: dict[Holder, int] = {}
        self._holders: Counter[int] = Counter()

    def version(self, ue: str, stream: str) -> int:
        """The version that a UE is known to hold; 0 for none."""
        return self._held.get((ue, stream), 0)

    def vector(self, version: int) -> Vector | None:
        """The vector of a version; None for version 0.

        Raises:
            TransportError: nobody holds that version any more.
        """
        if version == 0:
            return None
        if version not in self._vectors:
            raise TransportError(
                f"reference version {version} is not held here; the sender must send a whole model"
            )
        return self._vectors[version]

    def acknowledge(self, ue: str, stream: str, version: int, vector: Vector) -> None:
        """A UE holds this version from now on, instead of what it held."""
        self._vectors[version] = vector
        self._holders[version] += 1
        self.forget(ue, stream)
        self._held[ue, stream] = version

    def forget(self, ue: str, stream: str) -> None:
        """A UE holds nothing of a stream any more (it left, or the model was deleted)."""
        version = self._held.pop((ue, stream), 0)
        if version:
            self._holders[version] -= 1
            if not self._holders[version]:
                del self._holders[version], self._vectors[version]

    def forget_stream(self, stream: str) -> None:
        """Nobody holds anything of a stream any more."""
        for holder in [holder for holder in self._held if holder[1] == stream]:
            self.forget(*holder)

    def __len__(self) -> int:
        return len(self._vectors)

    def state(self) -> dict[str, Any]:
        """Plain data and vectors, for a checkpoint."""
        held = [[ue, stream, version] for (ue, stream), version in self._held.items()]
        return {"vectors": dict(self._vectors), "held": held}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> References:
        """What :meth:`state` described."""
        references = cls()
        for ue, stream, version in state["held"]:
            references.acknowledge(ue, stream, version, state["vectors"][version])
        return references
