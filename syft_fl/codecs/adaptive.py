"""Rules that choose a quantiser's fineness message by message: by the loss, by the sender's weight, by the round.

What a rule knows only at the sender is not needed at the receiver: the number that it chose is in the payload.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from syft_fl.codecs.codec import CODECS, Codec, Context, Erasable, Gaps, Memory, Part, Payload
from syft_fl.codecs.erasure import blanked, cut, why_not_erasable
from syft_fl.codecs.nested import inner_context, inner_payload, merged
from syft_fl.codecs.qsgd import QSGD
from syft_fl.errors import CodecError, ConfigError
from syft_fl.schema import require, schema
from syft_fl.vectors import Vector

__all__ = ["AdaQuantFL", "Adaptive", "DAdaQuant", "Scheduled"]

_FIELDS = ("levels", "bits")
_NUMBER_BYTES = 2
_MOST = 65535  # what the number's bytes hold


class Adaptive(abc.ABC):
    """A codec around a quantiser whose ``levels`` or ``bits`` are chosen for each message.

    Abstract: a rule says which number it is. The quantiser may itself be behind another codec (``rotated``,
    ``clipped``, ``top-k``, …). The payload is the number (16 bits, little-endian), then what the codec with it wrote;
    an empty vector has no number. Of what came in part, the codec decodes its own; without the number nothing can be.
    """

    codec: Codec

    @abc.abstractmethod
    def choose(self, ctx: Context) -> tuple[int, Memory]:
        """The number for a message, and what the sender remembers of it once the message has arrived."""

    def encode(self, x: Vector, *, ctx: Context) -> tuple[Payload, Memory]:
        number, memory = self.choose(ctx)
        written, inner = self._with(number).encode(x, ctx=inner_context(ctx, ctx.layout))
        if not ctx.layout.length:
            return written, ctx.memory
        head = number.to_bytes(_NUMBER_BYTES, "little")
        return Payload(b"".join((head, written.body)), 8 * _NUMBER_BYTES + written.bits), merged(
            memory, inner
        )

    def decode(self, payload: Payload, *, ctx: Context) -> tuple[Vector, Memory]:
        codec = self.codec
        if ctx.layout.length:
            behind = inner_payload(payload, side_bytes=_NUMBER_BYTES)
            codec = self._with(self._read(payload))
            payload = behind
        x, inner = codec.decode(payload, ctx=inner_context(ctx, ctx.layout))
        return x, merged(ctx.memory, inner)

    @property
    def erasable(self) -> bool:
        return not why_not_erasable(self.codec)

    def decode_part(self, payload: Payload, gaps: Gaps, *, ctx: Context) -> Part | None:
        if not ctx.layout.length:
            return Part(*self.decode(payload, ctx=ctx), 1.0)
        head = 8 * _NUMBER_BYTES
        if cut(gaps, 0, head):
            return None
        payload = Payload(blanked(payload.body, gaps), payload.bits)
        behind = inner_payload(payload, side_bytes=_NUMBER_BYTES)
        codec = self._with(self._read(payload))
        assert isinstance(codec, Erasable)
        part = codec.decode_part(behind, cut(gaps, head, payload.bits), ctx=inner_context(ctx, ctx.layout))
        return None if part is None else dataclasses.replace(part, memory=merged(ctx.memory, part.memory))

    def _read(self, payload: Payload) -> int:
        number = int.from_bytes(payload.body[:_NUMBER_BYTES], "little")
        least, most = self.span
        if not least <= number <= most:
            raise CodecError(
                f"{self.field} = {number} in the payload is not in {least} … {most}; the bytes are damaged"
            )
        return number

    @cached_property
    def field(self) -> str:
        """What is chosen: the quantiser's ``levels`` or ``bits``."""
        found = _field(self.codec)
        if found is None:
            kind = getattr(self.codec, "kind", type(self.codec).__name__)
            require(False, "codec", kind, "a quantiser with levels or bits, or around one", "such as 'qsgd'")
        return str(found)

    @cached_property
    def span(self) -> tuple[int, int]:
        """The least and the largest number that the quantiser takes, within 1 … 65535."""
        # Numbers that are allowed follow on each other; the codec's own is one.
        inside = max(1, math.ceil(getattr(_tuned(self.codec, self.field), self.field)))
        least = next((n for n in range(1, inside) if self._takes(n)), inside)
        most, above = inside, _MOST + 1
        while above - most > 1:
            middle = (most + above) // 2
            most, above = (middle, above) if self._takes(middle) else (most, middle)
        return least, most

    def number(self, levels: float) -> int:
        r"""The number for so many levels, the nearest that the quantiser takes.

        Of ``bits`` the fewest whose words tell :math:`s` steps apart: :math:`\lceil\log_2(s + 1)\rceil`.
        """
        whole = math.floor(min(max(levels, 1.0), float(_MOST)) + 0.5)
        least, most = self.span
        return min(max(whole.bit_length() if self.field == "bits" else whole, least), most)

    def _require_taken(self, name: str, value: int) -> None:
        least, most = self.span
        require(least <= value <= most, name, value, f"in {least} … {most}, the {self.field} of the codec")

    def _takes(self, number: int) -> bool:
        try:
            self._with(number)
        except ConfigError:
            return False
        return True

    def _with(self, number: int) -> Codec:
        return _with(self.codec, self.field, number)


