"""The Ray cluster that this program works with, and which of its machines comes next; the extra ``ray``."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import Any

from syft_fl.errors import ConfigError

__all__ = ["Machines", "connected"]


def connected(address: str | None, *, asked: str, setting: str, instead: str) -> Any:
    """The module ``ray``, connected to a cluster.

    Args:
        address: of the cluster, as ``ray.init`` takes it; of no account where this program is connected already.
        asked: what the user asked for.
        setting: what the user calls the address.
        instead: what works without Ray.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError:
        raise ConfigError(
            f"{asked} needs Ray; install it with pip install 'syft_fl[ray]', or use {instead}"
        ) from None
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False)
        except Exception as error:
            raise ConfigError(
                f"{setting} = {address!r} is no Ray cluster that answers ({error}); "
                "start one with ray start --head, or leave it out for one on this machine"
            ) from error
    return ray


class Machines:
    """Spreads actors over a cluster's machines by their cores.

    Ray's own ``SPREAD`` knows nothing of actors that take no core while they run: it may leave a machine idle, and put
    all on another.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._actors: Counter[str] = Counter()
        self._lock = Lock()

    def take(self, *, instead_of: str | None = None) -> str:
        """The machine with the most cores for each actor that it would have, as its id.

        Args:
            instead_of: the machine of an actor that is lost, which may be lost, too, though nobody knows it yet: this
                one goes to another, where there is one.
        """
        with self._lock:
            if instead_of is not None:
                self._actors[instead_of] -= 1
            alive: dict[str, float] = {
                node["NodeID"]: float(node["Resources"].get("CPU", 0.0))
                for node in self._ray.nodes()
                if node["Alive"]
            }
            others = {node: cores for node, cores in alive.items() if node != instead_of and cores > 0.0}
            choice = others or alive or dict.fromkeys([instead_of or ""], 1.0)
            chosen = max(choice, key=lambda node: choice[node] / (self._actors[node] + 1))
            self._actors[chosen] += 1
            return chosen
