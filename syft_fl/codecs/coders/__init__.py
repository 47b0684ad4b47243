"""Coders: symbols <-> bits, without loss."""

from syft_fl.codecs.coders.coder import CODERS, Alphabet, Coder, Symbols
from syft_fl.codecs.coders.fixed import Fixed
from syft_fl.codecs.coders.packing import symbol_dtype

__all__ = ["CODERS", "Alphabet", "Coder", "Fixed", "Symbols", "symbol_dtype"]
