"""Figures: functions of results that return a matplotlib figure; they read tables and never the simulator."""

from syft_fl.plots.bars import time_to_target
from syft_fl.plots.cell import map_and_rates
from syft_fl.plots.curves import accuracy_against
from syft_fl.plots.energy import energy_by_part
from syft_fl.plots.gallery import draw_all
from syft_fl.plots.participation import participation
from syft_fl.plots.rate_distortion import rate_distortion
from syft_fl.plots.save import save
from syft_fl.plots.style import DOUBLE_IN, SINGLE_IN, Look, looks
from syft_fl.plots.timeline import timeline
from syft_fl.plots.trigger import trigger_quantity
from syft_fl.plots.why import rounds_and_seconds

__all__ = [
    "DOUBLE_IN",
    "SINGLE_IN",
    "Look",
    "accuracy_against",
    "draw_all",
    "energy_by_part",
    "looks",
    "map_and_rates",
    "participation",
    "rate_distortion",
    "rounds_and_seconds",
    "save",
    "time_to_target",
    "timeline",
    "trigger_quantity",
]
