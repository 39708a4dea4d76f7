"""Files that decide: read whole and bounded, or not at all; replaced whole, and on disk when that is said.

Whoever may write into a folder can put a pipe, a device or a terabyte where a list was. A reader that waits for
the other end of a pipe waits for ever, so only regular files are read, and no more of them than was asked for.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

__all__ = ["create_file", "read_file", "replace_file", "sync_folder"]


def read_file(path: str | Path, limit: int) -> tuple[os.stat_result, bytes]:
    """(what the file was, its content) of a regular file of at most `limit` bytes. Never waits. Raises OSError."""
    # Opening a pipe waits for a writer, unless told not to.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        seen = os.fstat(file.fileno())
        if not stat.S_ISREG(seen.st_mode):
            raise OSError(errno.EINVAL, "this is no regular file", str(path))
        content = file.read(limit + 1) if seen.st_size <= limit else b""
    if max(seen.st_size, len(content)) > limit:
        raise OSError(errno.EFBIG, f"this file has more than {limit:,} bytes", str(path))
    return seen, content


def replace_file(file: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file whole, so that no reader sees half of it; on disk when this returns."""
    name = _written(file, data, mode)
    try:
        os.replace(name, file)
    except OSError:
        os.unlink(name)
        raise
    sync_folder(file.parent)


def create_file(file: Path, data: bytes) -> None:
    """Publish a whole file (0600) unless there is one; on disk when this returns. Who comes second changes nothing."""
    name = _written(file, data, 0o600)
    try:
        os.link(name, file)
    except FileExistsError:
        return
    finally:
        os.unlink(name)
    sync_folder(file.parent)


def _written(file: Path, data: bytes, mode: int) -> str:
    """A new file beside `file` with this content, on disk."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            os.fchmod(out.fileno(), mode)
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
    except OSError:
        os.unlink(name)
        raise
    return name


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk: a file whose name a power cut takes away is as good as lost."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as bad:
        if bad.errno != errno.EINVAL:  # a file system that has no such thing keeps names in its own way
            raise
    finally:
        os.close(handle)
