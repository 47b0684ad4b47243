"""Temporary."""

from syft_fl.keys import Key
from syft_fl.schema import schema


@schema
class Failures:
    """x"""

    compute: float = 0.0
    upload: float = 0.0

    def during_compute(self, key: Key) -> float | None:
        return None

    def during_upload(self, key: Key) -> bool:
        return False