def _field(codec: Any) -> str | None:
    names = {field.name for field in dataclasses.fields(codec)} if dataclasses.is_dataclass(codec) else set()
    found = next((name for name in _FIELDS if name in names), None)
    return _field(codec.codec) if found is None and "codec" in names else found


def _tuned(codec: Any, field: str) -> Any:
    return codec if hasattr(codec, field) else _tuned(codec.codec, field)


def _with(codec: Any, field: str, number: int) -> Codec:
    if hasattr(codec, field):
        return dataclasses.replace(codec, **{field: number})  # type: ignore[no-any-return]
    return dataclasses.replace(codec, codec=_with(codec.codec, field, number))  # type: ignore[no-any-return]


@CODECS
@schema
class AdaQuantFL(Adaptive):
    r"""Levels that grow as the training loss falls.

    .. math:: s_k = s_0 \sqrt{F(w_0) / F(w_k)}

    At first an error is small beside what is left to learn; later a coarse quantiser's noise is a floor of the loss.

    The loss is the one that came with the model that the UE was sent: the mean, by samples, of the training losses
    that the uploads of the last round reported. Each model's frame, either way, has 4 bytes more for it. Where it is
    not known (in the first round; with workers' ``send`` and ``get``, which report none) the levels are ``first``.
    :math:`F(w_0)` is the first that a UE hears of.

    Attributes:
        first: :math:`s_0`, 1 or more, as far as the quantiser takes it.
        codec: the quantiser. One with ``bits`` gets the fewest that tell :math:`s` steps apart.

    Payload: 16 bits for the quantiser's ``levels`` or ``bits``, then its own. Rounded to whole levels, and to what it
    takes.

    Source: Jhunjhunwala, Gadhikar, Joshi, Eldar 2021, "Adaptive Quantization of Model Updates for
    Communication-Efficient Federated Learning", section 3. Differs from it in: losses are means over local training,
    and a round old; the quantiser is chosen freely, QSGD in buckets by default.
    """

    kind: ClassVar[str] = "adaquantfl"
    lossless: ClassVar[bool] = False
    needs_loss: ClassVar[bool] = True
    paper: ClassVar[str] = "Jhunjhunwala et al. 2021, AdaQuantFL"
    bound: ClassVar[str] = "that of the codec behind it, at the levels that are in the payload"

    first: int = 2
    codec: Annotated[Codec, CODECS] = QSGD()

    def __post_init__(self) -> None:
        require(1 <= self.first <= _MOST, "first", self.first, f"in 1 … {_MOST}", "levels of the first round")
        _ = self.field

    def choose(self, ctx: Context) -> tuple[int, Memory]:
        if not math.isfinite(ctx.loss):
            return self.number(self.first), ctx.memory
        start = ctx.memory.get("first_loss", ctx.loss)
        memory = {**ctx.memory, "first_loss": start}
        if ctx.loss <= 0 or start <= 0:
            # Nothing is left to learn: as fine as it goes. A first loss of 0 says nothing of later ones.
            return self.number(math.inf if start > 0 else self.first), memory if start > 0 else ctx.memory
        return self.number(self.first * math.sqrt(start / ctx.loss)), memory


