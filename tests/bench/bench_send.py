"""send and get of a model against copying its tensors once and one CRC32 over them, in one process at one thread.

``python tests/bench/bench_send.py``: the document's CNN (1,199,882 float32 numbers), codec float32, a radio that takes
no time. Both are timed in turn; printed are the medians, and the median of neighbours' ratios, which a busy machine
disturbs least. ``--check``: fail where one of them is above 3.
"""

from __future__ import annotations

import statistics
import sys
import time
import zlib
from collections.abc import Callable

import torch

from syft_fl.keys import Key
from syft_fl.learn import DocumentCNN, build_seeded
from syft_fl.radio import Constant
from syft_fl.transport import Downlink, Transport, Uplink
from syft_fl.workers import TorchHook, VirtualWorker

REPEATS = 100
MOST = 3.0


def seconds(step: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    step()
    return time.perf_counter() - start_s


def main() -> None:
    torch.set_num_threads(1)
    link = Constant(rate_bps=1e15)
    hook = TorchHook(torch, transport=Transport(uplink=Uplink(link=link), downlink=Downlink(link=link)))
    ue = VirtualWorker(hook=hook, id="ue")
    model = build_seeded(DocumentCNN(), (1, 28, 28), 10, Key(1))
    tensors = [p.detach().clone() for p in model.parameters()]

    def copy_and_crc() -> int:
        crc = 0
        for tensor in [t.clone() for t in tensors]:
            crc = zlib.crc32(tensor.numpy(), crc)
        return crc

    timed = [
        (seconds(copy_and_crc), seconds(lambda: model.send(ue)), seconds(copy_and_crc), seconds(model.get))
        for _ in range(REPEATS)
    ][5:]
    failed = []
    for name, at in (("send", 1), ("get", 3)):
        plain_ms, ours_ms = (1e3 * statistics.median(row[i] for row in timed) for i in (at - 1, at))
        ratio = statistics.median(row[at] / row[at - 1] for row in timed)
        print(f"{name:5} copy and CRC {plain_ms:6.2f} ms   ours {ours_ms:6.2f} ms   ratio {ratio:.2f}")
        failed += [f"{name} {ratio:.2f}"] if ratio > MOST else []
    if "--check" in sys.argv and failed:
        sys.exit(f"more than {MOST} times as long as a copy and a CRC: {', '.join(failed)}")


if __name__ == "__main__":
    main()
