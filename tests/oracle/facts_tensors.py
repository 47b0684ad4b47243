"""Facts about hooks, workers, tensors and pointers to them."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy
import torch
from torch.nn import functional as F

from oracle.world import World, fact

X = [1.0, 2.0, 3.0, 4.0]


def sent(world: World, values: Any = X, **options: Any) -> tuple[Any, Any]:
    """A pointer, and the fresh worker ``alice`` that it points to."""
    alice = world.worker("alice")
    return torch.tensor(values).send(alice, **options), alice


def behind(pointer: Any) -> Any:
    """The pointer of what ``send`` returned: 0.2.5 wraps it."""
    child = getattr(pointer, "child", pointer)
    return child if "Pointer" in type(child).__name__ else pointer


def leaf(world: World, values: Any = X) -> tuple[Any, Any]:
    """A pointer that asks for gradients."""
    alice = world.worker("alice")
    return torch.tensor(values, requires_grad=True).send(alice), alice


# hook


@fact("hook", "the local worker is called me")
def _(w: World) -> Any:
    return [w.hook.local_worker.id, w.sy.local_worker.id]


@fact("hook", "the hook's local worker is the package's")
def _(w: World) -> Any:
    return w.sy.local_worker is w.hook.local_worker


@fact("hook", "the local worker's store stays empty")
def _(w: World) -> Any:
    kept = [torch.tensor(X), sent(w)[0]]
    return [len(w.hook.local_worker._objects), len(kept)]


@fact("hook", "a second hook shares the first one's local worker")
def _(w: World) -> Any:
    first = w.hook
    w.hook = type(first)(torch)  # names of workers may be looked up in the last one made
    return w.hook.local_worker is first.local_worker


@fact("hook", "torch's own functions are rewritten")
def _(w: World) -> Any:
    return [type(f).__name__ == "function" for f in (torch.add, torch.Tensor.add, torch.Tensor.sum)]


# worker


@fact("worker", "string ids resolve")
def _(w: World) -> Any:
    alice = w.worker("alice")
    return torch.tensor(X).send(alice.id).location is alice


@fact("worker", "an unknown string id is refused")
def _(w: World) -> Any:
    return w.raised(lambda: torch.tensor(X).send("nobody"))


@fact("worker", "the same id again shares the objects")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    again = w.sy.VirtualWorker(hook=w.hook, id=alice.id)
    return [list(again._objects) == list(alice._objects), pointer.id_at_location in again._objects]


@fact("worker", "the same id again is the same object")
def _(w: World) -> Any:
    alice = w.worker("alice")
    return w.sy.VirtualWorker(hook=w.hook, id=alice.id) is alice


@fact("worker", "a new one holds so many objects")
def _(w: World) -> Any:
    return len(w.worker("alice")._objects)


@fact("worker", "_objects maps ids to what is held")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    return alice._objects[pointer.id_at_location].tolist()


@fact("worker", "get_obj finds an object by id")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    return alice.get_obj(pointer.id_at_location).tolist()


@fact("worker", "get_obj and _objects hand out the worker's own tensor")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    at = pointer.id_at_location
    return [getattr(found, "location", None) is None for found in (alice.get_obj(at), alice._objects[at])]


@fact("worker", "get_obj of an unknown id")
def _(w: World) -> Any:
    return w.raised(lambda: w.worker("alice").get_obj(77))


@fact("worker", "register_obj puts an object under an id")
def _(w: World) -> Any:
    alice = w.worker("alice")
    alice.register_obj(torch.tensor(X), 77)
    return alice.get_obj(77).tolist()


@fact("worker", "clear_objects empties it and returns it")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    returned = alice.clear_objects()
    return [returned is alice, len(alice._objects), w.raised(pointer.get)]


@fact("worker", "get_worker finds a worker by id")
def _(w: World) -> Any:
    alice = w.worker("alice")
    return w.hook.local_worker.get_worker(alice.id) is alice


@fact("worker", "one with data of its own, found by tag")
def _(w: World) -> Any:
    name = w.worker("alice").id + "-with-data"
    x = torch.tensor(X).tag("#own")
    alice = w.sy.VirtualWorker(hook=w.hook, id=name, data=[x])
    return [w.tensors(alice), len(alice.search("#own"))]


@fact("worker", "a number for an id")
def _(w: World) -> Any:
    return w.raised(lambda: w.sy.VirtualWorker(hook=w.hook, id=4242))


@fact("worker", "message_pending_time, a pause before each message")
def _(w: World) -> Any:
    name = w.worker("alice").id + "-far"
    return w.raised(lambda: w.sy.VirtualWorker(hook=w.hook, id=name, message_pending_time=0.001))


@fact("worker", "objects_count")
def _(w: World) -> Any:
    _, alice = pair = sent(w)
    count = alice.objects_count
    return [count() if callable(count) else count, len(pair)]


@fact("worker", "repr names the id")
def _(w: World) -> Any:
    alice = w.worker("alice")
    return repr(alice).startswith(f"<VirtualWorker id:{alice.id} #objects:")


# tensor.send(w)


@fact("tensor.send(w)", "returns a new object")
def _(w: World) -> Any:
    x = torch.tensor(X)
    return x.send(w.worker("alice")) is x


@fact("tensor.send(w)", "leaves the original unchanged")
def _(w: World) -> Any:
    x = torch.tensor(X)
    pointer = x.send(w.worker("alice"))
    pointer.add_(1.0)
    return [x.tolist(), pointer.get().tolist()]


@fact("tensor.send(w)", "the worker has storage of its own")
def _(w: World) -> Any:
    x = torch.tensor(X)
    pointer = x.send(w.worker("alice"))
    x.add_(1.0)
    return pointer.get().tolist()


@fact("tensor.send(w)", "a pointer is a torch.Tensor")
def _(w: World) -> Any:
    return isinstance(sent(w)[0], torch.Tensor)


@fact("tensor.send(w)", "a pointer's type is torch.Tensor itself")
def _(w: World) -> Any:
    return type(sent(w)[0]) is torch.Tensor


@fact("tensor.send(w)", "a pointer is a wrapper with a PointerTensor for a child")
def _(w: World) -> Any:
    pointer = sent(w)[0]
    return [pointer.is_wrapper, type(pointer.child).__name__]


@fact("tensor.send(w)", "the worker's copy keeps the original's id")
def _(w: World) -> Any:
    x = torch.tensor(X)
    return x.send(w.worker("alice")).id_at_location == getattr(x, "id", None)


@fact("tensor.send(w)", "the pointer has an id of its own")
def _(w: World) -> Any:
    pointer = sent(w)[0]
    return pointer.id != pointer.id_at_location


@fact("tensor.send(w)", "one more object is at the worker")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    return [w.tensors(alice), w.called(pointer.location)]


@fact("tensor.send(w)", "sending one tensor twice makes two objects")
def _(w: World) -> Any:
    alice, x = w.worker("alice"), torch.tensor(X)
    pointers = [x.send(alice), x.send(alice)]
    return [len({p.id_at_location for p in pointers}), w.tensors(alice)]


@fact("tensor.send(w)", "after sending twice the second get")
def _(w: World) -> Any:
    alice, x = w.worker("alice"), torch.tensor(X)
    first, second = x.send(alice), x.send(alice)
    first.get()
    return w.raised(second.get)


@fact("tensor.send(w)", "a leaf stays a leaf that asks for gradients")
def _(w: World) -> Any:
    pointer = leaf(w)[0]
    return [pointer.requires_grad, pointer.is_leaf]


@fact("tensor.send(w)", "dtype and values survive the way out and back")
def _(w: World) -> Any:
    alice = w.worker("alice")
    kept = []
    for values in ([1, -2], [True, False], [1.5, -2.5]):
        x = torch.tensor(values)
        back = x.send(alice).get()
        kept.append([str(back.dtype), back.tolist()])
    return kept


@fact("tensor.send(w)", "an empty and a zero-dimensional tensor")
def _(w: World) -> Any:
    alice = w.worker("alice")
    return [torch.tensor([]).send(alice).get().tolist(), torch.tensor(2.5).send(alice).get().tolist()]


@fact("tensor.send(w)", "a view sends only what it shows")
def _(w: World) -> Any:
    x = torch.arange(12.0).view(3, 4)
    return x[1:, ::2].t().send(w.worker("alice")).get().tolist()


@fact("tensor.send(w)", "send(None)")
def _(w: World) -> Any:
    return w.raised(lambda: torch.tensor(X).send(None))


@fact("tensor.send(w)", "a pointer to a pointer")
def _(w: World) -> Any:
    pointer, _ = sent(w)
    return w.raised(lambda: pointer.send(w.worker("bob")))


# pointer


@fact("pointer", "location, owner")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    return [pointer.location is alice, pointer.owner is w.hook.local_worker]


@fact("pointer", "id_at_location is a key at the worker")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    return [isinstance(pointer.id_at_location, int), pointer.id_at_location in alice._objects]


@fact("pointer", "repr")
def _(w: World) -> Any:
    return w.masked(sent(w)[0])


@fact("pointer", "str is repr")
def _(w: World) -> Any:
    pointer = sent(w)[0]
    return str(pointer) == repr(pointer)


@fact("pointer", "repr names location and id")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    return f" -> {alice.id}:{pointer.id_at_location}]" in repr(pointer)


@fact("pointer", "repr of data and grad")
def _(w: World) -> Any:
    pointer, _ = leaf(w)
    pointer.sum().backward()
    return [w.masked(pointer.data), w.masked(pointer.grad)]


@fact("pointer", "shape, dim, len and numel are known here")
def _(w: World) -> Any:
    pointer = sent(w, [X, X])[0]
    return [list(pointer.shape), pointer.dim(), len(pointer)]


@fact("pointer", "garbage_collect_data and point_to_attr")
def _(w: World) -> Any:
    child = behind(sent(w)[0])
    return [child.garbage_collect_data, child.point_to_attr]


@fact("pointer", "float(p.sum()) gives the number")
def _(w: World) -> Any:
    return float(sent(w)[0].sum())


@fact("pointer", "item()")
def _(w: World) -> Any:
    pointer = sent(w)[0].sum()
    return [w.raised(pointer.item)]


@fact("pointer", "tolist()")
def _(w: World) -> Any:
    return sent(w)[0].tolist()


@fact("pointer", "numpy()")
def _(w: World) -> Any:
    return sent(w)[0].numpy().tolist()


@fact("pointer", "bool of a comparison")
def _(w: World) -> Any:
    return [bool(sent(w, [2.0])[0] > 1.0), bool(sent(w, [0.0])[0] > 1.0)]


@fact("pointer", "torch.equal")
def _(w: World) -> Any:
    x, alice = sent(w)
    return bool(torch.equal(x, torch.tensor(X).send(alice)))


@fact("pointer", "pickling one")
def _(w: World) -> Any:
    return w.raised(lambda: pickle.dumps(sent(w)[0]))


@fact("pointer", "torch.save of one")
def _(w: World) -> Any:
    return w.raised(lambda: torch.save(sent(w)[0], io.BytesIO()))


@fact("pointer", "its memory and numpy's view of it")
def _(w: World) -> Any:
    pointer = sent(w)[0]
    return [w.raised(pointer.data_ptr), w.raised(lambda: numpy.asarray(pointer))]


@fact("pointer", "as an index of a list")
def _(w: World) -> Any:
    pointer = sent(w, 1)[0]
    return [10, 20, 30][pointer]


@fact("pointer", "a deep copy of one")
def _(w: World) -> Any:
    return w.raised(lambda: copy.deepcopy(sent(w)[0]))


@fact("pointer", "location of a plain tensor")
def _(w: World) -> Any:
    return getattr(torch.tensor(X), "location", None)


# get()


@fact("get()", "returns the values, a plain tensor")
def _(w: World) -> Any:
    back = sent(w)[0].get()
    return [back.tolist(), type(back) is torch.Tensor, hasattr(back, "child")]


@fact("get()", "removes them at the worker")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    before = w.tensors(alice)
    pointer.get()
    return [before, w.tensors(alice)]


@fact("get()", "a second get")
def _(w: World) -> Any:
    pointer, _ = sent(w)
    pointer.get()
    return w.raised(pointer.get)


@fact("get()", "an alias of the pointer is broken after it")
def _(w: World) -> Any:
    pointer, _ = sent(w)
    alias = pointer
    pointer.get()
    return w.raised(lambda: alias + 1)


@fact("get()", "even repr of the pointer fails after it")
def _(w: World) -> Any:
    pointer, _ = sent(w)
    pointer.get()
    return w.raised(lambda: repr(pointer))


@fact("get()", "copy().get() keeps the original")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    return [pointer.copy().get().tolist(), w.tensors(alice), pointer.get().tolist()]


@fact("get()", "clone().get() keeps the original")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    return [pointer.clone().get().tolist(), w.tensors(alice), pointer.get().tolist()]


@fact("get()", "a clone is the same object at the worker")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    other = pointer.clone()
    return [other.id_at_location == pointer.id_at_location, w.tensors(alice)]


@fact("get()", "a copy is independent")
def _(w: World) -> Any:
    pointer, _ = sent(w)
    other = pointer.copy()
    other.add_(1.0)
    return [pointer.get().tolist(), other.get().tolist()]


@fact("get()", "of a result")
def _(w: World) -> Any:
    pointer, _ = sent(w)
    return (pointer * 2 + pointer).get().tolist()


@fact("get()", "a leaf comes back as a leaf that asks for gradients")
def _(w: World) -> Any:
    back = leaf(w)[0].get()
    return [back.requires_grad, back.is_leaf]


@fact("get()", "a leaf comes back with its gradient")
def _(w: World) -> Any:
    pointer, _ = leaf(w)
    (pointer * pointer).sum().backward()
    back = pointer.get()
    return None if back.grad is None else back.grad.tolist()


@fact("get()", "of a gradient")
def _(w: World) -> Any:
    pointer, _ = leaf(w)
    (pointer * pointer).sum().backward()
    return pointer.grad.get().tolist()


@fact("get()", "copy().get() of a gradient keeps it")
def _(w: World) -> Any:
    pointer, _ = leaf(w)
    (pointer * pointer).sum().backward()
    return [pointer.grad.copy().get().tolist() for _ in range(2)]


@fact("get()", "clone().get() of a gradient")
def _(w: World) -> Any:
    pointer, _ = leaf(w)
    (pointer * pointer).sum().backward()
    return pointer.grad.clone().get().tolist()


@fact("get()", "of a plain tensor")
def _(w: World) -> Any:
    return w.raised(lambda: torch.tensor(X).get())


# GC


@fact("GC", "dropping the last pointer deletes the object")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    before = w.tensors(alice)
    del pointer
    return [before, w.tensors(alice)]


@fact("GC", "an alias keeps the object")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    alias = pointer
    del pointer
    return [w.tensors(alice), alias.get().tolist()]


@fact("GC", "results that nobody keeps are deleted")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    for _ in range(3):
        pointer = pointer + 1
    return [w.tensors(alice), pointer.get().tolist()]


@fact("GC", "garbage_collect_data=False keeps the object")
def _(w: World) -> Any:
    pointer, alice = sent(w, garbage_collect_data=False)
    at = pointer.id_at_location
    told = behind(pointer).garbage_collect_data
    del pointer
    return [told, w.tensors(alice), alice.get_obj(at).tolist()]


@fact("GC", "an operation's result is collected beside a kept operand")
def _(w: World) -> Any:
    pointer, alice = sent(w, garbage_collect_data=False)
    result = pointer + 1
    both = w.tensors(alice)
    del result, pointer
    return [both, w.tensors(alice)]


@fact("GC", "clear_objects and then a dropped pointer")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    alice.clear_objects()
    del pointer
    return w.tensors(alice)


@fact("GC", "get removes a kept object all the same")
def _(w: World) -> Any:
    pointer, alice = sent(w, garbage_collect_data=False)
    return [pointer.get().tolist(), w.tensors(alice)]


# move(w)


@fact("move(w)", "returns a pointer to the other worker")
def _(w: World) -> Any:
    pointer, _ = sent(w)
    bob = w.worker("bob")
    moved = pointer.move(bob)
    return [moved.location is bob, moved.get().tolist()]


@fact("move(w)", "is in place")
def _(w: World) -> Any:
    pointer, _ = sent(w)
    bob = w.worker("bob")
    moved = pointer.move(bob)
    return [moved is pointer, pointer.location is bob]


@fact("move(w)", "objects at the first and the second worker")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    bob = w.worker("bob")
    moved = pointer.move(bob)
    return [w.tensors(alice), w.tensors(bob), w.called(moved.location)]


@fact("move(w)", "get after it empties both")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    bob = w.worker("bob")
    values = pointer.move(bob).get().tolist()
    del pointer
    return [values, w.tensors(alice), w.tensors(bob)]


@fact("move(w)", "operations run at the new place")
def _(w: World) -> Any:
    pointer, _ = sent(w)
    bob = w.worker("bob")
    moved = pointer.move(bob)
    return (moved + torch.tensor(X).send(bob)).get().tolist()


@fact("move(w)", "to the local worker is get")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    back = pointer.move(w.hook.local_worker)
    return [back.tolist(), w.tensors(alice)]


@fact("move(w)", "to where it is")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    return [pointer.move(alice).get().tolist(), w.tensors(alice)]


@fact("move(w)", "by a string id")
def _(w: World) -> Any:
    pointer, _ = sent(w)
    bob = w.worker("bob")
    return pointer.move(bob.id).location is bob


# mixed locations


@fact("mixed locations", "two workers")
def _(w: World) -> Any:
    x, y = sent(w)[0], torch.tensor(X).send(w.worker("bob"))
    return [w.raised(lambda: x + y), w.raised(lambda: torch.matmul(x, y)), w.raised(lambda: x.add_(y))]


@fact("mixed locations", "a pointer and a plain tensor")
def _(w: World) -> Any:
    x, y = sent(w)[0], torch.tensor(X)
    return [w.raised(lambda: x + y), w.raised(lambda: torch.matmul(x, y)), w.raised(lambda: x.add_(y))]


@fact("mixed locations", "a plain tensor and a pointer")
def _(w: World) -> Any:
    x, y = torch.tensor(X), sent(w)[0]
    return [w.raised(lambda: x + y), w.raised(lambda: torch.matmul(x, y)), w.raised(lambda: x.add_(y))]


@fact("mixed locations", "torch.cat of two workers'")
def _(w: World) -> Any:
    x, y = sent(w)[0], torch.tensor(X).send(w.worker("bob"))
    return w.raised(lambda: torch.cat([x, y]))


@fact("mixed locations", "the operands are whole after it")
def _(w: World) -> Any:
    x, y = sent(w)[0], torch.tensor(X).send(w.worker("bob"))
    w.raised(lambda: x + y)
    return [x.get().tolist(), y.get().tolist()]


@fact("mixed locations", "a loss of pointers at two workers")
def _(w: World) -> Any:
    x, y = leaf(w)[0], torch.tensor(X).send(w.worker("bob"))
    return w.raised(lambda: F.mse_loss(x, y))


@fact("mixed locations", "plain numbers join")
def _(w: World) -> Any:
    x = sent(w)[0]
    return [(x + 1).get().tolist(), (2 * x).get().tolist(), (1 - x / 2).get().tolist()]


@fact("mixed locations", "a plain tensor without dimensions")
def _(w: World) -> Any:
    x = sent(w)[0]
    return w.raised(lambda: x * torch.tensor(2.0))


# missing object


@fact("missing object", "get of one that clear_objects removed")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    alice.clear_objects()
    return w.raised(pointer.get)


@fact("missing object", "an operation on one")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    alice.clear_objects()
    return w.raised(lambda: pointer + pointer)


@fact("missing object", "the other objects still work")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    other = torch.tensor(X).send(alice)
    pointer.get()
    w.raised(pointer.get)
    return other.get().tolist()


# search / multi


@fact("search / multi", "tag and describe return the tensor")
def _(w: World) -> Any:
    x = torch.tensor(X)
    return [x.tag("#x", "#y") is x, x.describe("four numbers") is x, sorted(x.tags), x.description]


@fact("search / multi", "a tensor without tags")
def _(w: World) -> Any:
    x = torch.tensor(X)
    return [not x.tags, x.description]


@fact("search / multi", "tags and description travel")
def _(w: World) -> Any:
    pointer = torch.tensor(X).tag("#x").describe("four numbers").send(w.worker("alice"))
    there = [sorted(pointer.tags), pointer.description]
    back = pointer.get()
    return [there, sorted(back.tags), back.description]


@fact("search / multi", "repr of a tagged pointer")
def _(w: World) -> Any:
    return w.masked(torch.tensor(X).tag("#x").describe("four numbers").send(w.worker("alice")))


@fact("search / multi", "search at a worker finds by tag")
def _(w: World) -> Any:
    alice = w.worker("alice")
    kept = torch.tensor(X).tag("#x").send(alice)
    found = alice.search("#x")
    return [
        len(found),
        w.raised(lambda: alice.search("#z")),
        len(alice.search("#z")),
        w.called(kept.location),
    ]


@fact("search / multi", "search for several tags asks for all")
def _(w: World) -> Any:
    alice = w.worker("alice")
    kept = [torch.tensor(X).tag("#x", "#y").send(alice), torch.tensor(X).tag("#x").send(alice)]
    return [len(alice.search(["#x", "#y"])), len(alice.search(["#x"])), len(kept)]


@fact("search / multi", "search with nothing asked finds what has tags")
def _(w: World) -> Any:
    alice = w.worker("alice")
    kept = [torch.tensor(X).tag("#x").send(alice), torch.tensor(X).send(alice)]
    return [len(alice.search([])), len(kept)]


@fact("search / multi", "search finds a number by id")
def _(w: World) -> Any:
    pointer, alice = sent(w, 7.0)
    return len(alice.search(pointer.id_at_location))


@fact("search / multi", "search finds a vector by id")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    return len(alice.search(pointer.id_at_location))


@fact("search / multi", "a tag given at the pointer is found at the worker")
def _(w: World) -> Any:
    pointer, alice = sent(w)
    pointer.tag("#x")
    return [sorted(pointer.tags), len(alice.search("#x"))]


@fact("search / multi", "request_search gives pointers")
def _(w: World) -> Any:
    alice = w.worker("alice")
    kept = torch.tensor(X).tag("#x").send(alice)
    (found,) = w.hook.local_worker.request_search(["#x"], location=alice)
    return [found.location is alice, found.id_at_location == kept.id_at_location, sorted(found.tags)]


@fact("search / multi", "a found pointer does not own the object")
def _(w: World) -> Any:
    alice = w.worker("alice")
    kept = torch.tensor(X).tag("#x").send(alice)
    (found,) = w.hook.local_worker.request_search(["#x"], location=alice)
    told = behind(found).garbage_collect_data
    del found
    return [told, w.tensors(alice), kept.get().tolist()]


@fact("search / multi", "a found pointer can be fetched")
def _(w: World) -> Any:
    alice = w.worker("alice")
    kept = torch.tensor(X).tag("#x").send(alice)
    (found,) = w.hook.local_worker.request_search(["#x"], location=alice)
    return [found.get().tolist(), w.tensors(alice), w.raised(kept.get)]


@fact("search / multi", "sending to two workers makes a MultiPointerTensor")
def _(w: World) -> Any:
    alice, bob = w.worker("alice"), w.worker("bob")
    pointer = torch.tensor(X).send(alice, bob)
    return [type(behind(pointer)).__name__, w.tensors(alice), w.tensors(bob), list(pointer.shape)]


@fact("search / multi", "get of a multi-pointer")
def _(w: World) -> Any:
    alice, bob = w.worker("alice"), w.worker("bob")
    parts = torch.tensor(X).send(alice, bob).get()
    return [[p.tolist() for p in parts], w.tensors(alice), w.tensors(bob)]


@fact("search / multi", "get(sum_results=True)")
def _(w: World) -> Any:
    pointer = torch.tensor(X).send(w.worker("alice"), w.worker("bob"))
    return pointer.get(sum_results=True).tolist()


@fact("search / multi", "operations on multi-pointers run at each worker")
def _(w: World) -> Any:
    alice, bob = w.worker("alice"), w.worker("bob")
    x, y = torch.tensor(X).send(alice, bob), torch.tensor(X).send(alice, bob)
    return [p.tolist() for p in (x + y).get()]


@fact("search / multi", "functions on multi-pointers run at each worker")
def _(w: World) -> Any:
    alice, bob = w.worker("alice"), w.worker("bob")
    x, y = torch.tensor(X).send(alice, bob), torch.tensor(X).send(alice, bob)
    return [p.tolist() for p in torch.add(x, y).get()]


@fact("search / multi", "multi-pointers and numbers")
def _(w: World) -> Any:
    return [p.tolist() for p in (torch.tensor(X).send(w.worker("alice"), w.worker("bob")) * 2).get()]


@fact("search / multi", "dropping a multi-pointer deletes everywhere")
def _(w: World) -> Any:
    alice, bob = w.worker("alice"), w.worker("bob")
    pointer = torch.tensor(X).send(alice, bob)
    before = [w.tensors(alice), w.tensors(bob)]
    del pointer
    return [before, w.tensors(alice), w.tensors(bob)]


# operations


@fact("operations", "arithmetic")
def _(w: World) -> Any:
    x, alice = sent(w)
    y = torch.tensor([4.0, 3.0, 2.0, 1.0]).send(alice)
    return [(x + y).get().tolist(), (x - y).get().tolist(), (x * y).get().tolist(), (-x).get().tolist()]


@fact("operations", "functions of torch")
def _(w: World) -> Any:
    x = sent(w, [[1.0, -2.0], [3.0, -4.0]])[0]
    return [torch.relu(x).get().tolist(), torch.abs(x).get().tolist(), F.relu(x).get().tolist()]


@fact("operations", "reductions")
def _(w: World) -> Any:
    x = sent(w, [X, X])[0]
    return [x.sum().get().item(), x.mean(0).get().tolist(), x.sum(dim=1).get().tolist()]


@fact("operations", "several results")
def _(w: World) -> Any:
    values, at = sent(w, [[1.0, 9.0], [4.0, 2.0]])[0].max(1)
    return [values.get().tolist(), at.get().tolist()]


@fact("operations", "argmax and eq give an accuracy")
def _(w: World) -> Any:
    scores, alice = sent(w, [[1.0, 9.0], [4.0, 2.0], [0.0, 1.0]])
    labels = torch.tensor([1, 1, 1]).send(alice)
    return scores.argmax(1).eq(labels.view(-1)).sum().get().item()


@fact("operations", "matrix products")
def _(w: World) -> Any:
    x, alice = sent(w, [[1.0, 2.0], [3.0, 4.0]])
    y = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).send(alice)
    return [(x @ y).get().tolist(), x.mm(y).get().tolist(), torch.matmul(x, y).get().tolist()]


@fact("operations", "in place: add_, mul_, zero_")
def _(w: World) -> Any:
    x, alice = sent(w)
    same = x.add_(1.0)
    x.mul_(2.0)
    between = x.copy().get().tolist()
    x.zero_()
    return [same is x, between, x.get().tolist(), w.tensors(alice)]


@fact("operations", "in place: the operators")
def _(w: World) -> Any:
    x, alice = sent(w)
    y = torch.tensor(X).send(alice)
    x += y
    x -= 1
    x *= 2
    return x.get().tolist()


@fact("operations", "indexing and slicing")
def _(w: World) -> Any:
    x = sent(w, [X, [5.0, 6.0, 7.0, 8.0]])[0]
    return [x[0].get().tolist(), x[1, 2].get().item(), x[:, 1:3].get().tolist()]


@fact("operations", "indexing with a remote index")
def _(w: World) -> Any:
    x, alice = sent(w)
    at = torch.tensor([3, 0]).send(alice)
    return x[at].get().tolist()


@fact("operations", "index_select with a remote index")
def _(w: World) -> Any:
    x, alice = sent(w)
    return x.index_select(0, torch.tensor([3, 0]).send(alice)).get().tolist()


@fact("operations", "indexing with a remote mask")
def _(w: World) -> Any:
    x, _ = sent(w)
    return x[x > 2].get().tolist()


@fact("operations", "writing into an index")
def _(w: World) -> Any:
    x, _ = sent(w)
    x[1] = 9.0
    return x.get().tolist()


@fact("operations", "iterating over rows")
def _(w: World) -> Any:
    x = sent(w, [[1.0, 2.0], [3.0, 4.0]])[0]
    return [row.get().tolist() for row in x]


@fact("operations", "view, t, reshape, unsqueeze")
def _(w: World) -> Any:
    x = sent(w)[0]
    y = x.view(2, 2)
    shapes = [list(y.shape), list(x.reshape(4, 1).shape), list(x.unsqueeze(0).shape)]
    return [y.t().get().tolist(), shapes]


@fact("operations", "a view shares memory with its tensor")
def _(w: World) -> Any:
    x = sent(w)[0]
    y = x.view(2, 2)
    y.add_(1.0)
    return [x.get().tolist(), y.get().tolist()]


@fact("operations", "cat and stack")
def _(w: World) -> Any:
    x, alice = sent(w, [1.0, 2.0])
    y = torch.tensor([3.0, 4.0]).send(alice)
    return [torch.cat([x, y]).get().tolist(), torch.stack([x, y], 1).get().tolist()]


@fact("operations", "a conversion of dtype")
def _(w: World) -> Any:
    x = sent(w, [1.7, -2.2])[0]
    back = x.long().get()
    return [str(back.dtype), back.tolist()]


@fact("operations", "comparisons")
def _(w: World) -> Any:
    x = sent(w)[0]
    return [(x > 2).get().tolist(), (x == 2).get().tolist()]


@fact("operations", "backward fills the gradient")
def _(w: World) -> Any:
    x, _ = leaf(w)
    (x * x).sum().backward()
    return [x.grad is not None, x.grad.copy().get().tolist()]


@fact("operations", "the gradient is a pointer to the same worker")
def _(w: World) -> Any:
    x, alice = leaf(w)
    (x * x).sum().backward()
    return x.grad.location is alice


@fact("operations", "gradients add up over two backward calls")
def _(w: World) -> Any:
    x, _ = leaf(w)
    (x * x).sum().backward()
    (x * x).sum().backward()
    return x.grad.copy().get().tolist()


@fact("operations", "before backward the gradient is None")
def _(w: World) -> Any:
    return leaf(w)[0].grad is None


@fact("operations", "grad.zero_ clears a gradient")
def _(w: World) -> Any:
    x, _ = leaf(w)
    (x * x).sum().backward()
    x.grad.zero_()
    return x.grad.copy().get().tolist()


@fact("operations", "a step by hand through data")
def _(w: World) -> Any:
    x, _ = leaf(w)
    (x * x).sum().backward()
    x.data.sub_(x.grad * 0.25)
    return x.detach().copy().get().tolist()


@fact("operations", "data reads the values")
def _(w: World) -> Any:
    x, _ = sent(w)
    return x.data.copy().get().tolist()


@fact("operations", "data outlives its pointer")
def _(w: World) -> Any:
    return sent(w)[0].data.copy().get().tolist()


@fact("operations", "no_grad keeps the graph away")
def _(w: World) -> Any:
    x, _ = leaf(w)
    with torch.no_grad():
        y = x * 2
    return [y.requires_grad, y.get().tolist()]


@fact("operations", "in place under no_grad on a leaf")
def _(w: World) -> Any:
    x, _ = leaf(w)
    with torch.no_grad():
        x.sub_(1.0)
    return x.detach().copy().get().tolist()


@fact("operations", "detach cuts the graph")
def _(w: World) -> Any:
    x, _ = leaf(w)
    y = x.detach() * x
    y.sum().backward()
    return x.grad.copy().get().tolist()


@fact("operations", "requires_grad_ after send")
def _(w: World) -> Any:
    x, _ = sent(w)
    x.requires_grad_()
    (x * x).sum().backward()
    return x.grad.copy().get().tolist()


@fact("operations", "backward through a view")
def _(w: World) -> Any:
    x, _ = leaf(w)
    (x.view(2, 2)[0] * 3).sum().backward()
    return x.grad.copy().get().tolist()


@fact("operations", "backward through a hook")
def _(w: World) -> Any:
    x, _ = leaf(w)
    x.register_hook(lambda grad: grad * 10)
    x.sum().backward()
    return x.grad.copy().get().tolist()


@fact("operations", "cross_entropy's value and gradient")
def _(w: World) -> Any:
    scores, alice = leaf(w, [[0.0, 0.0], [0.0, 0.0]])
    loss = F.cross_entropy(scores, torch.tensor([0, 1]).send(alice))
    loss.backward()
    return [round(loss.get().item(), 5), scores.grad.copy().get().tolist()]


@fact("operations", "the loss idiom of the tutorials: loss.get()")
def _(w: World) -> Any:
    x, _ = leaf(w)
    loss = (x * x).sum()
    loss.backward()
    return loss.get().item()
