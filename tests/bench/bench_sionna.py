"""How much of a run's host time Sionna takes, in one process at one intra-op thread.

``python tests/bench/bench_sionna.py``: 50 UEs on the digits, both directions over Sionna, 20 rounds. Of the whole
``run``: what drawing channels takes, and what all questions to the link do (which any link is asked). Importing Sionna
and reading its tables, once in a process, is told apart. ``--check``: fail where drawing takes a tenth or more.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from syft_fl.experiment.config import parse
from syft_fl.experiment.runs import run
from syft_fl.keys import Key
from syft_fl.radio import Cell, Sionna
from syft_fl.radio.multipath import Multipath
from syft_fl.radio.sionna_link import SionnaLink

NEEDS = ("sionna",)
MOST = 0.1
LINK = {"kind": "sionna", "bandwidth_hz": 20e6}
METHODS = ("rate_bps", "lost", "transmit_power_w", "steady_until_s")


class Watch:
    """Adds up the time [s] in the functions that it watches; what one calls of another counts once."""

    def __init__(self) -> None:
        self.spent_s = 0.0
        self._running = False

    def watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._running:
                return function(*args, **kwargs)
            self._running, start_s = True, time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._running = False
                self.spent_s += time.perf_counter() - start_s

        return timed


def main() -> None:
    torch.set_num_threads(1)
    start_s = time.perf_counter()
    Sionna().link(Cell(), Key(0), "uplink")
    print(f"Sionna opened in {time.perf_counter() - start_s:.1f} s, once in a process")
    drawing, asking = Watch(), Watch()
    Multipath.gains = drawing.watched(Multipath.gains)
    Sionna.link = asking.watched(Sionna.link)
    for name in METHODS:
        setattr(SionnaLink, name, asking.watched(getattr(SionnaLink, name)))
    shares = []
    for model in ("softmax", "mlp"):
        # Seeds differ, so that neither run finds the other's channels.
        config = parse(
            {
                "seed": len(shares),
                "data": {"kind": "digits"},
                "model": {"kind": model},
                "population": {"ues": 50},
                "uplink": {"link": LINK},
                "downlink": {"link": LINK},
                "stop": {"rounds": 20},
            }
        )
        drawing.spent_s = asking.spent_s = 0.0
        start_s = time.perf_counter()
        run(config, progress=lambda *_: None)
        whole_s = time.perf_counter() - start_s
        shares.append(drawing.spent_s / whole_s)
        print(
            f"{model:<8} {whole_s:.2f} s, of which drawing channels {shares[-1]:.1%} ({drawing.spent_s:.2f} s), "
            f"the link in all {asking.spent_s / whole_s:.1%}"
        )
    if "--check" in sys.argv and max(shares) >= MOST:
        sys.exit(f"drawing channels takes {max(shares):.1%} of a run; it must stay below {MOST:.0%}")


if __name__ == "__main__":
    main()
