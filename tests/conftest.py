"""What holds for every test."""

import gc
import os

from hypothesis import settings

# Tests run side by side: a second thread in each process would only wait for those of the others. The tests of what
# several threads compute ask for them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test is timed, for machines are busy; and the same examples every time, so that a red run can be seen again.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")


def pytest_collection_finish() -> None:
    """Thousands of tests and the libraries stay to the end: no garbage collection looks through them again."""
    gc.collect()
    gc.freeze()
