"""What every registered trigger keeps to. A new one joins by being registered."""

from __future__ import annotations

import copy
import io
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch

from syft_fl.errors import ConfigError
from syft_fl.keys import Key
from syft_fl.learn.triggers import (
    LAG,
    LAQ,
    TRIGGERS,
    Always,
    AnyOf,
    Channel,
    Decision,
    Every,
    LAGServer,
    LossChange,
    Memory,
    Norm,
    Random,
    Relative,
    ServerSide,
    Silence,
    Trigger,
    TriggerView,
    properties,
)
from syft_fl.schema import plain

NEEDED: Mapping[str, Mapping[str, Any]] = {
    "every": {"k": 3},
    "random": {"probability": 0.5},
    "norm": {"tau": 4.0},
    "relative": {"epsilon": 0.5},
    "bandwidth": {"tau": 4.0},
    "loss": {"epsilon": 0.1},
    "channel": {"gain": 0.7},
    "silence": {"k": 2},
    "lag-server": {"smoothness": 2.0},
    "all": {"triggers": [{"kind": "norm", "tau": 3.0}, {"kind": "every", "k": 2}]},
    "any": {"triggers": [{"kind": "loss", "epsilon": 0.2}, {"kind": "silence", "k": 4}]},
}
"""Fields without a default, by kind."""

OURS: list[Any] = [cls for cls in TRIGGERS if cls.__module__.startswith("syft_fl.")]
ALL: list[Trigger] = [TRIGGERS.build({"kind": cls.kind, **NEEDED.get(cls.kind, {})}) for cls in OURS] + [
    Every(k=4, phase="drawn"),
    Norm(tau=6.0, decay=0.9),
    Channel(rate_bps=1e6),
    LAG(rounds=2, weight=0.5, silence_limit=30),
    AnyOf(triggers=(LAG(rounds=3), LAQ(rounds=5), Silence(k=3))),
    AnyOf(triggers=(Random(probability=0.2), Random(probability=0.2), AnyOf(triggers=(Every(k=5),)))),
]
every_trigger = pytest.mark.parametrize("trigger", ALL, ids=repr)

ENTRIES = 20


def vector(name: str) -> torch.Tensor:
    return torch.randn(ENTRIES, generator=(Key(11) / name).torch())


def view(round: int = 1, **changes: Any) -> TriggerView:
    """What a UE knows in a round: vectors, loss and channel drawn by the round, nothing owed."""
    key = Key(5) / round
    update = vector(f"update{round}")
    return replace(
        TriggerView(
            ue="ue3",
            round=round,
            key=key,
            update=update,
            owed=None,
            received=vector(f"model{round}"),
            earlier=tuple(vector(f"model{before}") for before in range(round - 1, 0, -1)),
            loss=1.0 / round + 0.1 * (key / "loss").uniform(),
            silence=0,
            samples=100,
            learning_rate=0.1,
            users=10,
            decoded=lambda: update.round(decimals=1),
            rate_bps=lambda: 2e6 * (key / "rate").uniform(),
            mean_rate_bps=lambda: 1e6,
            gain=lambda: (key / "gain").exponential(),
        ),
        **changes,
    )


def of(trigger: Trigger, view: TriggerView) -> TriggerView:
    """With no more of the past than the rule asks for, as the simulation gives it."""
    return replace(view, earlier=view.earlier[: properties(trigger).history])


def run(trigger: Trigger, rounds: int, *, lost: frozenset[int] = frozenset()) -> list[Decision]:
    """Decisions of one UE, round after round; what is sent arrives but in some rounds."""
    memory: Memory = {}
    silence = 0
    decisions = []
    for round in range(1, rounds + 1):
        decision = trigger.decide(of(trigger, view(round, silence=silence)), memory)
        memory = decision.sent if decision.send and round not in lost else decision.kept
        silence = 0 if decision.send else silence + 1
        decisions.append(decision)
    return decisions


