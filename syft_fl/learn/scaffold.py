r"""SCAFFOLD: local steps that are corrected for how a UE's own data draw it away.

Each UE has a control variate :math:`c_i`, an estimate of its own gradient, and the base station :math:`c`, their mean.
A local step is

.. math:: y_i \leftarrow y_i - \eta\,\bigl(g_i(y_i) - c_i + c\bigr)

and after :math:`\tau` of them (the paper's option II; it costs no gradient more)

.. math:: c_i^+ = c_i - c + \frac{x - y_i}{\tau\,\eta}

What is sent is charged: down go :math:`x` and :math:`c`, up :math:`y_i` and :math:`\Delta c_i = c_i^+ - c_i`, each
pair as *one* model of twice the parameters (the second half is named ``control.…``). So there is one header, both
halves arrive or are lost together, and the codec writes both as it is set up to. The second half changes by about
:math:`1/(\tau\eta)` times as much as the first: a codec with one scale, or one choice of entries, for the whole vector
favours the larger half. ``layered`` can write ``control.*`` by a rule of its own (its ``last`` tensor is of that half,
too).

Up, the second half is :math:`c + \Delta c_i` with the :math:`c` that the UE decoded, so that the *difference* to what
both ends hold is :math:`\Delta c_i`. UE and base station both add what this decodes to,
:math:`\widehat{\Delta c_i}`:

.. math::
    c_i \leftarrow c_i + \widehat{\Delta c_i}, \qquad
    c \leftarrow c + \frac{1}{N} \sum_{i \in S} \widehat{\Delta c_i}

Hence :math:`c` *is* the mean of the :math:`c_i` under any codec and any loss, and what a codec lost of one upload is in
the difference of the next. With error feedback the UE takes its :math:`c_i^+` as it is, at once: what did not arrive is
owed, and comes later, so :math:`c` is the mean of the :math:`c_i` less what each UE's residual holds.

Left out: with option II, :math:`\Delta c_i` follows from :math:`y_i` where the base station knows the steps and their
size, so it need not be sent at all; here it is sent, and paid for, as in the paper's algorithm.

Source: S. P. Karimireddy et al., *SCAFFOLD: Stochastic Controlled Averaging for Federated Learning*, 2020,
algorithm 1 and eqs. (3) to (5). Differs from it in: with momentum or a proximal term :math:`\tau` is the number of
plain steps that they are worth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from syft_fl.learn.aggregation import AGGREGATORS, FedAvg
from syft_fl.schema import require, schema
from syft_fl.vectors import ModelState, Vector

__all__ = ["Scaffold", "mean_step"]


@AGGREGATORS
@schema
class Scaffold:
    r"""The base station's step of SCAFFOLD; with it UEs take corrected steps, and send control variates.

    .. math:: x \leftarrow x + \frac{\eta_g}{|S|} \sum_{i \in S} (y_i - x)

    UEs weigh the same whatever their samples, as in the paper: what is minimised is the mean of the UEs' losses.
    Buffers are averaged in the same way.

    Attributes:
        learning_rate: the base station's, :math:`\eta_g`.
    """

    kind: ClassVar[str] = "scaffold"
    needs_each: ClassVar[bool] = True
    needs_sgd: ClassVar[bool] = True

    learning_rate: float = 1.0

    def __post_init__(self) -> None:
        value = self.learning_rate
        require(0 < value < math.inf, "learning_rate", value, "above 0 and finite")

    def aggregate(self, current: ModelState, updates: Sequence[tuple[ModelState, float]]) -> ModelState:
        if not updates:
            return current
        mean = FedAvg().aggregate(current, [(state, 1.0) for state, _ in updates])
        # Of a rate of 1 this is the mean to the bit.
        return replace(mean, vector=current.vector.lerp(mean.vector, self.learning_rate))


def mean_step(start: Vector, trained: Vector, *, rate: float, steps: float) -> Vector:
    r"""The mean of a UE's steps over their learning rate, :math:`(x - y_i)/(\tau\eta)`: :math:`c + \Delta c_i`.

    Args:
        start: [entries] where the UE began, :math:`x`.
        trained: [entries] where it ended, :math:`y_i`.
        rate: learning rate :math:`\eta`, above 0.
        steps: plain steps that its training is worth, :math:`\tau`.
    """
    return (start - trained) / (rate * steps)
