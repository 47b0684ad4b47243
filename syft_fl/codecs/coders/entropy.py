"""Entropy coders: as many bits as the symbols' entropy, by the constriction library.

Both share three ways to know how often symbols occur (:data:`Model`) and differ in order and overhead: a range coder
is a queue and ends on a whole byte; ANS is a stack, written from the last symbol to the first, and a little quicker
and closer to the entropy.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
from constriction import stream  # type: ignore[import-untyped]
from numpy.typing import NDArray

from syft_fl.codecs.codec import Payload
from syft_fl.codecs.coders.bits import checked
from syft_fl.codecs.coders.coder import CODERS, Alphabet, Symbols, refuse_foreign
from syft_fl.codecs.coders.histogram import read_histogram, write_histogram
from syft_fl.codecs.coders.packing import symbol_dtype
from syft_fl.codecs.coders.radix import digits, grouped, joint_weights, symbols_in_one
from syft_fl.errors import CodecError, ConfigError
from syft_fl.schema import schema

__all__ = ["ANS", "Model", "Range"]

Model = Literal["sent", "static", "adaptive"]
"""How both ends know the probabilities of symbols.

- ``"sent"``: the histogram goes before the symbols, as short as it is worth
  (:mod:`syft_fl.codecs.coders.histogram`), and is charged.
- ``"static"``: the quantiser knows them by theory (``Alphabet.prior``), so nothing is sent; a quantiser that knows
  none is refused.
