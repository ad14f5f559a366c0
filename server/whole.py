"""An output file that appears whole or not at all: written beside its place, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from server.errors import OutputIncomplete, SinkUnwritable, SurgiclearError

STEM_MOST = 40  # characters; the temporary name must not be too long where the real one is not
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_error(path: Path, error: OSError) -> SurgiclearError:
    """The user's sentence for a failed write of `path`."""
    if error.errno in FULL:
        return OutputIncomplete(
            f"no room to write {path}", "free some space or choose another disk"
        )
    return OutputIncomplete(f"writing {path} stopped: {reason(error)}")


def reason(error: OSError) -> str:
    """The operating system's words, without paths and codes."""
    return (os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)).lower()


class Whole:
    """Owns the temporary file. `commit` puts it in place; leaving the block without removes it.

    The temporary name keeps the suffix, which tells encoders the format. Raises SinkUnwritable
    at once where the folder cannot take a file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        stem = path.stem[:STEM_MOST]
        self.temporary = path.with_name(f".{stem}.{secrets.token_hex(4)}.part{path.suffix}")
        if path.is_dir():
            raise SinkUnwritable(f"{path} is a folder", "name a file")
        if path.exists() and not path.is_file():  # the rename would replace a device
            raise SinkUnwritable(f"{path} is no ordinary file", "name another output")
        if not path.parent.is_dir():
            raise SinkUnwritable(f"{path.parent} is no folder", "create it, or choose another")
        try:
            self.temporary.touch()
        except OSError as error:
            raise SinkUnwritable(f"{path} cannot be written", reason(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    def commit(self) -> None:
        """On the disk for good, under its real name. Raises OutputIncomplete."""
        try:
            with self.temporary.open("rb") as file:
                os.fsync(file.fileno())
            self.temporary.replace(self.path)
        except OSError as error:
            self.discard()
            raise write_error(self.path, error) from error

    def discard(self) -> None:
        """Removes what is not committed; nothing happens after `commit`."""
        with contextlib.suppress(FileNotFoundError):
            self.temporary.unlink()

    def write_bytes(self, data: bytes) -> None:
        """The whole content at once. Raises OutputIncomplete."""
        try:
            self.temporary.write_bytes(data)
        except OSError as error:
            self.discard()
            raise write_error(self.path, error) from error
