"""A UE of the simulation: a virtual worker that holds its samples and, by reference, the model it received."""

from __future__ import annotations

from syft_fl.data import Samples, Share
from syft_fl.vectors import ModelState
from syft_fl.workers import VirtualWorker
from syft_fl.workers.worker import ObjectHandle

__all__ = ["UE"]


class UE:
    """One device.

    Ten thousand idle UEs that received the same model share one value: what a worker holds is a reference. Of a
    :class:`~syft_fl.data.Share` it holds the index alone.

    Attributes:
        worker: where its objects and its local time are.
        trainings: how often it has trained; counts its random streams.
    """

    __slots__ = ("_held", "_model", "_own", "_whole", "trainings", "worker")

    def __init__(self, worker: VirtualWorker, samples: Samples | Share, model: ModelState | None) -> None:
        self.worker = worker
        self.trainings = 0
        own = (samples.index,) if isinstance(samples, Share) else (samples.x, samples.y)
        self._whole = samples.whole if isinstance(samples, Share) else None
        self._own = tuple(worker.hold(tensor) for tensor in own)
        self.let_go()
        if model is not None:
            self.receive(model, at_s=0.0)

    @property
    def name(self) -> str:
        """In messages, and of its random streams."""
        return self.worker.id

    @property
    def samples(self) -> Samples | Share:
        """Its own samples, as its worker holds them."""
        own = [self.worker.held(handle.id) for handle in self._own]
        return Samples(*own) if self._whole is None else Share(self._whole, *own)

    @property
    def model(self) -> ModelState:
        """The last one it received, until it lets go of it."""
        assert self._model is not None
        return self._model

    def let_go(self) -> None:
        """Hold no model any more: what was to be computed from it is over."""
        self._model: ModelState | None = None
        self._held: ObjectHandle | None = None

    def receive(self, model: ModelState, *, at_s: float) -> None:
        """Hold this model from now on, instead of the one before; its local time goes on to the arrival."""
        self._model = model
        self._held = self.worker.hold(model.vector)
        self.worker.time_s = max(self.worker.time_s, at_s)

    def wait_until(self, time_s: float) -> None:
        """Let its local time go on to a moment, unless it is there already."""
        self.worker.time_s = max(self.worker.time_s, time_s)

    def compute(self, samples: float, *, factor: float = 1.0) -> float:
        """Let the time of a training pass at this UE; when it is done [s].

        Args:
            samples: what it is charged for, repeats counted.
            factor: how much longer it takes than nominal.
        """
        self.worker.compute(samples, factor=factor)
        return self.worker.time_s
