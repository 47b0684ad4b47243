"""Local training, how its results are combined, and how samples are spread over UEs."""

from syft_fl.learn.aggregation import (
    AGGREGATORS,
    Aggregator,
    Averaging,
    CountingSteps,
    FedAvg,
    Memory,
    Pairwise,
    Remembering,
    mean_rule,
    next_model,
)
from syft_fl.learn.compute import COMPUTES, Balance, Compute, Cycles, PerSample
from syft_fl.learn.engine import Engine, Job, LoopEngine, Outcome
from syft_fl.learn.evaluation import Evaluation, evaluate
from syft_fl.learn.fednova import FedNova
from syft_fl.learn.generators import global_generators, torch_generator
from syft_fl.learn.models import (
    MLP,
    MODELS,
    CifarCNN,
    DocumentCNN,
    LeNet5,
    ModelFactory,
    ResNet18,
    Softmax,
    build_seeded,
)
from syft_fl.learn.own import OwnModel, own_model
from syft_fl.learn.partition import IID, PARTITIONS, Dirichlet, Partition, Quantity, Shards
from syft_fl.learn.robust import Krum, Median, MultiKrum, TrimmedMean
from syft_fl.learn.scaffold import Scaffold, mean_step
from syft_fl.learn.schedule import SCHEDULES, Constant, Cosine, Exponential, Schedule, Step
from syft_fl.learn.server_optimizers import FedAdagrad, FedAdam, FedAvgM, FedYogi
from syft_fl.learn.slowdown import (
    SLOWDOWNS,
    ExponentialSlowdown,
    LognormalSlowdown,
    ParetoSlowdown,
    Slowdown,
    Stragglers,
    UniformSlowdown,
)
from syft_fl.learn.slowdown_trace import SlowdownTrace
from syft_fl.learn.training import LabelledSamples, Training, TrainingReport, intra_op_threads, train

__all__ = [
    "AGGREGATORS",
    "COMPUTES",
    "IID",
    "MLP",
    "MODELS",
    "PARTITIONS",
    "SCHEDULES",
    "SLOWDOWNS",
    "Aggregator",
    "Averaging",
    "Balance",
    "CifarCNN",
    "Compute",
    "Constant",
    "Cosine",
    "CountingSteps",
    "Cycles",
    "Dirichlet",
    "DocumentCNN",
    "Engine",
    "Evaluation",
    "Exponential",
    "ExponentialSlowdown",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedAvgM",
    "FedNova",
    "FedYogi",
    "Job",
    "Krum",
    "LabelledSamples",
    "LeNet5",
    "LognormalSlowdown",
    "LoopEngine",
    "Median",
    "Memory",
    "ModelFactory",
    "MultiKrum",
    "Outcome",
    "OwnModel",
    "Pairwise",
    "ParetoSlowdown",
    "Partition",
    "PerSample",
    "Quantity",
    "Remembering",
    "ResNet18",
    "Scaffold",
    "Schedule",
    "Shards",
    "Slowdown",
    "SlowdownTrace",
    "Softmax",
    "Step",
    "Stragglers",
    "Training",
    "TrainingReport",
    "TrimmedMean",
    "UniformSlowdown",
    "build_seeded",
    "evaluate",
    "global_generators",
    "intra_op_threads",
    "mean_rule",
    "mean_step",
    "next_model",
    "own_model",
    "torch_generator",
    "train",
]
