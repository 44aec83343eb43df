"""Every error fastmf raises on purpose. Each also derives from the built-in a caller would expect."""

__all__ = [
    "CapacityError",
    "DataError",
    "DatasetError",
    "DeviceError",
    "DivergenceError",
    "FastMFError",
    "FileFormatError",
    "MissingExtraError",
    "NotFittedError",
    "StaleDelta",
]


class FastMFError(Exception):
    """Base of all errors raised by fastmf."""


class DataError(FastMFError, ValueError):
    """Input that cannot be used; the message names the column, the row and the value."""


class NotFittedError(FastMFError, ValueError, AttributeError):
    """A question to a model that has learned nothing yet."""


class StaleDelta(FastMFError, ValueError):
    """A Delta that does not belong to the model's present version."""


class DivergenceError(FastMFError, ArithmeticError):
    """Training produced a value that is not finite; the model was left as it was."""


class CapacityError(FastMFError, MemoryError):
    """A table has grown to the memory budget of the model."""


class FileFormatError(FastMFError, ValueError):
    """A file that is not a complete, consistent fastmf file."""


class DeviceError(FastMFError, RuntimeError):
    """A device that was asked for and is not there."""


class DatasetError(FastMFError, OSError):
    """A data set that cannot be obtained or does not match its checksum."""


class MissingExtraError(FastMFError, ImportError):
    """A feature that needs an optional package; the message says how to install it."""
