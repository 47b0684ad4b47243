"""Frames between genuine PySyft 0.10 peers: the base station is a data scientist, each UE a data owner.

A pair of peers shares a drive in memory, so there is no login and no network. Each UE has a pair of its own: PySyft
pairs one scientist with one owner. A frame goes down through the owner's inbox and up through its outbox, as raw bytes
and, if asked for, in PySyft's signed and encrypted envelope. PySyft's file synchronisation (jobs,
events, checkpoints) is not used: it takes seconds for a model, and its checkpoints fail on binary files.

What travels is the frame as it is charged. The envelope's bytes and the host's time are counted beside it and touch
neither simulated time nor any result.

All that this package knows of PySyft's inside is in this module, and PySyft is imported when a carrier is opened.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, ClassVar
from uuid import UUID

from syft_fl.errors import FrameError, TransportError
from syft_fl.schema import schema
from syft_fl.transport.carrier import CARRIERS, Carrier

__all__ = ["SyftCarrier"]

_RELEASES = "PySyft >=0.10,<0.11"
_WAY_OUT = "pip install 'syft>=0.10,<0.11', or use carrier = 'local'"
_SCIENTIST = "bs@syft-fl.invalid"
_PROBE = bytes(range(256))


@CARRIERS
@schema
class SyftCarrier:
    """Genuine PySyft 0.10 peers hand the bytes over.

    Attributes:
        encrypted: seal each frame in PySyft's envelope, which the receiver verifies and opens.
    """

    kind: ClassVar[str] = "syft"

    encrypted: bool = False

    def open(self, hub: str) -> Carrier:
        """Peers around ``hub``, made when a UE is first spoken to.

        Raises:
            TransportError: PySyft is absent, of another release, or fails to carry a frame each way.
        """
        return _Peers(hub, self.encrypted)


class _Peers:
    """The base station's peers by UE, and what they have carried so far."""

    def __init__(self, hub: str, encrypted: bool) -> None:
        started = perf_counter()
        self._hub = hub
        self._encrypted = encrypted
        self._version = _known_version()
        self._pairs: dict[str, _Pair] = {}
        self._closed = False
        self._frames = self._frame_bytes = self._envelope_bytes = 0
        self._host_s = 0.0
        self._try_out()
        self._setup_s = perf_counter() - started

    def hand_over(self, frame: bytes, *, sender: str, receiver: str) -> bytes:
        """Take a frame from peer to peer.

        Raises:
            FrameError: the receiver did not accept the envelope.
            TransportError: the carrier is closed, or PySyft failed.
        """
        if self._closed:
            raise TransportError("the carrier is closed; open another one for more frames")
        ue = receiver if sender == self._hub else sender
        pair = self._pairs.get(ue) or self._join(ue)
        started = perf_counter()
        try:
            with _quiet():
                received, sealed = pair.down(frame) if ue == receiver else pair.up(frame)
        except FrameError:
            raise
        except Exception as error:
            del self._pairs[ue]  # whatever lies on its drive goes with it
            raise TransportError(
                f"PySyft {self._version} failed between {sender!r} and {receiver!r} ({_said(error)}); "
                "with carrier = 'local' the bytes stay in this process"
            ) from error
        self._frames += 1
        self._frame_bytes += len(frame)
        self._envelope_bytes += sealed - len(frame)
        self._host_s += perf_counter() - started
        return received

    def report(self) -> Mapping[str, Any]:
        """What was carried since the carrier was opened, and how long it took on this host.

        Returns:
            ``syft``: PySyft's version. ``frames`` and ``frame_bytes``: handed over, one per receiver.
            ``envelope_bytes``: what envelopes added to them. ``setup_s``: host seconds for the import, the self-test
            and pairing. ``host_s``: host seconds for the exchanges.
        """
        return {
            "syft": self._version,
            "encrypted": self._encrypted,
            "frames": self._frames,
            "frame_bytes": self._frame_bytes,
            "envelope_bytes": self._envelope_bytes,
            "setup_s": self._setup_s,
            "host_s": self._host_s,
        }

    def close(self) -> None:
        """Let go of the peers and their drives; :meth:`report` stays."""
        self._closed = True
        self._pairs.clear()

    def _join(self, ue: str) -> _Pair:
        started = perf_counter()
        with _quiet():
            pair = self._pairs[ue] = _Pair.made(len(self._pairs), encrypted=self._encrypted)
        self._setup_s += perf_counter() - started
        return pair

    def _try_out(self) -> None:
        """One exchange each way: every name and behaviour of PySyft that a run needs."""
        try:
            with _quiet():
                pair = _Pair.made(0, encrypted=self._encrypted)
                exchanges = [pair.down(_PROBE), pair.up(_PROBE)]
        except Exception as error:
            raise self._unfit(_said(error)) from error
        for received, sealed in exchanges:
            if received != _PROBE:
                raise self._unfit("other bytes came out than went in")
            if (sealed > len(_PROBE)) is not self._encrypted:
                raise self._unfit(f"{len(_PROBE)} bytes became {sealed} with encrypted = {self._encrypted}")

    def _unfit(self, why: str) -> TransportError:
        return TransportError(
            f"PySyft {self._version} does not carry frames as 0.10.0 does ({why}); {_WAY_OUT}"
        )


