"""Coders: symbols <-> bits, without loss. Any quantiser goes with any coder.

==================  ============================================  ===============================================
kind                bits for n symbols                            when
==================  ============================================  ===============================================
``fixed``           n * ceil(log2 size)                           size and time known beforehand; the quickest
``elias-gamma``     2 * floor(log2 place) + 1 each                most symbols are at the centre; nothing to learn
``elias-delta``     about log2 place + 2 * log2 log2 place each   the same, with a wide alphabet
``range``           entropy, 33 and 1.4e-4 each at the most       close to the least; and the model's bits
``ans``             entropy, 23 and 4e-5 each at the most         the same, a little quicker and closer
``zstd``            what comes out                                a general compressor, as a baseline
==================  ============================================  ===============================================

``range`` and ``ans`` need to know how often symbols occur: sent before them, known by theory, or learnt on the way
(:data:`~syft_fl.codecs.coders.entropy.Model`). Sets of indices, which sparse codecs send, have a code of their own:
:mod:`syft_fl.codecs.coders.indices`.

To add a coder, write a module with a class decorated by :data:`CODERS` and import it here; ``tests/contracts`` then
tests it.

Example:
    >>> import numpy as np
    >>> alphabet = Alphabet(15, centre=7)
    >>> symbols = np.array([7, 7, 8, 7, 6, 7, 7, 7], np.uint8)
    >>> {kind: CODERS.build(kind).write(symbols, alphabet).bits for kind in ("fixed", "elias-gamma")}
    {'fixed': 32, 'elias-gamma': 12}
"""

from syft_fl.codecs.coders.coder import CODERS, Alphabet, Coder, Located, Symbols
from syft_fl.codecs.coders.elias import EliasDelta, EliasGamma
from syft_fl.codecs.coders.entropy import ANS, Range
from syft_fl.codecs.coders.fixed import Fixed
from syft_fl.codecs.coders.indices import read_indices, write_indices
from syft_fl.codecs.coders.packing import symbol_dtype
from syft_fl.codecs.coders.zstd import Zstd

__all__ = [
    "ANS",
    "CODERS",
    "Alphabet",
    "Coder",
    "EliasDelta",
    "EliasGamma",
    "Fixed",
    "Located",
    "Range",
    "Symbols",
    "Zstd",
    "read_indices",
    "symbol_dtype",
    "write_indices",
]
