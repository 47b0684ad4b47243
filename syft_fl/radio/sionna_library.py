"""Sionna, imported when a link needs it, and left as it was found.

Sionna keeps its random generators in a global ``config``, and seeds torch's global generator when it is imported. Here
it draws from a :class:`~syft_fl.keys.Key`, and all of these are afterwards where they were. It draws with one thread,
so that results don't depend on the number of cores.

Source: Hoydis et al., *Sionna: An Open-Source Library for Next-Generation Physical Layer Research*, 2022.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from syft_fl.errors import ConfigError
from syft_fl.keys import Key

__all__ = ["DEVICE", "drawing", "import_sionna"]

DEVICE = "cpu"
"""Where Sionna computes; a GPU would draw other numbers."""


def import_sionna() -> None:
    """Import the parts of Sionna that a link uses; torch's generators stay where they are.

    Raises:
        ConfigError: Sionna is not installed, or is no version that has these parts.
    """
    import torch

    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices):
        try:
            import sionna.phy.channel.tr38901
            import sionna.sys  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                f"kind = 'sionna' must have Sionna 2.2 or newer ({error}); "
                "pip install 'syft_fl[radio]', or use kind = 'wireless', whose path models are the same"
            ) from None


@contextmanager
def drawing(key: Key) -> Iterator[None]:
    """Let Sionna draw from the start of a key's stream, whatever it has drawn before or is to draw after."""
    import torch
    from sionna.phy import config

    generator, threads = config.torch_rng(DEVICE), torch.get_num_threads()
    state = generator.get_state()
    generator.manual_seed(key.integer(63))
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        generator.set_state(state)
        torch.set_num_threads(threads)
