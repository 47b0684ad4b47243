"""A virtual worker: its objects, its local time, and the messages between it and the base station.

**What a worker holds** is what came over the air (:class:`~syft_fl.transport.Delivery` content, nothing else), what
it has of itself (``data=[...]``, ``register_obj``: a UE's own measurements), and what was computed from these there.
Each object has an id of ten digits, so that a request for it is charged the same bits however many objects there
were before.

**Time.** Nothing here reads the host's clock. The base station and every worker have a simulated time of their own:

* A worker's ``time_s`` moves on when something arrives there, when it computes, and when it is on the air itself.
* The base station's *gate* is the latest arrival of something it fetched. Single numbers (a loss, an
  accuracy) are telemetry and gate nothing: reading a loss does not make the base station wait for that
  worker before it sends to the next one. A message is offered at the later of the worker's time and the gate.
* The base station's clock (``hook.transport.clock``) is the latest arrival of anything, single numbers included.

So a script that goes round its workers batch by batch gets a latency in which they compute side by side;
:meth:`~syft_fl.workers.TorchHook.wait` makes the base station wait for all. In one direction the air is used in the
order of the program: a script that sends one worker all its batches before it turns to the next one has the next one's
batches wait, as its own program says. Send the data first, train by :meth:`VirtualWorker.run`, or let messages share
the air in a ``with hook.transport.parallel():``, to have it otherwise.

**Compute.** A backward pass costs what the hook's compute model says for the largest batch of *sent data* that the
worker's operations took, with gradients on, since the last one. A selection of sent data (a slice, a
copy, a permutation by index) is data again: only the batch that the model sees counts. Evaluation
without gradients is free; charge it by ``run(..., samples=n)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from syft_fl.errors import ObjectNotFoundError, WorkerError
from syft_fl.transport.message import Content, Message, MessageKind, ModelContent

if TYPE_CHECKING:
    from syft_fl.workers.pointer import PointerTensor
    from syft_fl.workers.station import Station
    from syft_fl.workers.store import Query

__all__ = ["LocalWorker", "ObjectHandle", "VirtualWorker"]


class LocalWorker:
    """The base station as PySyft names it: the worker ``"me"``, where plain tensors are.

    Its store stays empty: a plain tensor is the script's own.

    Attributes:
        id: its name in messages.
        gate_s: latest arrival of something it fetched, single numbers aside [s].
    """

    is_client_worker = True

    def __init__(self, station: Station) -> None:
        self.id = station.transport.hub
        self.gate_s = station.transport.clock.now_s
        self._transport = station.transport
        self._station = station

    @property
    def _objects(self) -> Mapping[int, PointerTensor]:
        return {}

    def objects_count(self) -> int:
        """How many objects are in its store: none."""
        return 0

    def clear_objects(self) -> LocalWorker:
        """Nothing to forget; returns itself, as a worker does."""
        return self

    def search(self, *query: Query) -> list[PointerTensor]:
        """What is in its store of some tags and ids: nothing. :meth:`request_search` asks a worker."""
        return []

    def request_search(self, query: Query, location: VirtualWorker | str) -> list[PointerTensor]:
        """Ask a worker what it holds: :meth:`VirtualWorker.search` by PySyft's other name."""
        return self._station.worker(location).search(query)

    @property
    def time_s(self) -> float:
        """Latest arrival of anything here [s]: the clock of the base station."""
        return self._transport.clock.now_s

    def hear(self, end_s: float, *, telemetry: bool) -> None:
        """Take note that something arrived at ``end_s``; telemetry moves the clock, not the gate.

        Raises:
            WorkerError: inside ``transport.parallel()``, where nothing has arrived yet.
        """
        if self._transport.block is not None:
            raise WorkerError(
                "the base station can't wait inside parallel(): no time is known before its end"
            )
        self._transport.clock.advance(end_s)
        if not telemetry:
            self.gate_s = max(self.gate_s, end_s)

    def __repr__(self) -> str:
        return f"<LocalWorker id:{self.id}>"


