"""Typed, checked, frozen settings: the decorator, the rule and the registry.

Every part that a scenario names (a codec, a link, a partition, …) is a frozen dataclass made with
:func:`schema`. Written in Python or in TOML it obeys the same rules: unknown fields and wrong types
are refused by pydantic, ranges by :func:`require` in ``__post_init__``. A :class:`Registry` turns
``{kind = "uniform", bits = 4}`` into an object; a user's own class joins it in a line, or is named by an
import path: ``{kind = "my_codecs:Mine"}``.

pydantic is imported with the first class that is made, for ``import syft_fl`` reads this module.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

from syft_fl.errors import ConfigError

if TYPE_CHECKING:
    import pydantic
    from pydantic_core import core_schema

__all__ = ["Registry", "explain", "import_path", "nearest", "plain", "remember", "require", "schema"]

T = TypeVar("T")
_NAMES_A_FIELD = re.compile(r"[A-Za-z_][\w.\[\]]*( = |: )")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def schema(cls: type[T]) -> type[T]:
    """Make a class a frozen, keyword-only, strictly checked dataclass.

    pydantic's defaults drop unknown keys and turn ``"3"`` into 3; both are refused here. What is wrong is
    raised as one :class:`~syft_fl.errors.ConfigError` that lists everything wrong with the object.
    """
    import pydantic
    from pydantic.dataclasses import dataclass

    config = pydantic.ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)
    cls.__get_pydantic_core_schema__ = classmethod(_tables_are_welcome)  # type: ignore[attr-defined]
    made: Any = dataclass(frozen=True, kw_only=True, config=config)(cls)
    checked_init = made.__init__

    def init(self: Any, /, **fields: Any) -> None:
        try:
            checked_init(self, **{name: _tuples(value) for name, value in fields.items()})
        except pydantic.ValidationError as error:
            raise ConfigError("\n".join(explain(error, made))) from None

    init.__pydantic_base_init__ = True  # type: ignore[attr-defined]
    made.__init__ = init
    return made  # type: ignore[no-any-return]


def _tables_are_welcome(cls: type, source: Any, handler: Any) -> core_schema.CoreSchema:
    """Fields stay strict, but a mapping (a TOML table) may stand for the object itself."""
    found = handler(source)
    inner = handler.resolve_ref_schema(found)
    inner["strict"] = False
    return found  # type: ignore[no-any-return]


def require(ok: bool, name: str, value: object, rule: str, way_out: str = "") -> None:
    """Check a rule on a field.

    Raises:
        ConfigError: ``bits = 0 must be in 1 … 16; for no quantisation use kind = 'float32'``.
    """
    if not ok:
        raise ConfigError(f"{name} = {value!r} must be {rule}" + (f"; {way_out}" if way_out else ""))


def nearest(name: object, valid: Iterable[str]) -> str:
    """The end of a message about a wrong name: the nearest valid one, and all of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}valid: {', '.join(names)}"


_REMEMBERED: dict[str, Any] = {}


def remember(value: Any, path: str | None = None) -> str:
    """A path under which :func:`import_path` finds an object again in this process.

    For what can't be imported: a class in a notebook's cell or in a function, tensors in memory.

    Args:
        value: anything.
        path: the name; None: ``module:name`` of a class or function, or of the object's class.
    """
    if path is None:
        named = value if hasattr(value, "__qualname__") else type(value)
        path = f"{named.__module__}:{named.__qualname__}"
    _REMEMBERED[path] = value
    return path


def import_path(path: str) -> Any:
    """The object that ``package.module:name`` names, or that was remembered under this path.

    Raises:
        ConfigError: no such module, or no such name in it.
    """
    if path in _REMEMBERED:
        return _REMEMBERED[path]
    module_name, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{path!r} can't be imported ({error}); "
            "write 'package.module:name' of something on the Python path"
        ) from None
    return found


