"""Who writes to a run: one command at a time, also where its end has yet to come."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOG = logging.getLogger(__name__)


@contextmanager
def held(file: Path) -> Iterator[None]:
    """Hold a file for this process, once no other one holds it; killed, a process lets go.

    Where the file system knows no locks, nothing is held and nothing waited for.

    Raises:
        OSError: there is no such file, or it cannot be written.
    """
    descriptor = os.open(file, os.O_RDWR)
    try:
        with suppress(OSError):
            _lock(descriptor, file)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, file: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _LOG.warning("waiting: another process still writes to %s", file.parent)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