class VirtualWorker:
    """A UE: it holds tensors and models that were sent to it, and computes on them there.

    A second worker of one id is the first one (as in PySyft, where it shares everything with it).

    Args:
        hook: the station (a :class:`~syft_fl.workers.TorchHook`, say) that the worker belongs to.
        id: its name; ``tensor.send("ue1")`` finds it by that.
        data: tensors that it has of itself, without a message; ``search`` finds those that are tagged.
        is_client_worker, log_msgs, verbose, auto_add, message_pending_time: PySyft's. Nothing is printed, and the
            ledger has all messages anyway; the other ones must be what they are by default.

    Attributes:
        time_s: its local simulated time [s].

    Raises:
        WorkerError: the id is no text or the base station's own, or a setting is not possible here.
    """

    id: str
    hook: Station
    time_s: float
    pending_samples: int
    """Largest batch of sent data taken since the last backward pass."""

    is_client_worker = False

    def __new__(
        cls,
        hook: Station,
        id: str,
        data: Iterable[Tensor] | None = None,
        is_client_worker: bool = False,
        log_msgs: bool = False,
        verbose: bool = False,
        auto_add: bool = True,
        message_pending_time: float = 0,
    ) -> VirtualWorker:
        if not isinstance(id, str) or not id:
            raise WorkerError(f"worker id {id!r} must be text that is not empty, such as 'ue1'")
        if id == hook.local_worker.id:
            raise WorkerError(f"worker id {id!r} is the base station's own; choose another")
        if is_client_worker:
            raise WorkerError(
                f"is_client_worker = True for {id!r}: the one client is hook.local_worker; leave it out"
            )
        if not auto_add:
            raise WorkerError(
                f"auto_add = False for {id!r}: a hook knows all its workers by id; leave it out"
            )
        worker = hook.workers.get(id)
        if worker is None:
            worker = super().__new__(cls)
            worker.id, worker.hook, worker.time_s, worker.pending_samples = id, hook, 0.0, 0
            worker.objects = {}
            worker.message_pending_time = message_pending_time
            hook.workers[id] = worker
        for tensor in data or ():
            worker.register_obj(tensor)
        return worker

    @property
    def message_pending_time(self) -> float:
        """PySyft's pause before each message: none here, and it can't be set."""
        return 0.0

    @message_pending_time.setter
    def message_pending_time(self, value: float) -> None:
        if value:
            raise WorkerError(
                f"message_pending_time = {value!r} for {self.id!r}: nothing sleeps here, links have a latency in "
                "simulated time; give the hook a Transport whose Uplink and Downlink have link=Constant(latency_s=...)"
            )

    objects: dict[int, Tensor]
    """What it holds, by object id. None of these requires a gradient: autograd is on the pointers' side."""

    def __deepcopy__(self, memo: Any) -> VirtualWorker:
        # A place, not a value: what refers to it can be copied, and the copy refers to it too.
        return self

    def __repr__(self) -> str:
        return f"<VirtualWorker id:{self.id} #objects:{len(self.objects)}>"

    def hold(self, value: Tensor) -> ObjectHandle:
        """Keep a tensor that is already here; it goes when its handle dies."""
        handle = ObjectHandle(self, next(self.hook.ids))
        self.objects[handle.id] = value
        return handle

    def held(self, object_id: int) -> Tensor:
        """The tensor of an id.

        Raises:
            ObjectNotFoundError: get() or move() took it away, or clear_objects() removed it.
        """
        try:
            return self.objects[object_id]
        except KeyError:
            raise ObjectNotFoundError(
                f"object {object_id} is not at {self.id!r} (any more): get() and move() remove what they take; "
                "use pointer.copy().get() to keep it there, or send it again (worker._objects shows what is there)"
            ) from None

    def clear_objects(self) -> VirtualWorker:
        """Forget everything that is held here; pointers to it are dead. Returns the worker, as in PySyft."""
        self.objects.clear()
        return self

    def rm_obj(self, object_id: int) -> None:
        """Forget one object, where there is one; pointers to it are dead."""
        self.objects.pop(object_id, None)

    def objects_count(self) -> int:
        """How many objects are held here."""
        return len(self.objects)

    @property
    def _objects(self) -> Mapping[int, PointerTensor]:
        """All objects by id, each as a pointer that leaves it here: what is where costs nothing, values do."""
        from syft_fl.workers.store import Objects  # it knows pointers, and these know workers

        return Objects(self)

    def get_obj(self, object_id: int) -> PointerTensor:
        """A pointer to the object of an id; it leaves the object here when it dies.

        Raises:
            ObjectNotFoundError: there is none of that id.
        """
        from syft_fl.workers.store import pointer_to

        return pointer_to(self, object_id)

    def register_obj(self, tensor: Tensor, obj_id: int | None = None) -> PointerTensor:
        """Let the worker hold a tensor that it has of itself: its own data, which never were on the air.

        It stays until ``get``, ``move``, ``rm_obj`` or ``clear_objects`` takes it away.

        Args:
            tensor: copied; its tags and description stay with it.
            obj_id: its id here; None for one that is given.

        Raises:
            WorkerError: a pointer, or an id that is not free.
        """
        from syft_fl.workers.store import register

        return register(self, tensor, obj_id)

    def search(self, *query: Query) -> list[PointerTensor]:
        """Ask what is held here of some tags and ids: a request, and an answer with ids, shapes and labels.

        Args:
            query: tags and ids, each an argument or all in a list; all must fit an object. Without any, everything
                that is tagged.

        Returns:
            Pointers that leave their objects here when they die.

        Raises:
            WorkerError: a message was lost.
        """
        from syft_fl.workers.store import search_at

        return search_at(self, query)

    def compute(self, samples: float, *, factor: float = 1.0) -> None:
        """Let the time pass that the hook's compute model asks for so many samples, times a factor."""
        self.time_s += factor * self.hook.compute.seconds(samples)

    def run(self, fn: Callable[..., Any], *handles: Any, samples: float = 0) -> Any:
        """Run plain torch here, at full speed.

        Args:
            fn: called with the plain tensor behind each pointer, and with each sent module as a
                real module of plain tensors. What it changes in them stays here. It should keep to its arguments:
                what it writes elsewhere has left the worker uncharged.
            handles: pointers and sent modules of this worker; anything but a tensor or module is handed on.
            samples: how many samples the compute model is asked for.

        Returns:
            What ``fn`` returned, with a pointer in place of every tensor and number (tuples, lists and
            dictionaries are searched).

        Raises:
            TensorsNotCollocatedException: a tensor or module that is not here.
            WorkerError: ``fn`` returned something that can't stay at a worker.
        """
        from syft_fl.workers.remote import run_at  # it knows pointers, and these know workers

        return run_at(self, fn, handles, samples=samples)

    def download(
        self, kind: MessageKind, stream: str, content: Content, *, after_s: float = 0.0, about: str = ""
    ) -> Content:
        """Send something here; the worker goes on when it has arrived.

        Args:
            after_s: not before this time [s], for what the base station relays.
            about: the object's name for the ledger; empty: the stream.

        Returns:
            What arrived: decoded from the bytes on the air.

        Raises:
            WorkerError: it was lost.
        """
        base = self.hook.local_worker
        message = Message(kind, base.id, self.id, stream, content, about=about)
        block = self.hook.transport.block
        if block is not None:
            return block.carry(message, self, floor_s=base.gate_s, after_s=after_s)[0]
        offered_s = max(self.time_s, base.gate_s, after_s)
        arrived, self.time_s = self._carry(message, offered_s)
        return arrived

    def upload(
        self,
        kind: MessageKind,
        stream: str,
        content: Content,
        *,
        about: str = "",
        amended: Callable[[Content], None] | None = None,
    ) -> tuple[Content, float]:
        """Send something from here to the base station.

        Args:
            about: the object's name for the ledger; empty: the stream.
            amended: called at the end of a ``parallel()`` block with what came, where that is a part of what is
                returned here; None: then it is lost.

        Returns:
            What arrived, and when [s].

        Raises:
            WorkerError: it was lost.
        """
        base = self.hook.local_worker
        message = Message(kind, self.id, base.id, stream, content, about=about)
        telemetry = _numbers(content) == 1
        block = self.hook.transport.block
        if block is not None:
            return block.carry(
                message,
                self,
                ended=lambda end_s: base.hear(end_s, telemetry=telemetry),
                amended=amended,
            )
        arrived, self.time_s = self._carry(message, self.time_s)
        base.hear(self.time_s, telemetry=telemetry)
        return arrived, self.time_s

    def fetch(
        self,
        request: int | str,
        kind: MessageKind,
        stream: str,
        content: Content,
        *,
        amended: Callable[[Content], None] | None = None,
    ) -> tuple[Content, float]:
        """Have something sent to the base station: a small request down, the object up.

        Args:
            request: what is asked for, an object id or the name of a model.
            amended: as in :meth:`upload`.

        Returns:
            What arrived, and when [s].

        Raises:
            WorkerError: the request or the answer was lost; the worker still has the object.
        """
        base = self.hook.local_worker
        about = str(request)
        asked = Message("control", base.id, self.id, "request", {"request": request}, about=about)
        block = self.hook.transport.block
        if block is not None:
            block.carry(asked, self, floor_s=base.gate_s, waits=False)
        else:
            _, request_s = self._carry(asked, base.gate_s)
            self.time_s = max(self.time_s, request_s)
        return self.upload(kind, stream, content, about=about, amended=amended)

    def _carry(self, message: Message, now_s: float) -> tuple[Content, float]:
        delivery = self.hook.transport.carry(message, now_s=now_s)
        if delivery.lost or delivery.content is None:
            # Its airtime has passed for the worker all the same.
            self.time_s = max(self.time_s, delivery.end_s)
            raise WorkerError(
                f"{message.kind} message from {message.sender!r} to {message.receiver!r} was lost at "
                f"{delivery.end_s:.6g} s; nothing has changed at either end: send it again"
            )
        return delivery.content, delivery.end_s


class ObjectHandle:
    """Where one object is. It dies with its pointer, and the object with it.

    The finaliser is here and not on the pointer: ``torch.utils.swap_tensors`` refuses tensors with weak references.

    Attributes:
        worker, id: the place and the name of the object there.
        garbage_collect_data: the object dies with this; where it is False it stays until it is taken away.
        is_data: it came as a ``data`` message, or is a selection of what did.
    """

    __slots__ = ("garbage_collect_data", "id", "is_data", "worker")

    def __init__(self, worker: VirtualWorker, id: int) -> None:
        self.worker = worker
        self.id = id
        self.is_data = False
        self.garbage_collect_data = True

    def __del__(self) -> None:
        if self.garbage_collect_data:
            self.worker.objects.pop(self.id, None)


def _numbers(content: Content) -> int:
    """How many numbers a message is about; 1 for what is small by its nature."""
    if isinstance(content, ModelContent):
        return content.layout.length + sum(b.numel() for b in content.state.buffers.values())
    return sum(t.numel() for t in content) if isinstance(content, tuple) else 1
