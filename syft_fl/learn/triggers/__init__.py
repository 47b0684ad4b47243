"""When a UE sends what it has trained: the rules of event-triggered federated learning.

==============  =======================================================================================
``kind``        an update is sent
==============  =======================================================================================
``always``      always; the default
``every``       every so many trainings
``random``      with a probability: the control
``norm``        if it is long enough
``relative``    if it is long enough beside the model
``bandwidth``   if it is long enough for what the UE's air costs
``loss``        if the training loss has changed enough
``lag``         if it differs enough from the last one
``laq``         the same of what would be decoded, beyond the codec's errors
``lag-server``  if the base station asked, for its model has moved enough
``channel``     if the channel is good enough
``silence``     after so many trainings without one
``all``         if all of some rules say so
``any``         if any of some rules says so
==============  =======================================================================================

A rule is a value, and so is what it remembers (:mod:`~syft_fl.learn.triggers.trigger`). It knows neither bits nor
seconds: what a message costs, the protocol and the radio say.

Example:
    >>> TRIGGERS.build({"kind": "any", "triggers": [{"kind": "norm", "tau": 1}, {"kind": "silence", "k": 9}]})
    AnyOf(triggers=(Norm(tau=1.0, decay=1.0), Silence(k=9)))
"""

from __future__ import annotations

from syft_fl.learn.triggers.always import Always
from syft_fl.learn.triggers.channel import Channel
from syft_fl.learn.triggers.conjunction import AllOf, AnyOf
from syft_fl.learn.triggers.every import Every
from syft_fl.learn.triggers.lag import LAG, LAGServer
from syft_fl.learn.triggers.laq import LAQ
from syft_fl.learn.triggers.loss import LossChange
from syft_fl.learn.triggers.norm import Bandwidth, Norm, Relative
from syft_fl.learn.triggers.random import Random
from syft_fl.learn.triggers.silence import Silence
from syft_fl.learn.triggers.trigger import (
    TRIGGERS,
    Decision,
    Memory,
    Properties,
    ServerSide,
    Trigger,
    TriggerView,
    properties,
)

__all__ = [
    "LAG",
    "LAQ",
    "TRIGGERS",
    "AllOf",
    "Always",
    "AnyOf",
    "Bandwidth",
    "Channel",
    "Decision",
    "Every",
    "LAGServer",
    "LossChange",
    "Memory",
    "Norm",
    "Properties",
    "Random",
    "Relative",
    "ServerSide",
    "Silence",
    "Trigger",
    "TriggerView",
    "properties",
]