@dataclass(frozen=True)
class _End:
    """One of two peers: its name, its connection to the drive, and its keys."""

    email: str
    drive: Any
    keys: Any

    @classmethod
    def of(cls, manager: Any) -> _End:
        peers = manager.peer_manager
        # Pairing started a thread that nothing here needs.
        peers._executor.shutdown()
        return cls(manager.email, peers.connection_router.connections[0], peers.peer_store)

    def opened(self, envelope: bytes, sender: _End) -> bytes:
        try:
            frame: bytes = self.keys.decrypt_and_verify_if_needed(sender.email, envelope)
        except Exception as error:
            raise FrameError(
                f"{self.email} refused an envelope from {sender.email}: damaged on the way ({_said(error)})"
            ) from error
        return frame


@dataclass(frozen=True)
class _Pair:
    """A data scientist and a data owner on a drive of their own.

    File names are always the same. A drive keeps every file until its owner, who is its sender, deletes it.
    """

    scientist: _End
    owner: _End
    inbox_name: str
    outbox_name: str

    @classmethod
    def made(cls, number: int, *, encrypted: bool) -> _Pair:
        from syft.sync.events.file_change_event import FileChangeEventsMessageFileName
        from syft.sync.messages.proposed_filechange import MessageFileName
        from syft.sync.syftbox_manager import SyftboxManager

        # PySyft writes its version into both folders, and never looks at it again.
        with TemporaryDirectory(prefix="syft_fl-") as folder:
            scientist, owner = SyftboxManager.pair_with_mock_drive_service_connection(
                email1=f"ue{number:06}@syft-fl.invalid",
                email2=_SCIENTIST,
                base_path1=str(Path(folder) / "owner"),
                base_path2=str(Path(folder) / "scientist"),
                encryption=encrypted,
            )
        return cls(
            _End.of(scientist),
            _End.of(owner),
            MessageFileName(submitted_timestamp=0.0, uid="frame").as_string(),
            FileChangeEventsMessageFileName(id=UUID(int=0), timestamp=0.0).as_string(),
        )

    def down(self, frame: bytes) -> tuple[bytes, int]:
        """Through the owner's inbox: what it got, and the bytes that lay on the drive."""
        there, here = self.owner, self.scientist
        sealed = here.keys.encrypt_if_needed(there.email, frame)
        here.drive.watcher_send_raw_bytes_to_inbox(there.email, self.inbox_name, sealed)
        arrived, file = there.drive.owner_download_next_raw_proposed_message_from_inbox(here.email)
        here.drive.delete_file_by_id(file, raise_on_error=True)
        return there.opened(arrived, here), len(sealed)

    def up(self, frame: bytes) -> tuple[bytes, int]:
        """Through the owner's outbox: what the scientist got, and the bytes that lay on the drive."""
        there, here = self.scientist, self.owner
        sealed = here.keys.encrypt_if_needed(there.email, frame)
        here.drive.owner_write_raw_bytes_to_outbox(there.email, self.outbox_name, sealed)
        (found,) = there.drive.watcher_get_outbox_file_metadatas(here.email, None)
        (arrived,) = there.drive.watcher_download_raw_events_from_outbox(here.email, None)
        here.drive.delete_file_by_id(found["file_id"], raise_on_error=True)
        return there.opened(arrived, here), len(sealed)


def _known_version() -> str:
    try:
        found = version("syft")
    except PackageNotFoundError:
        raise TransportError(
            f"carrier = 'syft' needs {_RELEASES}, and none is installed; {_WAY_OUT}"
        ) from None
    if found.split(".")[:2] != ["0", "10"]:
        raise TransportError(f"carrier = 'syft' needs {_RELEASES}, but {found} is installed; {_WAY_OUT}")
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """PySyft reports each request on standard output, and uses what its own requirements call deprecated."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
