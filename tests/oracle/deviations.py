"""Where ``syft_fl`` differs from PySyft 0.2.5 on purpose: our exact answers, by their row of ``docs/pysyft.md``.

The row there gives the reason.
"""

from __future__ import annotations

from typing import Any

__all__ = ["DEVIATIONS"]

_APART = "TensorsNotCollocatedException"

_BY_ROW: dict[str, dict[str, Any]] = {
    "torch": {
        "hook: torch's own functions are rewritten": [False, False, False],
        "tensor.send(w): a pointer's type is torch.Tensor itself": False,
    },
    "a second hook": {"hook: a second hook shares the first one's local worker": False},
    "worker ids": {"worker: a number for an id": "WorkerError"},
    "latency": {"worker: message_pending_time, a pause before each message": "WorkerError"},
    "the same id again": {"worker: the same id again is the same object": True},
    "new workers": {
        "worker: a new one holds so many objects": 0,
        "search / multi: search with nothing asked finds what has tags": [1, 2],
    },
    "`_objects`, `get_obj`, `search`": {
        "worker: get_obj and _objects hand out the worker's own tensor": [False, False],
        "search / multi: search finds a vector by id": 1,
        "worker: objects_count": [1, 2],
    },
    "`get_worker`, `module.owner`": {
        "worker: get_worker finds a worker by id": {"raises": "AttributeError"},
        "module.send(w): owner of the module": {"raises": "AttributeError"},
    },
    "errors": {
        "worker: an unknown string id is refused": "WorkerError",
        "tensor.send(w): send(None)": "WorkerError",
        "get(): a second get": "ObjectNotFoundError",
        "get(): of a plain tensor": "WorkerError",
        "module.get(): of a module that is not sent": "WorkerError",
        "copy: of a sent module": "WorkerError",
        "datasets: an unknown id": "WorkerError",
        "datasets: loader: of something that is not federated": "WorkerError",
        "averaging: federated_avg of no models": "ConfigError",
    },
    "a pointer after `get`": {
        "get(): an alias of the pointer is broken after it": "ObjectNotFoundError",
        "get(): even repr of the pointer fails after it": "nothing",
    },
    "collocation": {
        "mixed locations: two workers": [_APART, _APART, _APART],
        "mixed locations: a pointer and a plain tensor": [_APART, _APART, _APART],
        "mixed locations: a plain tensor and a pointer": [_APART, _APART, _APART],
        "mixed locations: torch.cat of two workers'": _APART,
        "mixed locations: a loss of pointers at two workers": _APART,
        "mixed locations: a layer fed with another worker's data": _APART,
        "mixed locations: the layer's weights are whole after it": [[[1.0, 2.0]], [0.5]],
        "mixed locations: a layer fed with plain data": _APART,
        "mixed locations: a local layer fed with a pointer": _APART,
    },
    "plain zero-dimensional tensors": {"mixed locations: a plain tensor without dimensions": "nothing"},
    "a pointer to a pointer": {"tensor.send(w): a pointer to a pointer": "WorkerError"},
    "second `send` of a sent module": {"module.send(w): of a sent module": "WorkerError"},
    "`send` with a graph alive": {
        "module.send(w): and backward of a graph from before": ["WorkerError", "nothing"],
    },
    "buffers": {
        "module.get(): buffers come along": [[0.0, 0.0], [1.0, 1.0]],
        "module.get(): BatchNorm is usable after it": [2, 2],
        "averaging: federated_avg averages buffers": [2.0],
    },
    "ids": {
        "tensor.send(w): the worker's copy keeps the original's id": False,
        "tensor.send(w): sending one tensor twice makes two objects": [2, 2],
        "tensor.send(w): after sending twice the second get": "nothing",
    },
    "`clone`": {
        "get(): a clone is the same object at the worker": [False, 2],
        "get(): clone().get() keeps the original": [[1.0, 2.0, 3.0, 4.0], 1, [1.0, 2.0, 3.0, 4.0]],
        "get(): clone().get() of a gradient": [2.0, 4.0, 6.0, 8.0],
    },
    "`.grad` and `.data`": {
        "get(): of a gradient": [2.0, 4.0, 6.0, 8.0],
        "operations: before backward the gradient is None": True,
        "operations: data outlives its pointer": [1.0, 2.0, 3.0, 4.0],
        "pointer: repr of data and grad": ["(Wrapper)>[PointerTensor | me:# -> alice#:#]"] * 2,
    },
    "`requires_grad`": {"tensor.send(w): a leaf stays a leaf that asks for gradients": [True, True]},
    "gradients and `get`": {
        "get(): a leaf comes back with its gradient": None,
        "module.get(): gradients come along": [None, None],
        "module.get(): gradients come along when asked for": [[[1.0, 2.0]], [1.0]],
        "module.send(w): gradients of zero are made first": [None, None],
    },
    "`.item()`, `float(p)`, `bool(p)`, `.tolist()`, `.numpy()`": {
        "pointer: item()": ["nothing"],
        "pointer: as an index of a list": 20,
        "pointer: tolist()": [1.0, 2.0, 3.0, 4.0],
        "pointer: numpy()": [1.0, 2.0, 3.0, 4.0],
    },
    "`__dlpack__`, pickle, `deepcopy` of a pointer, `data_ptr`": {
        "pointer: pickling one": "WorkerError",
        "pointer: torch.save of one": "WorkerError",
        "pointer: its memory and numpy's view of it": ["WorkerError", "WorkerError"],
        "pointer: a deep copy of one": "WorkerError",
    },
    "`move`": {
        "move(w): is in place": [True, True],
        "move(w): by a string id": True,
        "move(w): to where it is": [[1.0, 2.0, 3.0, 4.0], 0],
        "move(w): of a module returns": "the module",
        "move(w): of a module, and a forward pass there": [[5.5]],
    },
    "shapes that values decide (`nonzero`, masks)": {
        "operations: indexing with a remote mask": [3.0, 4.0],
    },
    "indices, rows, hooks, LSTM": {
        "operations: indexing with a remote index": [4.0, 1.0],
        "operations: iterating over rows": [[1.0, 2.0], [3.0, 4.0]],
        "operations: backward through a hook": [10.0, 10.0, 10.0, 10.0],
        # All weights 0.1, inputs 1: h = s(a) tanh(c), c = s(a) (c + tanh(a)) with a = 0.4 + 0.3 h, four times.
        "remote training: an LSTM gives outputs there": [0.33001, 0.33001, 0.33001],
    },
    "a tag given at a pointer": {
        "search / multi: a tag given at the pointer is found at the worker": [["#x"], 1],
    },
    "what is printed": {
        "module.send(w): repr of a sent parameter": "(Wrapper)>[PointerTensor | me:# -> alice#:#]",
        "search / multi: repr of a tagged pointer": (
            "(Wrapper)>[PointerTensor | me:# -> alice#:#]\n\tTags: #x\n\tDescription: four numbers"
        ),
        "datasets: repr of a FederatedDataset": (
            "FederatedDataset\n    Distributed across: alice#, bob#\n    Number of datapoints: #\n"
        ),
    },
    "`get_dataset`": {"datasets: get_dataset with whole numbers for targets": [0, 10, 20, 30]},
    "shares of different sizes": {
        "datasets: loader: iter_per_worker stops at the shortest part": 3,
        "datasets: loader: len": [7, 7, 4, 3, 3, 2, 2, 0, 2, 0],
    },
    "`federated_avg`": {
        "averaging: federated_avg writes into the first model": [False, [[[3.0, 6.0]], [0.5]]],
        "averaging: federated_avg of models at one worker": [True, [[[1.0, 3.0]], [0.5]]],
    },
}

DEVIATIONS: dict[str, tuple[Any, str]] = {
    name: (ours, row) for row, facts in _BY_ROW.items() for name, ours in facts.items()
}
"""Our answer and the row in the documentation, by the name of the fact."""
