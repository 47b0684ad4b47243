"""No attribute of ``torch.Tensor`` brings a value from a worker without a charge, or fails with other errors than ours.

Two pointers of the same shape and different values are put to the same question. Whatever comes back without a message
on the air must be the same for both: then nothing of the values is in it. Whatever works on a plain tensor works on a
pointer, with the plain result, or raises one of our errors.
"""

from __future__ import annotations

import inspect
import math
import operator
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from syft_fl.errors import SyftFLError
from syft_fl.keys import Key
from syft_fl.learn.generators import torch_generator
from syft_fl.workers import PointerTensor, TorchHook, VirtualWorker

SECRETS = {
    "matrix": (torch.tensor([[1.5, -2.0], [0.25, 3.0]]), torch.tensor([[-7.0, 0.5], [4.0, 0.125]])),
    "vector": (torch.tensor([0.5, 2.0, 0.75]), torch.tensor([0.125, 1.5, 3.0])),
    "number": (torch.tensor(0.5), torch.tensor(0.75)),
    "whole": (torch.tensor([1, 2, 3]), torch.tensor([3, 2, 2])),
    "flags": (torch.tensor([True, False, True]), torch.tensor([False, False, True])),
}

OURS = {
    "send",
    "get",
    "move",
    "copy",
    "tag",
    "describe",
    "tags",
    "description",
    "location",
    "id",
    "owner",
    "child",
    "held",
    "at",
}
"""PySyft's own names, which have tests of their own."""

HARMLESS = {
    "__class__",
    "__dir__",
    "__hash__",
    "__sizeof__",
    "_cdata",
    "__getattribute__",
    "__init__",
    "__init_subclass__",
    "__new__",
    "__static_attributes__",
    "__subclasshook__",
    "__torch_dispatch__",
    "__torch_function__",
    "__weakref__",
    "_make_subclass",
    "_make_wrapper_subclass",
    "_make_dtensor",
    "id_at_location",
    "index",
    "new",
    "register_post_accumulate_grad_hook",
}
"""What makes, registers or looks up classes, is an identity, or names a place; a hook, which keeps what it is given;
memory that was never written (``new``); and functorch's ``index``, which never returns from a plain number."""


class Scene:
    """Two workers, each of which holds one of two secrets."""

    def __init__(self) -> None:
        self.hook = TorchHook(torch)
        self.ues = [VirtualWorker(hook=self.hook, id=f"ue{n}") for n in range(2)]

    def messages(self) -> int:
        return len(self.hook.transport.ledger.drain())


@pytest.fixture
def scene() -> Iterator[Scene]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of deprecated attributes as they are looked up
        yield Scene()


def questions(name: str) -> list[Callable[[Tensor], Any]]:
    """Ways to ask a tensor for an attribute: look at it, call it with plausible arguments."""

    def called(*args: Callable[[Tensor], Any], **kwargs: Any) -> Callable[[Tensor], Any]:
        return lambda t: getattr(t, name)(*(a(t) for a in args), **kwargs)

    def same(t: Tensor) -> Tensor:
        return t

    def constant(value: Any) -> Callable[[Tensor], Any]:
        return lambda t: value

    found: list[Callable[[Tensor], Any]] = [lambda t: getattr(t, name)]
    if not callable(getattr(Tensor, name, None)):
        return found
    zero, one, two, half = (constant(v) for v in (0, 1, 2, 0.5))
    found += [called(), called(same), called(zero), called(one), called(half), called(zero, one)]
    found += [called(same, same), called(constant((0,))), called(constant(torch.float64)), called(zero, same)]
    found += [called(zero, zero, same), called(constant("numpy")), called(same, two), called(constant(None))]
    found += [called(one, zero, one), called(same, half, one), called(constant((1, -1)))]
    return found


