"""Codecs: vector -> payload -> vector.

======================  =================================  ============================================
kind                    bits                               error
======================  =================================  ============================================
``float32``             32 an entry                        none
``float16``             16 an entry                        2**-11 of the entry; saturates at 65504
``bfloat16``            16 an entry                        2**-8 of the entry
``fp8``                 8 an entry, 32 a group             2**-4 or 2**-3 of the entry
``block-float``         2 … 16 an entry, 8 a group         half a step
``uniform``             1 … 16 an entry, 32 or 64 a group  half a step, or unbiased within a step
``dithered``            2 … 16 an entry, 32 a group        unbiased; half a step, whatever the entry
``lloyd-max``           1 … 8 an entry, 32 a group         least mean square error of a Gaussian or Laplacian
``laq``                 1 … 16 an entry, 32 a group        half a step, of a grid around the last vector
``logarithmic``         2 … 8 an entry, 32 a group         a share of the entry
``natural``             9 an entry                         unbiased; variance x**2 / 8
``qsgd``                2 … 16 an entry, 32 a group        unbiased; variance within theorem 3.2's bound
``natural-dithering``   2 … 8 an entry, 32 a group         unbiased; levels are powers of two
``terngrad``            2 an entry, 32 a group             unbiased
``sign``                1 an entry, 32 a group             1 - 2/pi of a Gaussian's energy
``one-bit``             1 an entry, 64 a group             as little as two levels allow, given the signs
``rotated``             those of the codec behind it       its error, spread evenly
``drive``               1 an entry, 32 a block             unbiased; 0.571 of the energy
``eden``                up to 8 an entry, 32 a block       unbiased; D_b / (1 - D_b) of the energy
``uveqfed``             entropy, 2.1 an entry at step 1    unbiased; uniform on a lattice's cell
``top-k``               32 and an index of each sent       (1 - k/d) of the energy at the most
``rand-k``              32 of each sent                    unbiased; variance (d/k - 1) x**2
``threshold``           32 and an index of each sent       below the threshold
``powersgd``            32 r (m + n) a matrix of m by n    that of a matrix of rank r; in time the least
``count-sketch``        8 an entry at share 1/4            what is not among the largest; sketches add up
``layered``             those of the codecs behind it      theirs, each on its tensors
``clipped``             those of the codec behind it       its error, and what is clipped
``adaquantfl``          16, and the codec's behind it      its error, at levels that rise as the loss falls
``dadaquant``           16, and the codec's behind it      its error, at levels by plateaus and weights
``scheduled``           16, and the codec's behind it      its error, at levels by the round
======================  =================================  ============================================

Bits an entry are those of ``Fixed`` words; another coder (:mod:`syft_fl.codecs.coders`) may take fewer.

A codec is a frozen dataclass with a ``kind``; it holds no state and knows no seconds
(:mod:`syft_fl.codecs.codec`). Payloads have no header: what does not follow from the settings and the layout, which
both ends know, is among the bytes that are charged. Vectors of many UEs go together through :func:`encode_batch` and
:func:`decode_batch`. To add one, write a module with a class decorated by :data:`CODECS` and import it here; the
contract suite then tests it.

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

from syft_fl.codecs.adaptive import Adaptive, AdaQuantFL, DAdaQuant, Scheduled
from syft_fl.codecs.batch import decode_batch, encode_batch, side_by_side
from syft_fl.codecs.clipped import Clipped
from syft_fl.codecs.codec import CODECS, Codec, Context, Erasable, Gaps, Memory, Part, Payload, Summing
from syft_fl.codecs.dithered import Dithered
from syft_fl.codecs.eden import Drive, Eden
from syft_fl.codecs.erasure import blanked, cut, erasable_kinds, why_not_erasable
from syft_fl.codecs.floats import Float16, Float32
from syft_fl.codecs.innovation import Innovation
from syft_fl.codecs.layered import Layered, Rule
from syft_fl.codecs.lloyd_max import LloydMax
from syft_fl.codecs.logarithmic import Logarithmic
from syft_fl.codecs.minifloats import FP8, BFloat16, BlockFloat
from syft_fl.codecs.natural import NaturalCompression, NaturalDithering
from syft_fl.codecs.nested import needs_loss
from syft_fl.codecs.powersgd import PowerSGD
from syft_fl.codecs.qsgd import QSGD
from syft_fl.codecs.rotated import Rotated
from syft_fl.codecs.signs import OneBit, ScaledSign
from syft_fl.codecs.sketch import CountSketch
from syft_fl.codecs.sparse import RandK, Threshold, TopK
from syft_fl.codecs.terngrad import TernGrad
from syft_fl.codecs.uniform import Uniform
from syft_fl.codecs.uveqfed import UVeQFed

__all__ = [
    "CODECS",
    "FP8",
    "QSGD",
    "AdaQuantFL",
    "Adaptive",
    "BFloat16",
    "BlockFloat",
    "Clipped",
    "Codec",
    "Context",
    "CountSketch",
    "DAdaQuant",
    "Dithered",
    "Drive",
    "Eden",
    "Erasable",
    "Float16",
    "Float32",
    "Gaps",
    "Innovation",
    "Layered",
    "LloydMax",
    "Logarithmic",
    "Memory",
    "NaturalCompression",
    "NaturalDithering",
    "OneBit",
    "Part",
    "Payload",
    "PowerSGD",
    "RandK",
    "Rotated",
    "Rule",
    "ScaledSign",
    "Scheduled",
    "Summing",
    "TernGrad",
    "Threshold",
    "TopK",
    "UVeQFed",
    "Uniform",
    "blanked",
    "cut",
    "decode_batch",
    "encode_batch",
    "erasable_kinds",
    "needs_loss",
    "side_by_side",
    "why_not_erasable",
]
