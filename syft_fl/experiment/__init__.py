"""Experiments: TOML to scenario, runs and comparisons, their folders, results and statistics."""

from syft_fl.experiment.config import Experiment, Variant, load, load_scenario, parse
from syft_fl.experiment.folder import RunFolder
from syft_fl.experiment.forecast import preview
from syft_fl.experiment.progress import Progress
from syft_fl.experiment.result import Comparison, Result
from syft_fl.experiment.runs import compare, run
from syft_fl.experiment.shipped import scenarios
from syft_fl.experiment.sweep_result import SweepResult
from syft_fl.experiment.sweeps import sweep
from syft_fl.experiment.trace import Trace, trace

__all__ = [
    "Comparison",
    "Experiment",
    "Progress",
    "Result",
    "RunFolder",
    "SweepResult",
    "Trace",
    "Variant",
    "compare",
    "load",
    "load_scenario",
    "parse",
    "preview",
    "run",
    "scenarios",
    "sweep",
    "trace",
]