def plain_parts(value: Any) -> Any:
    """What of an answer is here: pointers count as their shapes, all else as it is."""
    if isinstance(value, PointerTensor):
        return ("pointer", tuple(value.shape), value.dtype)
    if isinstance(value, Tensor):
        return ("tensor", tuple(value.shape), value.dtype, value.detach().flatten().tolist())
    if isinstance(value, np.ndarray):
        return ("array", value.tolist())
    if isinstance(
        value, bool | int | float | complex | str | bytes | torch.Size | torch.dtype | torch.device
    ):
        return "nan" if isinstance(value, float) and math.isnan(value) else value
    if isinstance(value, dict):
        return {str(key): plain_parts(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_parts(item) for item in value]
    return type(value).__name__


def asked(
    scene: Scene, secret: Tensor, ue: VirtualWorker, question: Callable[[Tensor], Any]
) -> tuple[Any, int]:
    """The answer's plain parts, and how many messages it took."""
    pointer = secret.clone().send(ue)
    scene.messages()
    try:
        answer = plain_parts(question(pointer))
    except SyftFLError:
        answer = "refused"
    return answer, scene.messages()


UNWRITTEN = {
    "empty_like",
    "new_empty",
    "new_empty_strided",
    "resize",
    "resize_",
    "resize_as",
    "resize_as_",
    "set_",
}
"""Results that have memory which nobody wrote."""


def values(answer: Any) -> Any:
    """Shapes, types and numbers of an answer, wherever they are."""
    if isinstance(answer, Tensor):
        if answer.layout is not torch.strided:
            return str(answer.layout)
        here = answer.detach().clone().get() if isinstance(answer, PointerTensor) else answer.detach()
        return (tuple(here.shape), here.dtype, str(here.flatten().tolist()))
    if isinstance(answer, list | tuple):
        return [values(item) for item in answer]
    return None


@pytest.mark.parametrize("kind", SECRETS)
def test_an_operation_that_runs_gives_the_plain_result(scene: Scene, kind: str) -> None:
    (secret, _), ue, compared, wrong = SECRETS[kind], scene.ues[0], 0, []
    for name in names():
        if name in UNWRITTEN:
            continue
        for number, question in enumerate(questions(name)):
            expected = []
            try:
                for seed in range(2):
                    with torch_generator(Key(seed)):
                        expected.append(values(question(secret.clone())))
                found = values(question(secret.clone().send(ue)))
            except Exception:
                continue  # the other test looks at errors
            if expected[0] == expected[1]:  # nothing is drawn
                compared += 1
                if found != expected[0]:
                    wrong.append(f"{name}, question {number}: {found} instead of {expected[0]}")
    assert not wrong, "\n".join(wrong)
    assert compared > 500, "the questions reach torch"


def names() -> list[str]:
    return [n for n in sorted(dir(Tensor)) if n not in HARMLESS and n not in OURS]


@pytest.mark.parametrize("kind", SECRETS)
def test_no_attribute_of_a_tensor_tells_values_without_a_charge(scene: Scene, kind: str) -> None:
    tried, wrong = 0, []
    for name in names():
        for number, question in enumerate(questions(name)):
            answers = []
            for secret, ue in zip(SECRETS[kind], scene.ues, strict=True):
                before = torch.get_rng_state()
                try:
                    question(secret.clone())
                except Exception:
                    break  # no question at all to a plain tensor
                finally:
                    torch.set_rng_state(before)
                try:
                    answers.append(asked(scene, secret, ue, question))
                except Exception as error:
                    wrong.append(f"{name}, question {number}: {type(error).__name__}: {error}")
            if len(answers) < 2:
                continue
            tried += 1
            (first, first_messages), (second, second_messages) = answers
            masked = [_without_places(a) for a in (first, second)]
            if masked[0] != masked[1] and not (first_messages and second_messages):
                wrong.append(f"{name}, question {number}, told {first} and {second} without a message")
    assert not wrong, "\n".join(wrong)
    assert tried > 700, "the questions reach torch"


def _without_places(answer: Any) -> Any:
    """Texts without the ids and names of workers that they print."""
    if isinstance(answer, str):
        return "".join(c for c in answer if not c.isdigit())
    return answer


LEAKS: dict[str, Callable[[Tensor], Any]] = {
    "float": float,
    "int": int,
    "bool": bool,
    "complex": complex,
    "index": operator.index,
    "round": round,
    "print": str,
    "format": lambda t: f"{t:.2f}",
    "numpy": np.asarray,
    "numpy array": np.array,
    "numpy from dlpack": np.from_dlpack,
    "torch from dlpack": torch.from_dlpack,
    "as_tensor": torch.as_tensor,
    "tensor": torch.tensor,
    "equal": lambda t: torch.equal(t, t),
    "allclose": lambda t: torch.allclose(t, t),
    "is_nonzero": torch.is_nonzero,
    "list": list,
    "sum of Python": sum,
    "max of Python": max,
    "sorted": sorted,
    "membership": lambda t: 0.5 in t,
    "range": range,
    "multiplied list": lambda t: [0] * t,
    "vars": lambda t: {k: v for k, v in vars(t).items() if isinstance(v, Tensor)},
}


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("kind", SECRETS)
def test_no_protocol_of_python_or_numpy_tells_values_without_a_charge(
    scene: Scene, kind: str, leak: str
) -> None:
    found = []
    for secret, ue in zip(SECRETS[kind], scene.ues, strict=True):
        try:
            found.append(asked(scene, secret, ue, LEAKS[leak]))
        except (TypeError, ValueError, RuntimeError) as error:
            with pytest.raises(type(error)):
                LEAKS[leak](secret.clone())
            found.append((type(error).__name__, 0))
    (first, first_messages), (second, second_messages) = found
    if _without_places(first) != _without_places(second):
        assert min(first_messages, second_messages) > 0, f"{first} and {second} came without a message"


def test_the_detector_sees_a_leak(scene: Scene) -> None:
    """It would be worth nothing if it could not fail."""
    found = [
        asked(scene, secret, ue, lambda t: t.held().tolist())
        for secret, ue in zip(SECRETS["vector"], scene.ues, strict=True)
    ]
    assert found[0][0] != found[1][0]
    assert found[0][1] == 0


def test_every_method_of_a_tensor_is_asked() -> None:
    asked_names = set(names())
    methods = {n for n, m in inspect.getmembers(Tensor) if callable(m)}
    assert len(methods & asked_names) > 600
    assert not (methods - asked_names - HARMLESS - OURS)
