"""Codecs: vector -> payload -> vector.

======================  ==================================  ===========================================
kind                    bits                                error
======================  ==================================  ===========================================
``float32``             32 an entry                         none
``float16``             16 an entry                         2**-11 of the entry; saturates at 65504
``uniform``             1 … 16 an entry, 64 a group         half a step, or unbiased within a step
``qsgd``                2 … 16 an entry, 32 a bucket        unbiased; variance within theorem 3.2's bound
======================  ==================================  ===========================================

A codec is a frozen dataclass with a ``kind``; it holds no state and knows no seconds
(:mod:`syft_fl.codecs.codec`). Payloads have no header: all sizes follow from the settings and the layout, which both
ends know. To add one, write a module with a class decorated by :data:`CODECS` and import it here; the contract
suite then tests it.

Example:
    >>> import torch
    >>> from syft_fl.keys import Key
    >>> from syft_fl.vectors import Layout
    >>> context = Context(Layout.flat(5), Key(0))
    >>> codec = CODECS.build({"kind": "uniform", "bits": 2})
    >>> payload, _ = codec.encode(torch.tensor([0.0, 0.1, 1.1, 2.2, 3.0]), ctx=context)
    >>> payload.bits  # two ends of 32 bits, five symbols of 2
    74
    >>> codec.decode(payload, ctx=context)[0].tolist()
    [0.0, 0.0, 1.0, 2.0, 3.0]
"""

from __future__ import annotations

from syft_fl.codecs.codec import CODECS, Codec, Context, Memory, Payload
from syft_fl.codecs.floats import Float16, Float32
from syft_fl.codecs.qsgd import QSGD
from syft_fl.codecs.uniform import Uniform

__all__ = ["CODECS", "QSGD", "Codec", "Context", "Float16", "Float32", "Memory", "Payload", "Uniform"]
