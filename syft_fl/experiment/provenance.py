"""What a result does not depend on, or should not: the machine and the versions that made it."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from typing import Any

__all__ = ["environment"]


def environment() -> dict[str, Any]:
    """Python, machine and versions of libraries, as plain data."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "versions": {name: version(name) for name in ("syft_fl", "torch", "numpy", "scikit-learn")},
    }