def plainly(value: Any) -> Any:
    """A memory or a decision as something that ``==`` compares."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: plainly(item) for name, item in value.items()}
    if isinstance(value, Decision):
        return (
            value.send,
            repr(value.quantity),
            repr(value.threshold),
            plainly(value.sent),
            plainly(value.kept),
        )
    return value


def inputs(seen: TriggerView) -> Any:
    return copy.deepcopy((seen.update, seen.owed, seen.received, seen.earlier))


@every_trigger
def test_settings_survive_a_config_file(trigger: Trigger) -> None:
    table = json.loads(json.dumps(plain(trigger)))
    assert TRIGGERS.build(table) == trigger
    assert isinstance(trigger, Trigger)


@every_trigger
def test_a_rule_names_its_source_and_what_becomes_of_the_unsent(trigger: Trigger) -> None:
    said = " ".join((type(trigger).__doc__ or "").split())
    assert trigger.kind in ("always", "all", "any") or "Source:" in said
    assert trigger.kind in ("always", "any") or "held back" in said


@every_trigger
def test_a_decision_follows_from_view_and_memory_alone(trigger: Trigger) -> None:
    memories: list[Memory] = [{}, *(d.sent for d in run(trigger, 3)), *(d.kept for d in run(trigger, 3))]
    for round in (4, 5):
        seen = of(trigger, view(round, silence=2))
        for memory in memories:
            first = trigger.decide(seen, memory)
            torch.manual_seed(round)
            assert plainly(trigger.decide(of(trigger, view(round, silence=2)), memory)) == plainly(first)


@every_trigger
@pytest.mark.parametrize("owed", [None, torch.ones(ENTRIES)], ids=["nothing owed", "owed"])
def test_view_and_memory_are_left_as_they_were(trigger: Trigger, owed: torch.Tensor | None) -> None:
    memory: Memory = {}
    for round in range(1, 6):
        seen = of(trigger, view(round, owed=owed, silence=round))
        before, remembered = inputs(seen), copy.deepcopy(memory)
        decision = trigger.decide(seen, memory)
        assert str(inputs(seen)) == str(before)
        assert plainly(memory) == plainly(remembered)
        memory = decision.sent
        kept = plainly(memory)
        seen.update.zero_()  # what is remembered is no view of what the simulation goes on with
        assert plainly(memory) == kept


@every_trigger
def test_send_is_what_quantity_and_threshold_say(trigger: Trigger) -> None:
    decisions = run(trigger, 30, lost=frozenset({2, 9}))
    for decision in decisions:
        assert isinstance(decision.send, bool)
        assert isinstance(decision.quantity, float)
        assert isinstance(decision.threshold, float)
        assert not math.isnan(decision.quantity)
        assert decision.send == (decision.quantity >= decision.threshold)


@every_trigger
def test_what_is_remembered_survives_a_checkpoint(trigger: Trigger) -> None:
    for decision in run(trigger, 4):
        for memory in (decision.sent, decision.kept):
            file = io.BytesIO()
            torch.save(memory, file)
            file.seek(0)
            restored = torch.load(file, weights_only=True)
            assert plainly(restored) == plainly(memory)
            seen = of(trigger, view(5))
            assert plainly(trigger.decide(seen, restored)) == plainly(trigger.decide(seen, memory))


@every_trigger
def test_an_update_that_has_diverged_does_not_change_the_rule_into_an_error(trigger: Trigger) -> None:
    """Nor does it silence a rule that looks at it: the codec then says what is wrong."""
    nothing = torch.full((ENTRIES,), math.nan)
    seen = view(3, update=nothing, loss=math.nan, decoded=lambda: nothing)
    memory = run(trigger, 2)[-1].sent
    decision = trigger.decide(of(trigger, seen), memory)
    looks_at_it = not isinstance(trigger, Every | Silence | Random | Channel | Always | LAGServer)
    if looks_at_it and trigger.kind not in ("all", "any"):
        assert decision.send


@every_trigger
def test_zeros_are_decided_on(trigger: Trigger) -> None:
    zeros = torch.zeros(ENTRIES)
    memory: Memory = {}
    for round in (1, 2, 3):
        seen = view(
            round, update=zeros, received=zeros, earlier=(zeros,) * 12, decoded=lambda: zeros, loss=0.0
        )
        decision = trigger.decide(of(trigger, seen), memory)
        assert not math.isnan(decision.quantity)
        assert not math.isnan(decision.threshold)
        memory = decision.sent


@every_trigger
def test_global_generators_are_neither_asked_nor_moved(trigger: Trigger) -> None:
    before = torch.get_rng_state()
    run(trigger, 5)
    assert torch.equal(torch.get_rng_state(), before)


@every_trigger
def test_what_a_rule_asks_for_is_said(trigger: Trigger) -> None:
    asked = properties(trigger)
    assert asked.history >= 0
    assert asked.server_side == isinstance(trigger, ServerSide)


# Single rules.


def sends(trigger: Trigger, *, memory: Memory | None = None, **changes: Any) -> bool:
    return trigger.decide(view(2, **changes), memory or {}).send


def test_always_sends_and_remembers_nothing() -> None:
    assert all(d.send and not d.sent and not d.kept for d in run(Always(), 5))


def test_random_follows_the_key_and_nothing_else() -> None:
    half = Random(probability=0.5)
    of_key = [sends(half, key=Key(1) / i) for i in range(50)]
    assert of_key == [sends(half, key=Key(1) / i, update=torch.zeros(ENTRIES), silence=9) for i in range(50)]
    assert True in of_key
    assert False in of_key


def test_what_is_owed_counts_as_part_of_the_update() -> None:
    ones = torch.ones(4)
    for rule in (Norm(tau=4.0), Relative(epsilon=2.0)):
        fields = {"update": ones, "received": ones}
        assert not sends(rule, **fields)
        assert sends(rule, owed=ones, **fields)
        assert not sends(rule, owed=-ones, **fields)


def test_beside_a_model_of_zeros_any_update_is_long_but_none_of_zeros() -> None:
    zeros = torch.zeros(4)
    rule = Relative(epsilon=1e9)
    assert sends(rule, received=zeros, update=torch.ones(4))
    assert not sends(rule, received=zeros, update=zeros)


def test_a_ue_without_a_rate_does_not_send_whatever_its_share() -> None:
    rule = TRIGGERS.build({"kind": "bandwidth", "tau": 1e-9})
    assert not sends(rule, rate_bps=lambda: 0.0)
    assert not sends(rule, rate_bps=lambda: 0.0, mean_rate_bps=lambda: 0.0)
    assert sends(TRIGGERS.build({"kind": "bandwidth", "tau": 0}), rate_bps=lambda: 0.0)


def test_the_loss_is_compared_with_that_of_the_last_update_which_arrived() -> None:
    rule = LossChange(epsilon=0.5)
    first = rule.decide(view(1, loss=2.0), {})
    assert (first.send, first.quantity) == (True, math.inf)
    assert sends(rule, loss=2.0, memory=first.kept)  # it was lost: still the first
    assert not sends(rule, loss=1.1, memory=first.sent)
    assert sends(rule, loss=1.0, memory=first.sent)
    assert sends(rule, loss=3.0, memory=first.sent)
    held_back = rule.decide(view(2, loss=1.1), first.sent)
    assert held_back.kept == {"loss": 2.0}
    assert not sends(rule, loss=0.0, memory={"loss": 0.0})
    assert sends(rule, loss=1e-9, memory={"loss": 0.0})


def test_only_what_a_rule_needs_is_measured() -> None:
    def never() -> Any:
        raise AssertionError("asked")

    costly = {"decoded": never, "rate_bps": never, "mean_rate_bps": never, "gain": never}
    for trigger in ALL:
        needs = {
            "bandwidth": ("rate_bps", "mean_rate_bps"),
            "channel": ("gain", "rate_bps"),
            "laq": ("decoded",),
            "any": ("decoded",),  # there is a LAQ in one
        }
        spared = {name: ask for name, ask in costly.items() if name not in needs.get(trigger.kind, ())}
        trigger.decide(of(trigger, view(2, **spared)), {})


# Rules that look at models of old.

LAZY = [LAG(), LAQ(), LAG(rounds=3, weight=0.2)]
every_lazy_rule = pytest.mark.parametrize("trigger", LAZY, ids=repr)


@every_lazy_rule
def test_a_lazy_rule_sends_until_a_first_update_has_arrived(trigger: Trigger) -> None:
    decisions = run(trigger, 3, lost=frozenset({1, 2}))
    assert [(d.send, d.quantity) for d in decisions] == [(True, math.inf)] * 3


@every_lazy_rule
def test_an_update_like_the_last_one_is_held_back_and_changes_nothing(trigger: Trigger) -> None:
    same = vector("same")
    first = trigger.decide(view(9, update=same, decoded=lambda: same), {})
    second = trigger.decide(view(10, update=same, decoded=lambda: same), first.sent)
    assert (second.send, second.quantity) == (False, 0.0)
    assert plainly(second.kept) == plainly(first.sent)


@every_lazy_rule
def test_a_lazy_rule_looks_at_as_many_models_as_it_asks_for(trigger: Trigger) -> None:
    seen, more = view(30), view(30, earlier=())
    asked = properties(trigger)
    assert asked.reuses
    assert trigger.decide(of(trigger, seen), {}).threshold == trigger.decide(seen, {}).threshold
    assert trigger.decide(more, {}).threshold < trigger.decide(seen, {}).threshold
    fewer = replace(seen, earlier=seen.earlier[: asked.history - 1])
    assert trigger.decide(fewer, {}).threshold < trigger.decide(seen, {}).threshold


@pytest.mark.parametrize("trigger", [LAG(silence_limit=4), LAQ(silence_limit=4)], ids=repr)
def test_a_ue_that_was_silent_for_longer_than_the_limit_sends(trigger: Trigger) -> None:
    same = vector("same")
    first = trigger.decide(view(9, update=same, decoded=lambda: same), {})
    for silence in range(8):
        seen = view(10, update=same, decoded=lambda: same, silence=silence)
        decision = trigger.decide(seen, first.sent)
        assert decision.send == (silence > 4)
        assert decision.quantity < decision.threshold  # they stay what they are


def wanted(
    rule: LAGServer, *, ue: str = "ue1", told: torch.Tensor | None = None, rate: float = 0.1
) -> Decision:
    model, before = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])
    return rule.wanted(ue=ue, model=model, told=told, earlier=(before,), learning_rate=rate, users=4)


def test_a_base_station_asks_where_an_update_may_have_changed_more_than_the_model_moved() -> None:
    far = torch.tensor([1.0, 12.0])  # 10 away; the model has moved by 2
    one = LAGServer(smoothness=1.0, rounds=1, weight=1.0)
    # (0.1 * 10)^2 = 1 < 4; twice as smooth a loss makes it 4.
    assert (wanted(one, told=far).send, wanted(one, told=far).threshold) == (False, 4.0)
    assert wanted(one, told=far).quantity == pytest.approx(1.0)
    assert wanted(LAGServer(smoothness=2.1, rounds=1, weight=1.0), told=far).send
    assert wanted(one, told=far, rate=0.21).send
    assert wanted(one).send  # never heard of
    assert one.decide(view(), {}).send


def test_each_ue_has_its_own_smoothness() -> None:
    rule, far = LAGServer(smoothness=(1.0, 3.0), rounds=1, weight=1.0), torch.tensor([1.0, 12.0])
    assert [wanted(rule, ue=ue, told=far).send for ue in ("ue0", "ue1")] == [False, True]
    for ue in ("ue2", "me"):
        with pytest.raises(
            ConfigError, match=rf"smoothness has 2 entries and none for '{ue}'; give one for each"
        ):
            wanted(rule, ue=ue, told=far)


# Rules put together.


class _Encodes:
    """Asks what would be decoded, and says no."""

    kind: ClassVar[str] = "encodes"

    def decide(self, view: TriggerView, memory: Memory) -> Decision:
        view.decoded()
        return Decision(False, 0.0, 1.0, {}, {})


def test_all_needs_every_rule_and_any_needs_one() -> None:
    yes, no = {"kind": "silence", "k": 0}, {"kind": "norm", "tau": 1e9}
    for rules in ([yes], [no], [yes, no], [no, yes], [no, no], [yes, yes, no]):
        said = [rule is yes for rule in rules]
        for kind, expected in (("all", all(said)), ("any", any(said))):
            decision = TRIGGERS.build({"kind": kind, "triggers": rules}).decide(view(), {})
            assert decision.send == expected
            assert decision.quantity == sum(said)
            assert decision.threshold == (len(said) if kind == "all" else 1)


def test_each_rule_remembers_what_happened_whoever_asked_for_it() -> None:
    both = AnyOf(triggers=(LossChange(epsilon=0.5), Silence(k=1)))
    first = both.decide(view(1, loss=4.0), {})
    assert first.sent == {"0": {"loss": 4.0}}
    second = both.decide(view(2, loss=3.0, silence=1), first.sent)
    assert (second.send, second.quantity) == (True, 1.0)  # for its silence, not for its loss
    assert second.sent == {"0": {"loss": 3.0}}
    assert second.kept == {"0": {"loss": 4.0}}


def test_rules_of_one_kind_draw_by_themselves_and_remember_by_themselves() -> None:
    half = {"kind": "random", "probability": 0.5}
    counts = [
        TRIGGERS.build({"kind": "all", "triggers": [half, half]}).decide(view(2, key=Key(i)), {}).quantity
        for i in range(40)
    ]
    assert set(counts) == {0.0, 1.0, 2.0}
    clocks = [{"kind": "every", "k": 2}, {"kind": "every", "k": 3}]
    sent = [d.send for d in run(TRIGGERS.build({"kind": "any", "triggers": clocks}), 12)]
    assert sent == [n % 2 == 0 or n % 3 == 0 for n in range(12)]


def test_an_update_is_encoded_once_whoever_asks() -> None:
    asked: list[int] = []
    rules = AnyOf(triggers=(_Encodes(), AnyOf(triggers=(_Encodes(), _Encodes()))))
    rules.decide(view(decoded=lambda: asked.append(1)), {})
    assert asked == [1]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kind": "every", "k": 0}, r"k = 0 must be at least 1; 1 is kind = 'always'"),
        ({"kind": "every", "k": 3, "phase": 3}, r"phase = 3 must be in 0 … 2, or 'drawn'; "),
        ({"kind": "norm", "tau": -1.0}, r"tau = -1.0 must be at least 0 and finite; 0 sends always"),
        ({"kind": "norm", "tau": 1.0, "decay": 1.5}, r"decay = 1.5 must be above 0 and at most 1; "),
        ({"kind": "relative", "epsilon": math.inf}, r"epsilon = inf must be at least 0 and finite; "),
        ({"kind": "loss", "epsilon": -0.1}, r"epsilon = -0.1 must be at least 0 and finite; "),
        ({"kind": "bandwidth", "tau": math.nan}, r"tau = nan must be at least 0 and finite; "),
        ({"kind": "channel"}, r"channel = \[\] must be one of gain and rate_bps; "),
        ({"kind": "channel", "gain": 1.0, "rate_bps": 1.0}, r"one of gain and rate_bps; "),
        ({"kind": "channel", "gain": 0.0}, r"gain = 0.0 must be above 0 and finite; "),
        ({"kind": "silence", "k": -1}, r"k = -1 must be at least 0; "),
        ({"kind": "random", "probability": 1.1}, r"probability = 1.1 must be in 0 … 1"),
        ({"kind": "lag", "rounds": 0}, r"rounds = 0 must be at least 1; 10 is usual"),
        (
            {"kind": "lag", "silence_limit": -1},
            r"silence_limit = -1 must be at least 0; leave it out for none",
        ),
        ({"kind": "laq", "weight": -0.8}, r"weight = -0.8 must be at least 0 and finite; "),
        ({"kind": "lag-server", "smoothness": 0.0}, r"smoothness = 0.0 must be above 0 and finite"),
        ({"kind": "lag-server", "smoothness": []}, r"smoothness = \(\) must be above 0 and finite, one or"),
        (
            {"kind": "any", "triggers": [{"kind": "lag-server", "smoothness": 1.0}]},
            r"triggers\[0\].kind = 'lag-server' must be a rule that the UE evaluates; ",
        ),
        ({"kind": "any", "triggers": []}, r"triggers = \(\) must be at least one rule; "),
        (
            {"kind": "all", "triggers": ["norms"]},
            r"triggers.0.kind = 'norms' is no trigger; did you mean 'norm'",
        ),
    ],
)
def test_a_setting_out_of_range_is_refused_with_a_way_out(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        TRIGGERS.build(settings)
