"""The document that the project starts from: its script runs with its import line, data root and device changed.

``SYFT_FL_DOCUMENT`` names the document and ``SYFT_FL_DATA`` the folder above ``MNIST``. Without the document this is
skipped; with it, it runs, and whatever is missing then is a failure.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT, DATA = os.environ.get("SYFT_FL_DOCUMENT"), os.environ.get("SYFT_FL_DATA")

# Of 301 and 10000, so that it takes seconds.
BATCHES = 41
TEST_SAMPLES = 656

BEFORE = f"""
from syft_fl.data.published import torchvision_datasets

datasets = torchvision_datasets()

class Capped(datasets.MNIST):
    def __init__(self, *args, train, **kwargs):
        super().__init__(*args, train=train, **kwargs)
        if not train:
            self.data, self.targets = self.data[:{TEST_SAMPLES}], self.targets[:{TEST_SAMPLES}]

    # torchvision looks for its files by the name of the class.
    raw_folder = property(lambda self: __import__("os").path.join(self.root, "MNIST", "raw"))

datasets.MNIST = Capped
torch = __import__("torch")
torch.manual_seed(0)
torch.set_num_threads(1)
"""

AFTER = """
import json
ledger = hook.transport.ledger
print("FACTS", json.dumps({
    "latency_s": hook.transport.clock.now_s,
    "air_s": sum(e.airtime_s for e in ledger.entries),
    "kinds": sorted({(e.direction, e.kind) for e in ledger.entries}),
    "held": [len(w.name.objects) for w in worker_list],
    "user5_s": user5.name.time_s,
}))
"""


def script() -> str:
    """The document's script with the lines changed that may be."""
    assert DOCUMENT is not None
    assert DATA, "SYFT_FL_DATA must name the folder above MNIST"
    blocks = re.findall(r"```python\n(.*?)```", Path(DOCUMENT).read_text(encoding="utf-8"), flags=re.DOTALL)
    (found,) = (block for block in blocks if "class Worker" in block)
    for pattern, replacement, count in (
        ("import syft as sy", "import syft_fl as sy", 1),
        ("'/minist_data'", repr(DATA), 2),
        ("download=True", "download=False", 1),
        ("'use_cuda': True", "'use_cuda': False", 1),
        ("batch_idx > 300", f"batch_idx >= {BATCHES}", 1),
    ):
        assert found.count(pattern) == count, pattern
        found = found.replace(pattern, replacement)
    return found


@pytest.mark.skipif(not DOCUMENT, reason="SYFT_FL_DOCUMENT is not set")
def test_the_documents_script_trains_side_by_side_in_simulated_time(tmp_path: Path) -> None:
    path = tmp_path / "document.py"
    path.write_text(BEFORE + script() + AFTER, encoding="utf-8")
    environment = os.environ | {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, encoding="utf-8", env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.split("FACTS", 1)[1])

    for user in ("user1", "user2", "user3", "user4"):
        losses = [float(v) for v in re.findall(rf"{user} Loss:([\d.]+)", done.stdout)]
        assert len(losses) == 2
        assert losses[1] < 0.9 * losses[0]

    def accuracy(title: str) -> int:
        return int(
            re.findall(rf"{title}: Average loss: [\d.]+, Accuracy: (\d+)/{TEST_SAMPLES}", done.stdout)[-1]
        )

    assert accuracy("model5 Test set") < 0.3 * TEST_SAMPLES
    assert accuracy(r"\nTest set") > 0.5 * TEST_SAMPLES

    assert facts["kinds"] == [
        ["downlink", "control"],
        ["downlink", "data"],
        ["downlink", "model"],
        ["uplink", "model"],
        ["uplink", "value"],
    ]
    # Four models of eight tensors are at their workers again.
    assert facts["held"] == [8, 8, 8, 8]
    # Compute at 1 ms per sample; four UEs after one another would take four times that.
    one_ue_s = BATCHES * 16 * 1e-3
    assert facts["latency_s"] - facts["air_s"] < 1.5 * one_ue_s
    assert facts["latency_s"] > one_ue_s
