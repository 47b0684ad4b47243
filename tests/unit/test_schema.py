"""Settings: strict, all errors at once, with paths and ways out."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest

from syft_fl.errors import ConfigError
from syft_fl.schema import Registry, import_path, plain, require, schema

SHAPES = Registry("shape", "area")


@SHAPES
@schema
class Square:
    kind: ClassVar[str] = "square"
    side: float = 1.0

    def __post_init__(self) -> None:
        require(self.side > 0, "side", self.side, "above 0", "for none use kind = 'point'")

    def area(self) -> float:
        return self.side**2


@schema
class Drawing:
    shape: Annotated[Any, SHAPES] = Square()
    copies: int = 1
    corners: tuple[float, ...] = ()


@schema
class Page:
    drawing: Drawing = Drawing()
    title: str = ""


def _message(**fields: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Page(**fields)
    return str(caught.value).splitlines()


def test_tables_become_objects_at_every_depth() -> None:
    page = Page(drawing={"shape": {"kind": "square", "side": 3}, "corners": [1, 2]})
    assert page.drawing.shape == Square(side=3)
    assert page.drawing.corners == (1, 2)
    assert Page(drawing={"shape": "square"}) == Page()


def test_every_error_is_told_at_once_with_its_path() -> None:
    lines = _message(drawing={"shape": {"kind": "square", "side": -1}, "copies": "3"}, title=4)
    assert len(lines) == 3
    assert lines[0] == "drawing.shape.side = -1.0 must be above 0; for none use kind = 'point'"
    assert lines[1].startswith("drawing.copies = '3'")
    assert lines[2].startswith("title = 4")


def test_an_unknown_key_is_refused_with_the_nearest_one() -> None:
    assert _message(drawing={"copeis": 3}) == [
        "drawing.copeis: unknown key; did you mean 'copies'? valid: copies, corners, shape"
    ]
    assert "did you mean 'side'" in _message(drawing={"shape": {"kind": "square", "sid": 3}})[0]


def test_an_unknown_kind_is_refused_with_the_nearest_one() -> None:
    assert _message(drawing={"shape": {"kind": "sqare"}}) == [
        "drawing.shape.kind = 'sqare' is no shape; did you mean 'square'? valid: square"
    ]
    assert "needs its kind" in _message(drawing={"shape": {}})[0]


@pytest.mark.parametrize("value", [True, 2.0, "2", None])
def test_nothing_is_silently_turned_into_a_whole_number(value: object) -> None:
    assert _message(drawing={"copies": value})[0].startswith("drawing.copies = ")


def test_python_and_toml_obey_the_same_rules() -> None:
    with pytest.raises(ConfigError, match=r"side = 0\.0 must be above 0"):
        Square(side=0)
    with pytest.raises(ConfigError, match="siide: unknown key"):
        Square(siide=1)  # type: ignore[call-arg]


def test_settings_written_as_plain_data_read_back_equal() -> None:
    page = Page(drawing=Drawing(shape=Square(side=2.5), corners=(1.0, 2.0)), title="t")
    table = plain(page)
    assert table["drawing"]["shape"] == {"kind": "square", "side": 2.5}
    assert Page(**table) == page


@dataclass(frozen=True)
class Circle:
    """A user's own class: registered nowhere, made without our decorator."""

    radius: float = 1.0

    def area(self) -> float:
        return 3.0 * self.radius**2


def test_a_users_own_object_passes_where_it_has_the_methods() -> None:
    assert Drawing(shape=Circle(radius=2.0)).shape.area() == 12.0
    with pytest.raises(ConfigError, match=r"^shape: 3 is no shape: it needs area$"):
        Drawing(shape=3)
    with pytest.raises(ConfigError, match="is no shape"):
        Drawing(shape=Circle)


def test_a_users_own_class_is_found_by_import_path() -> None:
    found = SHAPES.build({"kind": "fractions:Fraction", "numerator": 3})
    assert found == 3
    with pytest.raises(ConfigError, match="can't be imported"):
        SHAPES.build({"kind": "no_such_module:X"})
    with pytest.raises(ConfigError, match="can't be imported"):
        import_path("fractions:Fractoin")


def test_a_users_own_class_joins_in_a_line() -> None:
    shapes = Registry("shape", "area")

    @shapes
    @schema
    class Point:
        kind: ClassVar[str] = "point"

        def area(self) -> float:
            return 0.0

    assert shapes.kinds() == ["point"]
    assert shapes.build("point") == Point()


def test_two_classes_can_not_share_a_kind() -> None:
    class Other:
        kind = "square"

    with pytest.raises(ConfigError, match="'square' is taken by Square"):
        SHAPES(Other)
    with pytest.raises(ConfigError, match="needs a class attribute kind"):
        SHAPES(Circle)