class Registry:
    """The classes of one noun (codec, link, …) by their ``kind``.

    Use it as a type in a schema: ``codec: Annotated[Codec, CODECS]``. There it takes an
    object of a registered class, any object that has the methods the noun needs, or a mapping with ``kind``.
    """

    def __init__(self, noun: str, *methods: str) -> None:
        self.noun = noun
        self._methods = methods
        self._classes: dict[str, type] = {}

    def __call__(self, cls: type[T]) -> type[T]:
        """Register a class under its ``kind``; usable as a decorator above :func:`schema`.

        Raises:
            ConfigError: the class has no ``kind``, or another class has it.
        """
        kind = getattr(cls, "kind", None)
        if not isinstance(kind, str):
            raise ConfigError(
                f"{cls.__name__} needs a class attribute kind, the {self.noun}'s name in a TOML file"
            )
        known = self._classes.get(kind)
        # A notebook cell that is run twice defines its class twice: that is no clash.
        if known is not None and (known.__module__, known.__qualname__) != (
            cls.__module__,
            cls.__qualname__,
        ):
            raise ConfigError(f"{self.noun} kind {kind!r} is taken by {known.__qualname__}")
        self._classes[kind] = cls
        return cls

    def __iter__(self) -> Iterator[type]:
        return iter(self._classes.values())

    def kinds(self) -> list[str]:
        return sorted(self._classes)

    def __getitem__(self, kind: str) -> type:
        """The class of a kind, or of an import path ``module:name``.

        Raises:
            ConfigError: there is none; the message has the nearest one.
        """
        if kind in self._classes:
            return self._classes[kind]
        if ":" in kind:
            found: type = import_path(kind)
            return found
        raise ConfigError(f"kind = {kind!r} is no {self.noun}; {nearest(kind, self._classes)}")

    def build(self, value: Any) -> Any:
        """An object of this noun from an object, a mapping with ``kind``, or a bare kind."""
        if isinstance(value, str):
            value = {"kind": value}
        if isinstance(value, Mapping):
            fields = dict(value)
            kind = fields.pop("kind", None)
            if not isinstance(kind, str):
                raise ConfigError(f"a {self.noun} needs its kind; valid: {', '.join(self.kinds())}")
            cls = self[kind]
            try:
                return cls(**fields)
            except TypeError as error:  # of a user's own class; ours raise ConfigError
                raise ConfigError(f"{kind}: {error}") from None
        absent = [m for m in self._methods if not hasattr(value, m)]
        if absent or isinstance(value, type):
            raise ConfigError(
                f"{value!r} is no {self.noun}: it needs {', '.join(absent) or 'to be an instance'}"
            )
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        from pydantic_core import core_schema

        # A plain function: looked up when a value is checked, so classes registered later count.
        return core_schema.no_info_plain_validator_function(self.build)


def plain(value: Any) -> Any:
    """Settings as dicts, lists, numbers and strings, as a TOML or JSON file holds them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        fields = {name: field for name, field in fields.items() if field is not None}
        return _kind_of(value) | fields
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return _kind_of(value) or {"kind": f"{type(value).__module__}:{type(value).__qualname__}"}


def explain(error: pydantic.ValidationError, cls: type) -> list[str]:
    """One line for each thing wrong: ``path = value: rule; way out``."""
    return [_line(item, cls) for item in _united(error.errors(include_url=False))]


def _united(items: Iterable[Any]) -> Iterator[Any]:
    """What a number and a word for it (``int | Literal["all"]``) each find wrong, as one error of their field."""
    for loc, group in itertools.groupby(items, key=_field):
        found = list(group)
        if found[0]["loc"] == loc:
            yield from found
            continue
        rules = " or ".join(item["msg"].removeprefix("Input ") for item in found)
        yield {**found[0], "loc": loc, "type": "union", "msg": rules}


def _field(item: Any) -> tuple[Any, ...]:
    """Where an error is, without the branch of a union of numbers and words that it is about."""
    loc: tuple[Any, ...] = item["loc"]
    branch = str(loc[-1]) if len(loc) > 1 else ""
    return loc[:-1] if branch in ("int", "float") or branch.startswith("literal[") else loc


def _line(item: Any, cls: type) -> str:
    loc = list(item["loc"])
    path = ".".join(str(part) for part in loc)
    if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        owner = _owner(cls, loc[:-1])
        valid = [f.name for f in dataclasses.fields(owner)] if owner else []
        return f"{path}: unknown key; {nearest(loc[-1], valid)}"
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        # The rule names its own field; the path in front says where that is.
        lines = str(cause).splitlines()
        return "\n".join(_at(path, line) for line in lines)
    if item["type"] in ("missing", "missing_keyword_only_argument", "missing_argument"):
        return f"{path}: is required"
    if item["type"] == "dataclass_type":
        return f"{path} = {item['input']!r}: must be a table of settings"
    message = item["msg"].removeprefix("Input ").removeprefix("Value error, ")
    shown = repr(item["input"])
    return f"{path} = {shown if len(shown) < 80 else shown[:77] + '...'}: {message}"


def _at(path: str, line: str) -> str:
    """A message with the path of what it is about: ``bits = 0 …`` at ``uplink.codec`` is of ``uplink.codec.bits``."""
    if not path:
        return line
    return f"{path}.{line}" if _NAMES_A_FIELD.match(line) else f"{path}: {line}"


def _owner(cls: type, loc: list[Any]) -> type | None:
    """The dataclass that a path leads to, as far as annotations tell."""
    hints: dict[str, Any] = {}
    for part in loc:
        hints = getattr(cls, "__pydantic_fields__", {})
        field = hints.get(part)
        if field is None:
            return None
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        found = [c for c in candidates if dataclasses.is_dataclass(c) and isinstance(c, type)]
        if not found:
            return None
        cls = found[0]
    return cls


def _kind_of(value: Any) -> dict[str, Any]:
    kind = getattr(type(value), "kind", None)
    return {"kind": kind} if isinstance(kind, str) else {}


def _tuples(value: Any) -> Any:
    """Lists (all that TOML has) as tuples (all that a frozen dataclass holds), at every depth."""
    if isinstance(value, list | tuple):
        return tuple(_tuples(item) for item in value)
    if type(value) is dict:
        return {name: _tuples(item) for name, item in value.items()}
    return value