- ``"adaptive"``: from the symbols before, block by block, each a quarter as long as all before it; nothing is sent.
  With :math:`c` occurrences so far a symbol has weight :math:`c + 1/2` (Krichevsky and Trofimov 1981, "The
  Performance of Universal Encoding"). The best where symbols are few and alphabets large.
"""

_JOINT_SYMBOLS = 1024  # each takes 2**-24 of the whole at least, which begins to show where there are more
_PRIOR_UNITS = 2.0**24
_FIRST_BLOCK = 32

_Part = tuple[NDArray[np.int32], Any]
"""Symbols, and constriction's model of them."""


class _EntropyCoder(abc.ABC):
    """Symbols under models. Abstract: a coder says how parts become bytes."""

    model: Model

    @abc.abstractmethod
    def _encode(self, parts: list[_Part]) -> Payload: ...

    @abc.abstractmethod
    def _decoder(self, body: bytes, bits: int) -> Any:
        """What hands out the symbols of parts, the first one first."""

    @abc.abstractmethod
    def _finished(self, decoder: Any) -> bool:
        """Whether nothing may be left."""

    def write(self, symbols: Symbols, alphabet: Alphabet) -> Payload:
        refuse_foreign(symbols, alphabet)
        if not symbols.size or alphabet.size == 1:
            return Payload(b"", 0)
        if self.model == "adaptive":
            return self._encode(list(_adapted(symbols, alphabet.size)))
        if self.model == "static":
            return self._encode(list(_parts(symbols, _prior(alphabet))))
        side = write_histogram(np.bincount(symbols, minlength=alphabet.size))
        used, weights, _ = read_histogram(memoryview(side), alphabet.size)
        if used.size == 1:
            return Payload(side, 8 * len(side))
        ranks = np.zeros(alphabet.size, symbol_dtype((used.size - 1).bit_length()))
        ranks[used] = np.arange(used.size)
        words = self._encode(list(_parts(ranks.take(symbols), weights)))
        return Payload(side + bytes(words.body), 8 * len(side) + words.bits)

    def read(self, body: memoryview, bits: int, alphabet: Alphabet, *, count: int) -> Symbols:
        checked(body, bits)
        dtype = symbol_dtype(alphabet.bits)
        if not count or alphabet.size == 1:
            checked(body, 0)
            return np.zeros(count, dtype)
        symbols: Symbols
        if self.model == "adaptive":
            decoder = self._decoder(bytes(body), bits)
            symbols = _read_adapted(decoder, alphabet.size, count)
        elif self.model == "static":
            decoder = self._decoder(bytes(body), bits)
            symbols = _read(decoder, _prior(alphabet), count)
        else:
            used, weights, size = read_histogram(body, alphabet.size)
            checked(body[size:], bits - 8 * size)
            if used.size == 1:
                checked(body[size:], 0)
                return np.full(count, used[0], dtype)
            decoder = self._decoder(bytes(body[size:]), bits - 8 * size)
            named: Symbols = used.astype(dtype)
            symbols = named.take(_read(decoder, weights, count))
        if not self._finished(decoder):
            raise CodecError(
                f"{count} symbols do not use all of {bits} bits; the bytes are damaged, or of another architecture"
            )
        return symbols


@CODERS
@schema
class Range(_EntropyCoder):
    """Range coding: within 1.4e-4 bit a symbol of the entropy (1e-4 for alphabets up to 32), and 33 bits in all.

    Attributes:
        model: how both ends know the probabilities: :data:`Model`.

    Small alphabets are coded several symbols at a time (:mod:`syft_fl.codecs.coders.radix`): the coder's range has
    32 to 64 bits, of which probabilities of 24 bits leave a part unused, 1.3e-4 bit each time in the mean.

    Source: Martin 1979, "Range encoding: an algorithm for removing redundancy from a digitised message";
    Bamler 2022, "Understanding Entropy Coding With Asymmetric Numeral Systems (ANS): a Statistician's Perspective"
    (constriction). Differs from it in: zero bytes at the end are not sent; a decoder reads zeros past the end.
    """

    kind: ClassVar[str] = "range"

    model: Model = "sent"

    def _encode(self, parts: list[_Part]) -> Payload:
        encoder = stream.queue.RangeEncoder()
        for symbols, model in parts:
            encoder.encode(symbols, model)
        body = encoder.get_compressed().astype(">u4").tobytes().rstrip(b"\0")
        return Payload(body, 8 * len(body))

    def _decoder(self, body: bytes, bits: int) -> Any:
        return stream.queue.RangeDecoder(np.frombuffer(_whole_words(body), ">u4").astype(np.uint32))

    def _finished(self, decoder: Any) -> bool:
        return bool(decoder.maybe_exhausted())


@CODERS
@schema
class ANS(_EntropyCoder):
    """Asymmetric numeral systems: within 4e-5 bit a symbol of the entropy, and 23 bits in all.

    Attributes:
        model: how both ends know the probabilities: :data:`Model`.

    Source: Duda 2013, "Asymmetric numeral systems: entropy coding combining speed of Huffman coding with
    compression rate of arithmetic coding"; Bamler 2022 (constriction). Differs from it in: the zero bits at the top
    of the last state are not sent; alphabets up to 32 are coded several symbols at a time.
    """

    kind: ClassVar[str] = "ans"

    model: Model = "sent"

    def _encode(self, parts: list[_Part]) -> Payload:
        coder = stream.stack.AnsCoder()
        for symbols, model in reversed(parts):
            coder.encode_reverse(symbols, model)
        body = coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")
        return Payload(body, 8 * (len(body) - 1) + body[-1].bit_length() if body else 0)

    def _decoder(self, body: bytes, bits: int) -> Any:
        if bits % 8:
            body = body[:-1] + bytes([body[-1] & (1 << bits % 8) - 1])
        words = np.frombuffer(_whole_words(body), "<u4").astype(np.uint32)
        if words.size and words[-1] == 0:
            raise CodecError(f"{bits} bits of symbols end with a zero word; the bytes are damaged")
        return stream.stack.AnsCoder(words)

    def _finished(self, decoder: Any) -> bool:
        return bool(decoder.is_empty())


def _whole_words(body: bytes) -> bytes:
    return body + bytes(-len(body) % 4)


def _model(weights: NDArray[Any], group: int) -> Any:
    return stream.model.Categorical(joint_weights(weights, group), perfect=False)


def _parts(symbols: Symbols, weights: NDArray[Any]) -> Iterator[_Part]:
    """Symbols in groups as large as they go, then those left over one by one."""
    group = symbols_in_one(weights.size, limit=_JOINT_SYMBOLS)
    whole = symbols.size - symbols.size % group
    if whole:
        yield grouped(symbols[:whole], weights.size, group), _model(weights, group)
    if whole < symbols.size:
        yield symbols[whole:].astype(np.int32), _model(weights, 1)


def _read(decoder: Any, weights: NDArray[Any], count: int) -> Symbols:
    """[count] symbols of parts that :func:`_parts` made."""
    group = symbols_in_one(weights.size, limit=_JOINT_SYMBOLS)
    found = []
    for each, numbers in ((group, count // group), (1, count % group)):
        if numbers:
            try:
                joint = decoder.decode(_model(weights, each), numbers)
            except AssertionError:  # what constriction says of words that it never writes
                raise CodecError(
                    f"the bytes are no {count} symbols under this model; they are damaged"
                ) from None
            found.append(digits(weights.size, each).take(joint, axis=0).reshape(-1))
    return np.concatenate(found)


def _prior(alphabet: Alphabet) -> NDArray[np.float64]:
    """[size] weights; whole numbers, so that two machines whose last bits differ still agree.

    Raises:
        ConfigError: the quantiser knows none.
    """
    if alphabet.prior is None:
        raise ConfigError(
            "model = 'static' must be used with a quantiser that knows the probabilities of its symbols "
            "(as 'lloyd-max' does); else use model = 'sent' or 'adaptive'"
        )
    weights: NDArray[np.float64] = np.maximum(np.rint(alphabet.prior * _PRIOR_UNITS), 1)
    return weights


def _blocks(count: int) -> Iterator[slice]:
    stop = 0
    while stop < count:
        start, stop = stop, min(count, stop + max(_FIRST_BLOCK, stop // 4))
        yield slice(start, stop)


def _adapted(symbols: Symbols, size: int) -> Iterator[_Part]:
    counts = np.zeros(size, np.int64)
    for block in _blocks(symbols.size):
        yield from _parts(symbols[block], 2 * counts + 1)
        counts += np.bincount(symbols[block], minlength=size)


def _read_adapted(decoder: Any, size: int, count: int) -> Symbols:
    counts = np.zeros(size, np.int64)
    symbols = np.empty(count, symbol_dtype((size - 1).bit_length()))
    for block in _blocks(count):
        symbols[block] = _read(decoder, 2 * counts + 1, block.stop - block.start)
        counts += np.bincount(symbols[block], minlength=size)
    return symbols
