"""Which models both ends of each link hold, and which one the base station knows a UE to hold.

Every model that goes down has a version. A UE holds what it received; the base station *knows* of the last one that the
UE acknowledged. Deltas in both directions refer to what both hold: down, the base station takes the version that
it knows of; up, a UE takes the one that it has trained from. Until an acknowledgement arrives, the UE holds both the
old version (the next delta may refer to it) and the new one; a frame that refers to a version shows that the older ones
are needed no more. Vectors are kept by version, once, however many UEs hold them, and dropped with the last holder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, MutableMapping
from typing import Any

from syft_fl.errors import TransportError
from syft_fl.spill import Spill, kept
from syft_fl.vectors import Vector

__all__ = ["References"]

_KEPT = 3
"""Versions that a UE keeps beside the one that the last frame referred to, until it learns that they are not needed.
Should the base station refer to another one after all, the UE says so (NACK) and gets the model whole."""

Holder = tuple[str, str]
"""A UE and a stream."""


class References:
    """Versions, their vectors, and who holds them.

    Args:
        spill: how much of the vectors is in memory; None: all.
    """

    def __init__(self, spill: Spill | None = None) -> None:
        self._vectors: MutableMapping[int, Vector] = kept(spill)
        self._known: dict[Holder, int] = {}
        self._held: dict[Holder, tuple[int, ...]] = {}
        self._holders: Counter[int] = Counter()

    def version(self, ue: str, stream: str) -> int:
        """The version that a UE is known to hold; 0 for none."""
        return self._known.get((ue, stream), 0)

    def held(self, ue: str, stream: str) -> tuple[int, ...]:
        """The versions that a UE does hold, in the order in which it got them."""
        return self._held.get((ue, stream), ())

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
        """A UE holds this version from now on, instead of what it held, and is known to."""
        self._vectors[version] = vector
        self._holders[version] += 2
        self.forget(ue, stream)
        self._known[ue, stream] = version
        self._held[ue, stream] = (version,)

    def hold(
        self, ue: str, stream: str, version: int, vector: Vector, *, since: int = 0, keep: int = 0
    ) -> None:
        """A UE got a version; whether the base station knows is another matter.

        Args:
            since: what its frame referred to: no later one will refer to anything older. 0: it came whole.
            keep: a version that it must not drop; 0: none.
        """
        before = self._held.get((ue, stream), ())
        newer = [v for v in before if v != version and v > since] if since else []
        needed = {keep, since, *newer[-_KEPT:]}
        stay = tuple(v for v in before if v != version and v in needed)
        self._vectors[version] = vector
        self._holders[version] += 1
        self._held[ue, stream] = (*stay, version)
        for old in before:
            if old not in stay:
                self._release(old)

    def know(self, ue: str, stream: str, version: int) -> None:
        """The base station learns that a UE holds a version; of an older one than it knows of it takes no note."""
        before = self._known.get((ue, stream), 0)
        if version <= before or version not in self._vectors:
            return
        self._holders[version] += 1
        self._known[ue, stream] = version
        self._release(before)

    def unknow(self, ue: str, stream: str) -> None:
        """The base station no longer counts on a UE to hold anything."""
        self._release(self._known.pop((ue, stream), 0))

    def forget(self, ue: str, stream: str) -> None:
        """A UE holds nothing of a stream any more (it left, or the model was deleted)."""
        self.unknow(ue, stream)
        for version in self._held.pop((ue, stream), ()):
            self._release(version)

    def forget_stream(self, stream: str) -> None:
        """Nobody holds anything of a stream any more."""
        for holder in [holder for holder in {**self._known, **self._held} if holder[1] == stream]:
            self.forget(*holder)

    def _release(self, version: int) -> None:
        if version:
            self._holders[version] -= 1
            if not self._holders[version]:
                del self._holders[version], self._vectors[version]

    def __len__(self) -> int:
        return len(self._vectors)

    def state(self) -> dict[str, Any]:
        """Plain data and vectors, for a checkpoint."""
        return {
            "vectors": dict(self._vectors.items()),
            "known": [[*holder, version] for holder, version in self._known.items()],
            "held": [[*holder, list(versions)] for holder, versions in self._held.items()],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        self._vectors.clear()
        self._vectors.update(state["vectors"])
        self._known = {(ue, stream): version for ue, stream, version in state["known"]}
        self._held = {(ue, stream): tuple(versions) for ue, stream, versions in state["held"]}
        self._holders = Counter(self._known.values())
        for versions in self._held.values():
            self._holders.update(versions)
