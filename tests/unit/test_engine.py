"""The reference engine: outcomes depend on the job alone."""

import itertools
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.learn import Job, LoopEngine, Training, intra_op_threads, train
from syft_fl.vectors import Layout


@dataclass
class Labelled:
    x: torch.Tensor
    y: torch.Tensor


def module():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3))


LAYOUT = Layout.of(module())
START = LAYOUT.read(module())


def job(ue, **changes):
    generator = (Key(0) / ue / "data").torch()
    samples = Labelled(torch.randn(20, 6, generator=generator), torch.randint(3, (20,), generator=generator))
    fields = {
        "ue": f"ue{ue}",
        "state": START,
        "samples": samples,
        "training": Training(batch_size=8),
        "key": Key(0) / f"ue{ue}" / "training0",
        "round": 1,
    }
    return Job(**(fields | changes))


def value(outcome):
    return [
        outcome.state.vector.tolist(),
        {k: v.tolist() for k, v in outcome.state.buffers.items()},
        outcome.report,
    ]


def test_outcomes_do_not_depend_on_the_order_of_handing_in_or_asking():
    found = []
    for submitted, asked in itertools.product(itertools.permutations(range(3)), repeat=2):
        engine = LoopEngine(module(), LAYOUT)
        handles = {ue: engine.submit(job(ue)) for ue in submitted}
        found.append({ue: value(engine.result(handles[ue])) for ue in asked})
    assert all(one == found[0] for one in found)


def test_an_outcome_is_the_module_trained_from_the_jobs_state():
    expected = module()
    first = job(0)
    with intra_op_threads(first.training.threads):
        report = train(expected, first.samples, training=first.training, key=first.key, round=1)
    engine = LoopEngine(module(), LAYOUT)
    engine.result(engine.submit(job(7)))
    outcome = engine.result(engine.submit(first))
    assert torch.equal(outcome.state.vector, LAYOUT.read(expected).vector)
    assert outcome.state.buffers["1.num_batches_tracked"] == 3
    assert outcome.report == report


def test_the_state_that_a_job_starts_from_is_not_changed():
    before = START.vector.clone()
    engine = LoopEngine(module(), LAYOUT)
    engine.result(engine.submit(job(0)))
    assert torch.equal(START.vector, before)
    assert START.buffers["1.num_batches_tracked"] == 0


def test_an_outcome_survives_the_next_job():
    engine = LoopEngine(module(), LAYOUT)
    first = engine.result(engine.submit(job(0)))
    kept = first.state.vector.clone()
    engine.result(engine.submit(job(1)))
    assert torch.equal(first.state.vector, kept)


def test_handles_are_never_used_twice_and_an_outcome_is_given_once():
    engine = LoopEngine(module(), LAYOUT)
    handles = [engine.submit(job(0)), engine.submit(job(0))]
    engine.result(handles[0])
    handles.append(engine.submit(job(0)))
    assert len(set(handles)) == 3
    with pytest.raises(ConfigError, match=f"job {handles[0]} .*not yet taken"):
        engine.result(handles[0])
    with pytest.raises(ConfigError, match="job 99"):
        engine.result(99)


def test_outcomes_do_not_depend_on_the_threads_that_happen_to_be_set():
    # Even this small network's sums come out differently with two threads.
    found = []
    for ambient in (1, 2):
        with intra_op_threads(ambient):
            engine = LoopEngine(module(), LAYOUT)
            found.append(value(engine.result(engine.submit(job(0)))))
    assert found[0] == found[1]


def test_a_job_trains_with_its_own_number_of_threads():
    seen = []

    class Watching(nn.Linear):
        def forward(self, x):
            seen.append(torch.get_num_threads())
            return super().forward(x)

    before = torch.get_num_threads()
    net = Watching(6, 3)
    layout = Layout.of(net)
    engine = LoopEngine(net, layout)
    for threads in (1, 2):
        training = Training(batch_size=20, threads=threads)
        engine.result(engine.submit(job(0, state=layout.read(net), training=training)))
    assert seen == [1, 2]
    assert torch.get_num_threads() == before
