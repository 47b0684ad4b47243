"""What do skipping and quantising save? Runs laq.toml and counts until the loss is near its minimum, as the paper does.

Bits are counted twice: the paper's way (uploads x entries x bits an entry; headers, radii and messages that say that
nothing is sent are free) and as they were on the air. Takes ``--data-root``, ``--out``, ``--resume``, ``--force``,
``--accept-checksum-mismatch`` and ``key.path=value`` overrides; ``--residual`` sets another stop.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.optimize import minimize
from torch.nn import functional as F

import syft_fl as sy
from syft_fl.data import Samples
from syft_fl.experiment import Comparison, Progress, Result
from syft_fl.experiment.runs import cached_loader
from syft_fl.experiment.table import number
from syft_fl.federation import RoundRecord, Simulation
from syft_fl.plots import save
from syft_fl.plots.style import DOUBLE_IN, drawings, looks, outside_legend, styled
from syft_fl.schema import plain

CLAIMED = {  # iterations, uploads, bits: of the paper, softmax regression on MNIST, to the same stop
    "gd": (2763, 27630, 6.93e9),
    "qgd": (2760, 27600, 8.66e8),
    "lag": (2620, 2382, 5.98e8),
    "laq": (2673, 620, 1.95e7),
}
RADIUS_BITS = 32


def minimum(samples: Samples, *, classes: int, l2: float) -> float:
    """The least value of mean cross-entropy + l2/2 |theta|^2 over softmax regressions.

    In double precision, by L-BFGS until the gradient's norm g says that the value is off by less than
    g^2/(2 l2) = 1e-9.
    """
    x, y = samples.x.flatten(1), samples.y
    size, count = x.shape[1], len(y)

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        table = torch.from_numpy(theta).view(classes, size + 1)
        value, slope = l2 / 2 * float(theta @ theta), l2 * table
        for inputs, labels in zip(x.split(5000), y.split(5000), strict=True):
            inputs = F.pad(inputs.double(), (0, 1), value=1.0)
            log_shares = F.log_softmax(inputs @ table.T, dim=1)
            value += F.nll_loss(log_shares, labels, reduction="sum").item() / count
            slope += (log_shares.exp() - F.one_hot(labels, classes)).T @ inputs / count
        return value, slope.numpy().ravel()

    start = np.zeros(classes * (size + 1))
    options = {"maxiter": 5000, "maxfun": 5000, "maxcor": 30, "ftol": 0.0, "gtol": 1e-8}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    assert found.jac @ found.jac / (2 * l2) < 1e-9, f"the minimum was not found: {found.message}"
    return float(found.fun)


def squares_file(folder: Path) -> Callable[[str, int], Progress]:
    """Progress that writes down |theta|^2 after each round, which the objective needs beside the training loss."""

    def of(variant: str, seed: int) -> Progress:
        path = folder / variant / f"seed{seed}" / "squares.jsonl"

        def note(simulation: Simulation, record: RoundRecord) -> None:
            vector = simulation.model.vector.double()
            row = {"round": record.row["round"], "square": float(vector @ vector)}
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")

        return note

    return of


def residuals(result: Result, *, least: float) -> pd.Series:
    """Objective above its minimum by the rounds done. The loss of round k + 1's training is that of round k's model."""
    assert result.folder is not None
    rows = pd.read_json(result.folder / "squares.jsonl", lines=True)
    squares = rows.drop_duplicates("round", keep="last").set_index("round")["square"]
    losses = result.rounds.set_index("round")["train_loss"].shift(-1)
    return (losses + result.config["training"]["weight_decay"] / 2 * squares - least).dropna()


def counted(result: Result) -> pd.DataFrame:
    """By the rounds done: uploads, and bits in both countings."""
    up = result.transfers[result.transfers["direction"] == "uplink"]
    models = up[up["kind"] == "model"]
    radius = RADIUS_BITS if result.config["uplink"]["codec"]["kind"] == "laq" else 0
    rounds = result.rounds.set_index("round")
    by_round = {
        "uploads": models.groupby("round").size(),
        "paper_bits": (models["payload_bits"] - radius).groupby(models["round"]).sum(),
        "skip_bits": up[up["kind"] == "skip"].groupby("round")["bits"].sum(),
    }
    table = pd.DataFrame(by_round).reindex(rounds.index).fillna(0.0).cumsum()
    return table.assign(bits=rounds["uplink_bits"], seconds=rounds["latency_s"])


def summary(results: tuple[Result, ...], *, least: float, stop: float) -> str:
    """The table: what each variant had spent when it was as near to the minimum as the stop asks."""
    lines = [
        "variant        seed rounds  uploads    of gd  bits (paper's way)    of gd  bits on the air    of gd"
        "  of it SKIPs  time [s]  accuracy  paper: rounds, uploads, bits"
    ]
    base: dict[int, pd.Series] = {}  # by seed, what the first variant needs
    for result in results:
        left = residuals(result, least=least)
        reached = left.index[left <= stop]
        if not len(reached):
            lines.append(
                f"{result.name:<14} {result.seed:>4} not reached: {left.iloc[-1]:.2e} after {left.index[-1]} rounds"
            )
            continue
        row = counted(result).loc[reached[0]]
        first = base.setdefault(result.seed, row)
        tested = result.rounds.set_index("round")["accuracy"].dropna()
        accuracy = tested[tested.index <= reached[0]].iloc[-1]
        claimed = CLAIMED.get(result.name)
        lines.append(
            f"{result.name:<14} {result.seed:>4} {reached[0]:>6}"
            f" {row['uploads']:>8.0f} {row['uploads'] / first['uploads']:>8.4f}"
            f"  {row['paper_bits']:>18.4g} {row['paper_bits'] / first['paper_bits']:>8.5f}"
            f"  {row['bits']:>15.4g} {row['bits'] / first['bits']:>8.5f}  {row['skip_bits'] / row['bits']:>11.1%}"
            f"  {number(row['seconds']):>8}  {accuracy:>8.4f}"
            + (f"  {claimed[0]}, {claimed[1]}, {claimed[2]:.3g}" if claimed else "")
        )
    return "\n".join(lines)


def draw(results: tuple[Result, ...], *, least: float) -> Figure:
    """Residual against uploads, bits on the air and simulated seconds."""
    axes_of = {"uploads": "Uploads", "bits": "Sent on the uplink [bit]", "seconds": "Simulated time [s]"}
    look_of = looks([result.name for result in results])
    with styled():
        figure, panels = drawings(DOUBLE_IN, 0.4 * DOUBLE_IN, columns=3)
        for result in results:
            left, spent = residuals(result, least=least), counted(result)
            look = look_of[result.name]
            # One entry of the legend for all seeds.
            label = result.name if result.seed == results[0].seed else None
            for axes, (column, title) in zip(panels, axes_of.items(), strict=True):
                x = spent[column].reindex(left.index)
                axes.loglog(x[x > 0], left[x > 0], color=look.color, linestyle=look.linestyle, label=label)
                axes.set_xlabel(title)
                axes.grid(True)
        panels[0].set_ylabel("Loss above its minimum")
        outside_legend(figure, panels[0], above=True)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="key.path=value")
    parser.add_argument("--out", type=Path, default=Path("results/laq"))
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--residual", type=float, default=1e-6, help="loss above its minimum to count until")
    for flag in ("--resume", "--force", "--accept-checksum-mismatch"):
        parser.add_argument(flag, action="store_true")
    asked = parser.parse_args()
    experiment = sy.load(Path(__file__).with_suffix(".toml"), asked.overrides)
    comparison: Comparison = sy.compare(
        experiment,
        out=asked.out,
        resume=asked.resume,
        force=asked.force,
        data_root=asked.data_root,
        accept_checksum_mismatch=asked.accept_checksum_mismatch,
        progress=squares_file(asked.out),
    )
    base = experiment.base
    dataset = cached_loader(asked.data_root, asked.accept_checksum_mismatch)(base.data)
    print(f"data: {plain(base.data)}; {len(dataset.train)} samples over {base.population.ues} UEs")
    least = minimum(dataset.train, classes=dataset.classes, l2=base.training.weight_decay)
    print(f"least loss: {least:.9f}; counted until {asked.residual:g} above it")
    print(summary(comparison.results, least=least, stop=asked.residual))
    paths = save(draw(comparison.results, least=least), asked.out / "figures", "residual")
    print(f"figure: {paths[0]}")


if __name__ == "__main__":
    main()
