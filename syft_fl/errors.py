"""The exception tree.

::

    SyftFLError
    ├── ConfigError(ValueError)            a scenario, a field, a command-line value
    ├── CodecError(ValueError)             a vector that can't be encoded, bytes that can't be decoded
    ├── ClockError(ValueError)             an event in the past, a time that is no number
    ├── DataError(RuntimeError)            a data set that is missing, damaged or too small
    ├── RunError(RuntimeError)             a result folder that can't be written, resumed or read
    ├── TransportError(RuntimeError)       a message that can't be sent
    │   └── FrameError                     bytes that are not a frame: wrong CRC, cut short
    └── WorkerError(RuntimeError)          a misuse of virtual workers
        ├── TensorsNotCollocatedException  operands of one operation at different places
        ├── ObjectNotFoundError            the worker holds no such object
        └── CannotRequestObjectAttribute   an attribute that can't be fetched by itself

What the model predicts (a lost packet, a straggler) is a value, never an exception;
what a person got wrong is an exception, with the name, the value, the rule and the way out.
"""

from __future__ import annotations

__all__ = [
    "CannotRequestObjectAttribute",
    "ClockError",
    "CodecError",
    "ConfigError",
    "DataError",
    "FrameError",
    "ObjectNotFoundError",
    "RunError",
    "SyftFLError",
    "TensorsNotCollocatedException",
    "TransportError",
    "WorkerError",
]


class SyftFLError(Exception):
    """Everything that this package raises on purpose."""


class ConfigError(SyftFLError, ValueError):
    """A value that breaks a rule; the message names the field, the value, the rule and the way out."""


class CodecError(SyftFLError, ValueError):
    """A vector that a codec can't encode, or bytes that it can't decode."""


class ClockError(SyftFLError, ValueError):
    """An event in the past, or a time that is not a finite number."""


class DataError(SyftFLError, RuntimeError):
    """A data set that is missing, damaged, or too small for what is asked of it."""


class RunError(SyftFLError, RuntimeError):
    """A result folder that can't be written, resumed or read."""


class TransportError(SyftFLError, RuntimeError):
    """A message that can't be sent, or a reference that nobody holds."""


class FrameError(TransportError):
    """Bytes that are not a whole, undamaged frame."""


class WorkerError(SyftFLError, RuntimeError):
    """A misuse of virtual workers and pointers."""


class TensorsNotCollocatedException(WorkerError):
    """The operands of one operation are at different places (PySyft's name)."""


class ObjectNotFoundError(WorkerError):
    """The worker holds no such object (PySyft's name)."""


class CannotRequestObjectAttribute(WorkerError):
    """An attribute of a remote object that can't be fetched by itself (PySyft's name)."""
