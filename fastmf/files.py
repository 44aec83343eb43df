"""Files: arrays in the safetensors format with metadata as JSON, written atomically."""

from __future__ import annotations

import errno
import json
import os
import stat
import uuid
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from fastmf.errors import FileFormatError

__all__ = ["pack", "read", "unpack", "write"]

_KEY = "fastmf"  # key of the file's metadata: "checksum JSON" (a single key, since the order of keys is not preserved)
_ACCESS_LIST = "system.posix_acl_access"
_BINARY = getattr(os, "O_BINARY", 0)


def pack(arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> bytes:
    """Serialise arrays and JSON-serialisable metadata, with a checksum of both, as one safetensors file."""
    from safetensors.numpy import save

    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(metadata, allow_nan=False, sort_keys=True)
    return save(plain, {_KEY: f"{_checksum(plain, text):08x} {text}"})


def unpack(content: bytes, name: str = "the bytes") -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the metadata in the bytes of a file.

    Raises
    ------
    FileFormatError
        If the bytes are not a complete, undamaged file as made by :func:`pack`.
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
    """Compute the CRC-32 of the whole content of a file; it detects damage, not manipulation."""
    total = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        total = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), total)
        total = zlib.crc32(array.reshape(-1).view(np.uint8).data, total)
    return total


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file atomically: a reader sees the old content or the new one, never a mixture.

    The content is on the disk when this returns. The new file has the permissions of the old one. If `path` is a
    symbolic link, its target is written; other hard links of a file keep the old content. Pipes with a reader and
    character devices, such as ``/dev/null``, are written to directly.

    Raises
    ------
    OSError
        If the old file is read-only (PermissionError), `path` is a folder (IsADirectoryError), a socket, a disk or a
        pipe without a reader, or the system refuses; the error names `path`. The old file is unchanged.
    """
    named = Path(path)
    try:
        target, old = Path(os.path.realpath(named)), _status(named)
        if old is None or stat.S_ISREG(old.st_mode):
            _replace(target, content, old)
        else:
            _pour(named, content, old.st_mode)
    except OSError as error:
        if error.errno is None:
            raise
        # Name the path that the caller gave, not the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from None


def _status(path: Path) -> os.stat_result | None:
    """Return the status of a path, links followed; None if it does not exist. Cycles of links raise OSError."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _replace(target: Path, content: bytes, old: os.stat_result | None) -> None:
    """Write a temporary file beside `target`, on the same disk, and rename it; `old` is the status of the old file."""
    effective = os.access in os.supports_effective_ids
    if old is not None and not os.access(target, os.W_OK, effective_ids=effective):  # renaming checks only the folder
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    temporary = target.parent / f".{uuid.uuid4().hex}"  # short, whatever the length of the name
    try:
        mode = 0o666 if old is None else 0o600  # private until it has the permissions of the old file
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode), "wb") as file:
            if old is not None:
                _give_permissions(file.fileno(), target, old)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):  # the first error is raised
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _give_permissions(descriptor: int, target: Path, old: os.stat_result) -> None:
    """Copy owner, group, access list and mode of an old file to a new one, as far as the system permits.

    If the group cannot be kept, the new group gets only the permissions of others.
    """
    if os.name != "posix":
        return
    mode, access_list = stat.S_IMODE(old.st_mode), None
    if hasattr(os, "getxattr"):
        with suppress(OSError):  # there is no access list
            access_list = os.getxattr(target, _ACCESS_LIST)
    if not _changed_owner(descriptor, -1, old.st_gid):
        mode, access_list = mode & ~0o2070 | (mode & 0o007) << 3, None
    if not _changed_owner(descriptor, old.st_uid, -1):
        mode &= ~0o4000  # setuid would apply to another owner
    os.fchmod(descriptor, mode)
    if access_list is not None:
        os.setxattr(descriptor, _ACCESS_LIST, access_list)


def _changed_owner(descriptor: int, user: int, group: int) -> bool:
    """Change the owner or the group of a file (-1 for unchanged); False if that is not permitted."""
    try:
        os.fchown(descriptor, user, group)
    except OSError:
        return False
    return True


def _pour(path: Path, content: bytes, mode: int) -> None:
    """Write to a pipe or a character device, which renaming would replace by a file."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        raise OSError(errno.EINVAL, "neither a file, a pipe nor a character device")
    try:  # without O_NONBLOCK this would wait for a reader, possibly forever
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "a pipe that nobody reads") from error
        raise
    with open(descriptor, "wb") as file:
        os.set_blocking(descriptor, True)
        file.write(content)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the metadata of a file; FileFormatError as for :func:`unpack`."""
    return unpack(Path(path).read_bytes(), str(path))


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # a folder cannot be opened on other systems
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # the folder is writable, but not readable
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
