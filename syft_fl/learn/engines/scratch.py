"""A module that jobs are trained in, one at a time: what all engines but ``batched`` have in common.

Parameters keep the memory that torch gave them. Views of one flat vector would be copied to and from in one piece, but
they start at addresses that are no multiple of 64 bytes, and there the BLAS libraries sum in another order: a linear
layer on a batch of one sample then differs in the last bits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from torch import nn

from syft_fl.devices import device_of
from syft_fl.keys import Key
from syft_fl.learn.engines.engine import Job, Outcome
from syft_fl.learn.generators import serving
from syft_fl.learn.training import TrainingReport, intra_op_threads, train
from syft_fl.vectors import Layout

__all__ = ["Scratch"]


class Scratch:
    """A module whose value is overwritten by every job.

    Args:
        module: of the right architecture.
        layout: of that module.
        draws: who serves what the module draws; see :func:`~syft_fl.learn.training.train`. None: the global generators
            of where the module is.
    """

    def __init__(
        self,
        module: nn.Module,
        layout: Layout,
        *,
        draws: Callable[[Key], AbstractContextManager[object]] | None = None,
    ) -> None:
        self._module = module
        self._layout = layout
        self._draws = draws or serving(device_of(module))

    def train(self, job: Job) -> Outcome:
        """Train, and copy out what came of it."""
        report = self._trained(job)
        return Outcome(self._layout.read(self._module), report)

    def train_there(self, job: Job) -> TrainingReport:
        """Train, and write what came of it over the model that the job started from."""
        report = self._trained(job)
        self._layout.read_into(job.state, self._module)
        return report

    def _trained(self, job: Job) -> TrainingReport:
        self._layout.write(job.state, self._module)
        with intra_op_threads(job.training.threads):
            return train(
                self._module,
                job.samples,
                training=job.training,
                key=job.key,
                round=job.round,
                correction=job.correction,
                draws=self._draws,
            )

    def close(self) -> None:
        """Nothing to let go of."""
