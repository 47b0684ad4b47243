"""What a run begins with: the radio that all messages pass, and UEs with their samples."""

from __future__ import annotations

import torch
from torch import Tensor

from syft_fl.data import Samples
from syft_fl.federation.cohort import ue_names
from syft_fl.federation.scenario import Scenario
from syft_fl.federation.ue import UE
from syft_fl.keys import Key
from syft_fl.spill import Spill
from syft_fl.transport import Transport
from syft_fl.workers import Station, VirtualWorker

__all__ = ["share_out", "transport_of"]


def transport_of(scenario: Scenario, *, hub: str, device: torch.device, spill: Spill | None) -> Transport:
    """The transport of a scenario, at time 0.

    Args:
        hub: the base station's name.
        device: where models are.
        spill: how much of what is remembered of UEs is in memory; None: all.

    Raises:
        ConfigError: parts of the radio do not go together.
        TransportError: the carrier does not work here.
    """
    return Transport(
        uplink=scenario.uplink,
        downlink=scenario.downlink,
        cell=scenario.cell,
        key=Key(scenario.seed),
        hub=hub,
        users=scenario.population.chosen,
        carrier=scenario.carrier,
        holds_back=scenario.event_triggered,
        device=device,
        spill=spill,
    )


def share_out(train: Samples, *, labels: Tensor, scenario: Scenario, station: Station) -> dict[str, UE]:
    """The UEs of a scenario by name, in their fixed order, each with its part of the samples.

    Of the data a UE has an index, and a model not before it receives one: many UEs are little more than names.

    Args:
        train: all samples, on the device where UEs are.
        labels: [samples] of the same, on the CPU, where the partition is drawn.
        scenario: how many UEs, and how the samples are split.
        station: whose workers they are.

    Raises:
        ConfigError: the partition leaves a UE without samples.
    """
    names = ue_names(scenario.population.ues)
    parts = scenario.partition.split(labels, ues=len(names), key=Key(scenario.seed) / "partition")
    return {
        name: UE(VirtualWorker(station, name), train.share(part.to(train.y.device)), None)
        for name, part in zip(names, parts, strict=True)
    }
