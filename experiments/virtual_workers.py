"""Federated averaging by hand, in the vocabulary of PySyft 0.2: virtual workers, send, get.

``python experiments/virtual_workers.py`` takes a few seconds on the digits that come with scikit-learn and needs no
download. ``--uplink-bits 4`` sends each update in 4 bits per entry; compare the simulated seconds. With
``--data mnist --data-root FOLDER`` it trains the document's CNN on the first 6000 images of MNIST.

What is done by hand here, ``syft-fl run`` does from a file, with fading, several seeds and figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

import syft_fl as sy
from syft_fl.codecs import Float32, Uniform
from syft_fl.data import MNIST, Dataset, Digits
from syft_fl.learn import (
    MLP,
    Dirichlet,
    DocumentCNN,
    FedAvg,
    PerSample,
    build_seeded,
    evaluate,
    intra_op_threads,
)
from syft_fl.radio import Constant
from syft_fl.vectors import Layout, ModelState


class UE:
    """A virtual worker with its share of the data, and the model that it trains."""

    def __init__(
        self, hook: sy.TorchHook, name: str, x: Tensor, y: Tensor, model: nn.Module, rate: float
    ) -> None:
        self.worker = sy.VirtualWorker(hook=hook, id=name)
        self.samples = len(y)
        self.x, self.y = x.send(self.worker), y.send(self.worker)
        self.model = model
        self.opt = optim.SGD(model.parameters(), lr=rate)

    def receive(self, state: ModelState) -> None:
        Layout.of(self.model).write(state, self.model)
        self.model.send(self.worker)

    def train(self, batch_size: int) -> Tensor:
        """One pass over its data, all of it at the worker; a pointer to the last loss."""
        for x, y in zip(self.x.split(batch_size), self.y.split(batch_size), strict=True):
            self.opt.zero_grad()
            loss = F.cross_entropy(self.model(x), y)
            loss.backward()
            self.opt.step()
        return loss

    def upload(self) -> ModelState:
        self.model.get()
        return Layout.of(self.model).read(self.model)


def load(args: argparse.Namespace) -> Dataset:
    if args.data == "digits":
        return Digits().load()
    return MNIST(train_samples=6000, test_samples=2000).load(root=args.data_root)


def federate(args: argparse.Namespace) -> None:
    key, data = sy.Key(args.seed), load(args)
    factory = MLP(hidden=(64,)) if args.data == "digits" else DocumentCNN()
    link = Constant(rate_bps=args.rate_mbps * 1e6)
    codec = Float32() if args.uplink_bits == 32 else Uniform(bits=args.uplink_bits)
    transport = sy.Transport(
        uplink=sy.Uplink(codec=codec, link=link), downlink=sy.Downlink(link=link), key=key / "transport"
    )
    hook = sy.TorchHook(
        torch, transport=transport, compute=PerSample(seconds_per_sample=args.seconds_per_sample)
    )

    def new_model() -> nn.Module:
        return build_seeded(factory, data.shape, data.classes, key / "model")

    final_model = new_model()
    layout = Layout.of(final_model)
    state = layout.read(final_model)
    ues = []
    parts = Dirichlet(alpha=args.alpha).split(data.train.y, ues=args.ues, key=key / "partition")
    for number, part in enumerate(parts):
        mine = data.train[part[torch.randperm(len(part), generator=(key / "order" / number).torch())]]
        ues.append(UE(hook, f"ue{number}", mine.x, mine.y, new_model(), args.learning_rate))

    print("round  simulated_s  uplink_MB  accuracy")
    for round_ in range(1, args.rounds + 1):
        for ue in ues:
            ue.receive(state)
        for ue in ues:
            ue.train(args.batch_size)
        uploads = [(ue.upload(), float(ue.samples)) for ue in ues]
        state = FedAvg().aggregate(state, uploads)
        layout.write(state, final_model)
        found = evaluate(final_model, data.test.x, data.test.y)
        uplink_mb = transport.ledger.uplink_bits / 8e6
        print(f"{round_:5}  {transport.clock.now_s:11.3f}  {uplink_mb:9.3f}  {found.accuracy:8.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("digits", "mnist"), default="digits")
    parser.add_argument("--data-root", type=Path, help="folder above MNIST; else $SYFT_FL_DATA, else ./data")
    parser.add_argument("--ues", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--alpha", type=float, default=1.0, help="how evenly classes are spread over UEs")
    parser.add_argument("--uplink-bits", type=int, default=32, help="per entry; 32: float32, as it is")
    parser.add_argument("--rate-mbps", type=float, default=1.0, help="both ways, shared [Mbit/s]")
    parser.add_argument("--seconds-per-sample", type=float, default=1e-3, help="compute time of a UE [s]")
    parser.add_argument("--seed", type=int, default=0)
    with intra_op_threads(1):
        federate(parser.parse_args())


if __name__ == "__main__":
    main()
