"""The event clock, with simpy as its oracle."""

import json
import math
from typing import Any

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from syft_fl.clock import Clock
from syft_fl.errors import ClockError

# Few distinct delays, so that many events fall on one instant and the tie-breaks matter.
SCHEDULES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0, 1.5]), st.integers(0, 1), st.integers(0, 3)), max_size=12
)


def _trace_of_ours(schedule: list[tuple[float, int, int]]) -> list[tuple[float, str]]:
    clock, trace = Clock(), []
    for index, (delay, rank, children) in enumerate(schedule):
        clock.schedule(delay, f"{index}", rank=rank, children=children, delay=delay)
    while len(clock):
        event = clock.pop()
        trace.append((clock.now_s, event.kind))
        for child in range(event.data["children"]):
            clock.schedule(clock.now_s + event.data["delay"], f"{event.kind}.{child}", children=0, delay=0.0)
    return trace


def _trace_of_simpy(schedule: list[tuple[float, int, int]]) -> list[tuple[float, str]]:
    env, trace = simpy.Environment(), []

    def at(delay: float, name: str, rank: int, children: int) -> None:
        event = env.event()
        event._ok, event._value = True, None
        event.callbacks.append(lambda _: happen(name, delay, children))
        env.schedule(event, priority=rank, delay=delay)

    def happen(name: str, delay: float, children: int) -> None:
        trace.append((env.now, name))
        for child in range(children):
            at(delay, f"{name}.{child}", 0, 0)

    for index, (delay, rank, children) in enumerate(schedule):
        at(delay, str(index), rank, children)
    env.run()
    return trace


@given(SCHEDULES)
def test_events_come_in_the_order_of_simpy(schedule: list[tuple[float, int, int]]) -> None:
    assert _trace_of_ours(schedule) == _trace_of_simpy(schedule)


@given(SCHEDULES, st.integers(0, 12))
def test_a_clock_written_as_json_and_read_back_goes_on_the_same(
    schedule: list[tuple[float, int, int]], pause: int
) -> None:
    clock = Clock()
    for index, (delay, rank, children) in enumerate(schedule):
        clock.schedule(delay, f"{index}", rank=rank, children=children)
    for _ in range(min(pause, len(clock))):
        clock.pop()
    twin = Clock.restore(json.loads(json.dumps(clock.state())))
    assert twin.now_s == clock.now_s
    for one in (clock, twin):
        one.schedule(one.now_s, "new", rank=1)
    assert [_pop(clock) for _ in range(len(clock))] == [_pop(twin) for _ in range(len(twin))]


def _pop(clock: Clock) -> Any:
    event = clock.pop()
    return clock.now_s, event.rank, event.serial, event.kind, event.data


@pytest.mark.parametrize("time_s", [math.nan, math.inf, -math.inf, -1e-9])
def test_the_past_and_no_time_at_all_are_refused(time_s: float) -> None:
    with pytest.raises(ClockError, match=r"finite|before now"):
        Clock().schedule(time_s, "x")


def test_time_can_be_advanced_up_to_the_next_event_but_not_past_it() -> None:
    clock = Clock()
    clock.schedule(2.0, "x")
    clock.advance(2.0)
    clock.advance(1.0)
    assert clock.now_s == 2.0
    clock.pop()
    clock.schedule(3.0, "y")
    with pytest.raises(ClockError, match=r"past an event at 3\.0 s"):
        clock.advance(3.5)


def test_an_empty_clock_has_nothing_to_pop() -> None:
    assert Clock().peek_s() == math.inf
    with pytest.raises(ClockError, match="no event"):
        Clock().pop()
