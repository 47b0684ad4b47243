"""With float32, no loss and wait-for-all, a run is plain FedAvg, bit for bit."""

import copy

import pytest
import torch
from torch.nn import functional as F

from syft_fl.data import Synthetic
from syft_fl.federation import Population, Scenario, Simulation, Stop
from syft_fl.keys import Key
from syft_fl.learn import IID, MLP, PerSample, Quantity, Training, build_seeded

ROUNDS = 4


def plain_fedavg(scenario: Scenario, cohorts: list[list[int]]) -> list[dict[str, torch.Tensor]]:
    """FedAvg as a person writes it in plain torch; of ours only the named random streams are used."""
    dataset = scenario.data.load()
    key, training = Key(scenario.seed), scenario.training
    model = build_seeded(scenario.model, dataset.shape, dataset.classes, key / "model")
    parts = scenario.partition.split(dataset.train.y, ues=scenario.population.ues, key=key / "partition")
    trained_before = [0] * len(parts)
    history = []
    for cohort in cohorts:
        states, sizes = [], []
        for ue in cohort:
            x, y = dataset.train.x[parts[ue]], dataset.train.y[parts[ue]]
            local = copy.deepcopy(model)
            optimizer = torch.optim.SGD(
                local.parameters(), lr=training.learning_rate, momentum=training.momentum
            )
            stream = key / f"ue{ue}" / f"training{trained_before[ue]}" / "batches"
            generator = stream.torch()
            trained_before[ue] += 1
            for _ in range(int(training.epochs or 1)):
                order = torch.randperm(len(y), generator=generator)
                for batch in order.split(training.batch_size):
                    optimizer.zero_grad()
                    F.cross_entropy(local(x[batch]), y[batch]).backward()
                    optimizer.step()
            states.append(local.state_dict())
            sizes.append(len(y))
        mean = {}
        for name in states[0]:
            mean[name] = torch.zeros_like(states[0][name])
            for state, size in zip(states, sizes, strict=True):
                mean[name] += (size / sum(sizes)) * state[name]
        model.load_state_dict(mean)
        history.append(copy.deepcopy(model.state_dict()))
    return history


@pytest.mark.parametrize("cohort", [None, 3])
@pytest.mark.parametrize("partition", [IID(), Quantity(alpha=1.0)])
@pytest.mark.parametrize("cast", ["multicast", "unicast", "broadcast"])
def test_a_float32_run_is_plain_fedavg_bit_for_bit(cohort: int | None, partition: object, cast: str) -> None:
    scenario = Scenario(
        seed=5,
        data=Synthetic(train_samples=300, test_samples=50),
        model=MLP(hidden=(16,)),
        partition=partition,
        population=Population(ues=6, cohort=cohort),
        training=Training(batch_size=16, epochs=2, learning_rate=0.1, momentum=0.5),
        compute=PerSample(seconds_per_sample=1e-3),
        downlink={"cast": cast},
        stop=Stop(rounds=ROUNDS),
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        simulation = Simulation(scenario, scenario.data.load())
        simulation.step()
        cohorts, models = [], []
        for _ in range(ROUNDS):
            record = simulation.step()
            ups = [e.ues[0] for e in record.entries if e.direction == "uplink"]
            cohorts.append(sorted(int(name.removeprefix("ue")) for name in ups))
            models.append(simulation.model.vector.clone())
        assert all(len(c) == (cohort or 6) for c in cohorts)
        for vector, state in zip(models, plain_fedavg(scenario, cohorts), strict=True):
            expected = torch.cat([value.reshape(-1) for value in state.values()])
            assert torch.equal(vector, expected)
    finally:
        torch.set_num_threads(threads)
