"""Files: arrays as safetensors, metadata as JSON inside them, written all or nothing."""

from __future__ import annotations

import json
import os
import uuid
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from fastmf.errors import FileFormatError

__all__ = ["pack", "read", "unpack", "write"]

_KEY = "fastmf"  # in the file's own metadata: the checksum, a space, the JSON (one key, for their order is not kept)


def pack(arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> bytes:
    """Arrays and JSON-able metadata, with a checksum of both, as the bytes of one safetensors file."""
    from safetensors.numpy import save

    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(metadata, allow_nan=False, sort_keys=True)
    return save(plain, {_KEY: f"{_checksum(plain, text):08x} {text}"})


def unpack(content: bytes, name: str = "the bytes") -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the metadata in the bytes of a file.

    Raises
    ------
    FileFormatError
        Where the bytes are not a whole, undamaged file that :func:`pack` could have made.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(content)
        length = int.from_bytes(content[:8], "little")
        checksum, _, text = json.loads(content[8 : 8 + length])["__metadata__"][_KEY].partition(" ")
        metadata = json.loads(text, parse_constant=_refuse_constant)
        if checksum != f"{_checksum(arrays, text):08x}":
            raise ValueError("its checksum does not match")
        if not isinstance(metadata, dict):
            raise ValueError("its metadata is no JSON object")
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FileFormatError(f"{name}: not a fastmf file, or damaged ({error})") from error
    return arrays, metadata


def _checksum(arrays: dict[str, np.ndarray], text: str) -> int:
    """CRC-32 of everything that a file says: it notices damage, not malice."""
    total = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        total = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), total)
        total = zlib.crc32(array.reshape(-1).view(np.uint8).data, total)
    return total


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Put `content` in place of the file at `path`: a reader sees the old bytes or the new ones, never a mixture.

    The bytes are on the disk when this returns.
    """
    target = Path(path)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}"
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
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
