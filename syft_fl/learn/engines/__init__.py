"""Who trains the UEs: one interface, and engines that differ in where and how fast."""

from syft_fl.learn.engines.auto import Auto
from syft_fl.learn.engines.batched import Batched, BatchedEngine
from syft_fl.learn.engines.cluster import connected
from syft_fl.learn.engines.engine import ENGINES, Engine, EngineModel, Job, Outcome
from syft_fl.learn.engines.loop import Loop, LoopEngine
from syft_fl.learn.engines.processes import Processes
from syft_fl.learn.engines.ray_actors import Ray
from syft_fl.learn.engines.threads import Threads

__all__ = [
    "ENGINES",
    "Auto",
    "Batched",
    "BatchedEngine",
    "Engine",
    "EngineModel",
    "Job",
    "Loop",
    "LoopEngine",
    "Outcome",
    "Processes",
    "Ray",
    "Threads",
    "connected",
]
