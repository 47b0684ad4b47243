"""The mean of a round, taken while its updates come in, so that no more of them are held than have overtaken others.

The share of an update in a mean depends on who else sends one. So this is done where that is known beforehand: all of a
cohort are told, all send, nothing can be lost, and the base station waits for all. Updates are added in the fixed order
of UEs, with the shares and the operations of :class:`~syft_fl.learn.FedAvg`: the mean is the same to the bit.

Left out: rounds that may lose something, rules that look at each update (:mod:`~syft_fl.learn.robust`), payloads that
are added up before they are decoded. There all updates of a round are held until it closes.
"""

from __future__ import annotations

from collections.abc import Mapping

from syft_fl.codecs import Summing
from syft_fl.errors import RunError
from syft_fl.federation.retiming import loses
from syft_fl.federation.scenario import Scenario
from syft_fl.learn import FedAvg, RunningMean, mean_rule
from syft_fl.vectors import ModelState

__all__ = ["Streaming", "streams"]


def streams(scenario: Scenario) -> bool:
    """Whether it is known beforehand that every UE of a cohort sends an update, and only their mean counts."""
    uplink, downlink = scenario.uplink, scenario.downlink
    # What a user's own radio or carrier does is not known here.
    parts = (uplink.link, uplink.access, downlink.link, downlink.access, scenario.carrier)
    return (
        isinstance(mean_rule(scenario.population.aggregator), FedAvg)
        and not scenario.event_triggered
        and uplink.analog is None
        and not isinstance(uplink.codec, Summing)
        and all(type(part).__module__.startswith("syft_fl.") for part in parts)
        and not any(loses(scenario, direction) for direction in ("uplink", "downlink"))
    )


class Streaming:
    """The mean of one round.

    Args:
        samples: of each UE of the cohort, in their fixed order.
    """

    def __init__(self, samples: Mapping[str, int]) -> None:
        self._samples = samples
        self._mean = RunningMean([float(count) for count in samples.values()])
        self._to_come = iter(samples)
        self._next = next(self._to_come, None)
        self._overtook: dict[str, ModelState] = {}

    @property
    def weight(self) -> float:
        """Of all updates together."""
        return sum(map(float, self._samples.values()))

    def add(self, ue: str, state: ModelState, *, samples: int) -> None:
        """An update has come."""
        if self._samples.get(ue) != samples:
            raise RunError(f"{ue} sent an update of {samples} samples, and has {self._samples.get(ue)}")
        self._overtook[ue] = state
        while self._next in self._overtook:
            self._mean.add(self._overtook.pop(self._next))
            self._next = next(self._to_come, None)

    def mean(self) -> ModelState:
        """The mean of all.

        Raises:
            RunError: one has not come.
        """
        if self._next is not None:
            raise RunError(f"the round closed without the update of {self._next}, which nothing could lose")
        return self._mean.state