@CODECS
@schema
class DAdaQuant(Adaptive):
    r"""Levels that double when the loss stays where it is, and that are more for a UE that weighs more.

    *In time*: with :math:`G_t` the training loss of a round, as in :class:`AdaQuantFL`, and its running average

    .. math:: \hat G_t = \psi \hat G_{t-1} + (1 - \psi) G_t

    the levels :math:`q` double when :math:`\hat G_t \ge \hat G_{t-\varphi}`, and :math:`q` has been the same for
    these :math:`\varphi` rounds. Where the loss is not known, nothing changes.

    *By UE*: with :math:`w_i` its samples relative to the mean of the UEs

    .. math:: q_i = q\, w_i^{2/3} .

    As the variance of the mean is in proportion to :math:`\sum_i (w_i/q_i)^2`, that is the way to share out
    :math:`\sum_i q_i` that makes it least. By Jensen's inequality neither :math:`\sum_i q_i` nor the variance is ever
    more than with :math:`q` levels for all.

    Attributes:
        first: :math:`q` at first, 1 or more.
        most: where :math:`q` stops doubling, at least ``first``.
        rounds: :math:`\varphi`, 1 or more, counted in uploads of this UE.
        smoothing: :math:`\psi`, 0 … below 1.
        by_weight: whether levels follow the UE's weight.
        codec: the quantiser. One with ``bits`` gets the fewest that tell :math:`q_i` steps apart.

    Payload: 16 bits for the quantiser's ``levels`` or ``bits``, then its own. Rounded to whole levels, and to what it
    takes.

    Source: Hönig, Zhao, Mullins 2022, "DAdaQuant: Doubly-adaptive quantization for communication-efficient Federated
    Learning", sections 3.2 and 3.3. Differs from it in: each UE keeps the average of the losses that it was told of;
    :math:`w_i` is relative to the mean of all UEs that the base station has heard of, where the paper scales
    :math:`q_i` by a common factor until the variance is that of equal levels.
    """

    kind: ClassVar[str] = "dadaquant"
    lossless: ClassVar[bool] = False
    needs_loss: ClassVar[bool] = True
    paper: ClassVar[str] = "Hönig, Zhao, Mullins 2022, DAdaQuant"
    bound: ClassVar[str] = "that of the codec behind it, at the levels that are in the payload"

    first: int = 1
    most: int = 255
    rounds: int = 10
    smoothing: float = 0.9
    by_weight: bool = True
    codec: Annotated[Codec, CODECS] = QSGD()

    def __post_init__(self) -> None:
        require(1 <= self.first <= _MOST, "first", self.first, f"in 1 … {_MOST}", "levels of the first round")
        require(self.first <= self.most <= _MOST, "most", self.most, f"in {self.first} … {_MOST}", "raise it")
        require(self.rounds >= 1, "rounds", self.rounds, "1 or more", "a tenth of all rounds is usual")
        require(0 <= self.smoothing < 1, "smoothing", self.smoothing, "in 0 … below 1", "0 averages nothing")
        _ = self.field

    def choose(self, ctx: Context) -> tuple[int, Memory]:
        levels, averages = ctx.memory.get("levels", self.first), list(ctx.memory.get("averages", ()))
        memory = ctx.memory
        if math.isfinite(ctx.loss):
            before = averages[-1] if averages else ctx.loss
            averages.append(self.smoothing * before + (1 - self.smoothing) * ctx.loss)
            averages = averages[-self.rounds - 1 :]
            if len(averages) > self.rounds and averages[-1] >= averages[0] and levels < self.most:
                levels, averages = min(2 * levels, self.most), averages[-1:]
            memory = {**ctx.memory, "levels": levels, "averages": averages}
        share = ctx.weight ** (2 / 3) if self.by_weight else 1.0
        return self.number(levels * share), memory


@CODECS
@schema
class Scheduled(Adaptive):
    r"""Levels, or bits, that go from one number to another in so many rounds, up or down, and then stay there.

    With :math:`t = \min((k - 1)/(K - 1), 1)` in round :math:`k = 1, 2, …`

    .. math:: n_k = n_1 + (n_K - n_1)\,t \quad\text{(linear)}, \qquad n_k = n_1 (n_K/n_1)^t
        \quad\text{(geometric)}

    rounded to a whole number. Whether to start coarse or to end coarse is in dispute: loss-driven rules rise, others
    hold that early updates are the ones that matter.

    Attributes:
        first, last: the quantiser's ``levels``, or its ``bits`` if it has these, in round 1 and from round ``rounds``
            on; whatever the quantiser takes.
        rounds: :math:`K`, 2 or more.
        course: ``"linear"`` or ``"geometric"``.
        codec: the quantiser.

    Payload: 16 bits for the quantiser's ``levels`` or ``bits``, then its own.

    Source: the schedules that :class:`AdaQuantFL` and :class:`DAdaQuant` are held against: Jhunjhunwala et al. 2021;
    Hönig et al. 2022. Differs from them in: nothing is measured.
    """

    kind: ClassVar[str] = "scheduled"
    lossless: ClassVar[bool] = False
    paper: ClassVar[str] = "Jhunjhunwala et al. 2021, AdaQuantFL; Hönig, Zhao, Mullins 2022, DAdaQuant"
    bound: ClassVar[str] = "that of the codec behind it, at the levels that are in the payload"

    first: int = 7
    last: int = 1
    rounds: int = 100
    course: Literal["linear", "geometric"] = "linear"
    codec: Annotated[Codec, CODECS] = QSGD()

    def __post_init__(self) -> None:
        self._require_taken("first", self.first)
        self._require_taken("last", self.last)
        require(self.rounds >= 2, "rounds", self.rounds, "2 or more", "for one number use the codec alone")

    def choose(self, ctx: Context) -> tuple[int, Memory]:
        part = min(max((ctx.round - 1) / (self.rounds - 1), 0.0), 1.0)
        if self.course == "linear":
            number = self.first + (self.last - self.first) * part
        else:
            number = self.first * (self.last / self.first) ** part
        return math.floor(number + 0.5), ctx.memory
