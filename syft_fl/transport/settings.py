"""What is set for one direction: for all UEs, and otherwise for some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

import torch

from syft_fl.devices import CPU
from syft_fl.errors import ConfigError
from syft_fl.transport.direction import Downlink, Uplink
from syft_fl.transport.layers import Pipeline

__all__ = ["Settings"]

D = TypeVar("D", Uplink, Downlink)


class Settings(Generic[D]):
    """The settings of a direction, and the pipelines that they ask for.

    Settings that are equal share one pipeline object, so UEs can be told apart by its identity.

    Attributes:
        common: for every UE that has nothing of its own.
    """

    def __init__(self, common: D, *, holds_back: bool = False, device: torch.device = CPU) -> None:
        self.common: D = common
        self._holds_back = holds_back
        self._device = device
        self._changes: dict[str, dict[str, Any]] = {}
        self._own: dict[str, D] = {}
        self._pipeline = self._pipeline_of(common)
        self._own_pipelines: dict[str, Pipeline] = {}

    def of(self, ue: str) -> D:
        """The settings of a UE."""
        return self._own.get(ue, self.common)

    def pipeline(self, ue: str) -> Pipeline:
        """The pipeline of a UE."""
        return self._own_pipelines.get(ue, self._pipeline)

    @property
    def need_reference(self) -> bool:
        """Whether any UE's models are differences to what it holds."""
        return any(pipeline.needs_reference for pipeline in self._pipelines())

    def change(self, ue: str | None, changes: Mapping[str, Any]) -> None:
        """Set something for a UE, or for all; what a UE has of its own stays with it.

        Raises:
            ConfigError: nothing is named, this direction has no such setting, or the settings don't go together. Then
                nothing has changed.
        """
        if not changes:
            raise ConfigError(
                "nothing to set; name at least one of codec, link, delta, error_feedback, erasure"
            )
        for name in changes:
            if not hasattr(self.common, name):
                kind = type(self.common).__name__.lower()
                raise ConfigError(f"{name} can't be set for the {kind}; it has codec, delta and link")
        common = replace(self.common, **changes) if ue is None else self.common
        own = dict(self._changes)
        if ue is not None:
            own[ue] = {**own.get(ue, {}), **changes}
        settings = {name: replace(common, **fields) for name, fields in own.items()}
        self.common, self._changes, self._own = common, own, settings
        self._pipeline, self._own_pipelines = self._pipeline_of(common), {}
        for name, mine in settings.items():
            wanted = self._pipeline_of(mine)
            self._own_pipelines[name] = next((p for p in self._pipelines() if p == wanted), wanted)

    def _pipelines(self) -> Iterator[Pipeline]:
        yield self._pipeline
        yield from self._own_pipelines.values()

    def _pipeline_of(self, direction: Uplink | Downlink) -> Pipeline:
        if isinstance(direction, Downlink):
            return Pipeline.of(direction.codec, delta=direction.delta, device=self._device)
        return Pipeline.of(
            direction.codec,
            delta=direction.delta,
            error_feedback=direction.error_feedback,
            erasure=direction.erasure,
            analog=direction.analog is not None,
            holds_back=self._holds_back and direction.error_feedback,
            device=self._device,
        )
