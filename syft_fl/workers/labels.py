"""Tags and descriptions: what people call tensors, to find them again at a worker.

A label hangs on the tensor object itself: on a plain tensor, on what a worker holds, and on a pointer, which
shows what the base station knows of the object. Results of operations have none, as in PySyft 0.2. Nothing here sends
anything: labels travel as ``control`` messages of their own, which :mod:`~syft_fl.workers.pointer` sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from syft_fl.errors import WorkerError

__all__ = ["Label", "add_label", "describe", "description_of", "label_of", "label_of_tags", "tag", "tags_of"]

T = TypeVar("T", bound=Tensor)


@dataclass(frozen=True, slots=True)
class Label:
    """What an object is called.

    Attributes:
        tags: names such as ``"#mnist"``; all of a query's must be among them.
        description: free text; it is shown, not searched (as in 0.2.5).
    """

    tags: frozenset[str] = frozenset()
    description: str | None = None

    def __post_init__(self) -> None:
        for tag in self.tags:
            if not isinstance(tag, str) or not tag:
                raise WorkerError(f"tag {tag!r} must be text that is not empty, such as '#mnist'")
        if self.description is not None and not isinstance(self.description, str):
            raise WorkerError(f"description {self.description!r} must be text")

    def __bool__(self) -> bool:
        return bool(self.tags) or self.description is not None

    def facts(self) -> dict[str, Any]:
        """It as a part of a control message; what there is not is not sent."""
        facts: dict[str, Any] = {"tags": sorted(self.tags)} if self.tags else {}
        return facts if self.description is None else {**facts, "description": self.description}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Label:
        """What :meth:`facts` wrote."""
        return cls(frozenset(facts.get("tags", ())), facts.get("description"))

    def answers(self, object_id: int, query: Iterable[str | int]) -> bool:
        """Whether an object of this label is asked for: every term is one of its tags or its id.

        An empty query asks for all that has a tag.
        """
        terms = list(query)
        return all(term in self.tags or term == object_id for term in terms) if terms else bool(self.tags)

    def __str__(self) -> str:
        tags = f"\n\tTags: {' '.join(sorted(self.tags))}" if self.tags else ""
        return tags if self.description is None else f"{tags}\n\tDescription: {self.description}"


_NONE = Label()


def label_of(tensor: Tensor) -> Label:
    """The label that hangs on a tensor object; an empty one where there is none."""
    own = vars(tensor)
    if "_tags" not in own and "_description" not in own:
        return _NONE
    return Label(frozenset(own.get("_tags", ())), own.get("_description"))


def add_label(tensor: Tensor, label: Label) -> None:
    """Add tags to those of a tensor object, and replace its description where there is a new one."""
    # Plain values, so that a labelled tensor is saved and loaded like any other.
    if label.tags:
        vars(tensor)["_tags"] = tuple(sorted(label_of(tensor).tags | label.tags))
    if label.description is not None:
        vars(tensor)["_description"] = label.description


def tag(tensor: T, *tags: str) -> T:
    """Add tags to a plain tensor, in place; they go along when it is sent.

    Example:
        >>> import torch
        >>> sorted(tags_of(tag(torch.zeros(2), "#x", "#mnist")))
        ['#mnist', '#x']
    """
    add_label(tensor, label_of_tags(tags))
    return tensor


def describe(tensor: T, description: str) -> T:
    """Describe a plain tensor, in place; the description goes along when it is sent."""
    add_label(tensor, Label(description=description))
    return tensor


def tags_of(tensor: Tensor) -> set[str]:
    """The tags of a tensor object, as far as they are known here."""
    return set(label_of(tensor).tags)


def description_of(tensor: Tensor) -> str | None:
    """The description of a tensor object, as far as it is known here."""
    return label_of(tensor).description


def label_of_tags(tags: tuple[str, ...]) -> Label:
    """A label of tags only.

    Raises:
        WorkerError: one of them is no text.
    """
    try:
        return Label(frozenset(tags))
    except TypeError:
        raise WorkerError(f"tags {tags!r} must be texts, one argument each: tag('#x', '#mnist')") from None
