"""Locks between processes, by the operating system (flock)."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from filelock import FileLock, Timeout

UNSUPPORTED = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS})  # of flock


class Lock:
    """Exclusive lock, held from `acquire` to `release` or to the end of the process. Its file is made, and stays."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: FileLock | None = None

    @property
    def held(self) -> bool:
        """Return whether this object holds the lock."""
        return self._lock is not None and self._lock.is_locked

    def acquire(self, patience: float | None = None) -> bool:
        """Wait for the lock, and return whether it was acquired.

        Args:
            patience: seconds; None waits until the lock is free.

        Raises:
            OSError: the lock's file cannot be made, or its file system has no locks.
        """
        if self.held:
            return True
        # made here, since one that was made before a fork refuses to be acquired after it
        self._lock = FileLock(self._path, thread_local=False, fallback_to_soft=False)
        try:
            self._lock.acquire(timeout=-1 if patience is None else patience)
        except Timeout:
            return False
        except OSError as error:
            if error.errno in UNSUPPORTED:
                raise OSError(
                    error.errno,
                    "a lock must lie on a file system that has locks (flock). Choose output_root on another one",
                    str(self._path),
                ) from error
            raise
        return True

    def release(self) -> None:
        """Release the lock, if held."""
        if self._lock is not None:
            self._lock.release(force=True)

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of a file; true where that cannot be determined.

    Looking needs no right to write, and several may look at once.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return not isinstance(error, FileNotFoundError)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in UNSUPPORTED
    finally:
        os.close(file)
    return False
