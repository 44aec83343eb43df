"""Files: arrays as safetensors, metadata as JSON inside them, written all or nothing."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fastmf.errors import FileFormatError

__all__ = ["pack", "read", "unpack", "write"]

_KEY = "fastmf"


def pack(arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> bytes:
    """Arrays and JSON-able metadata as the bytes of one safetensors file."""
    from safetensors.numpy import save

    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(plain, {_KEY: json.dumps(metadata, allow_nan=False, sort_keys=True)})


def unpack(content: bytes, name: str = "the bytes") -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the metadata in the bytes of a file.

    Raises
    ------
    FileFormatError
        Where the bytes are not a whole file that :func:`pack` could have made.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_KEY])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"{name}: not a fastmf file, or damaged ({error})") from error
    if not isinstance(metadata, dict):
        raise FileFormatError(f"{name}: its metadata is no JSON object")
    return arrays, metadata


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Put `content` in place of the file at `path`: a reader sees the old bytes or the new ones, never a mixture.

    The bytes are on the disk when this returns.
    """
    target = Path(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and metadata of a file; raises FileFormatError as :func:`unpack`."""
    return unpack(Path(path).read_bytes(), str(path))


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # other systems cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
