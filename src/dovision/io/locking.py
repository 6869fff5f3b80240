"""Locks between processes, also on file systems that have none."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout

log = logging.getLogger(__name__)
UNSUPPORTED = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS})  # of flock
LEASE = 180.0  # seconds without a heartbeat after which a lease may be taken over
HEARTBEAT = 15.0  # seconds between heartbeats


class Lock:
    """Exclusive lock, held from `acquire` to `release` or to the end of the process.

    The lock is the operating system's (flock). Where the file system has no such locks it is a lease: a file beside
    `path` that names host and process and is renewed every HEARTBEAT seconds. A lease is taken over when its process
    has died on this host, or when it was not renewed for LEASE seconds. The machines that share a file system must
    agree on whether it has locks. The lock's file is made, and stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: BaseFileLock | None = None

    @property
    def held(self) -> bool:
        """Return whether this object holds the lock; false once another process has taken over its lease."""
        if isinstance(self._held, SoftFileLease):
            return self._held.is_lock_held_by_us
        return self._held is not None

    def acquire(self, patience: float | None = None) -> bool:
        """Wait for the lock, and return whether it was acquired.

        Args:
            patience: seconds; None waits until the lock is free. For a lease that nobody renews any more the wait is
                as long as it takes to take it over.

        Raises:
            OSError: the lock's file cannot be made.
        """
        if self._held is not None:
            return True
        try:
            return self._take(FileLock(self.path, thread_local=False, fallback_to_soft=False), patience)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        file = _lease(self.path)
        if patience is not None and file.exists() and not _is_renewed(file):
            patience = LEASE + 2 * HEARTBEAT
            log.info("waiting for a lease that was not renewed, at most %.0f s: %s", patience, file)
        lease = SoftFileLease(file, thread_local=False, lease_duration=LEASE, heartbeat_interval=HEARTBEAT)
        return self._take(lease, patience)

    def release(self) -> None:
        """Release the lock, if held."""
        if self._held is not None:
            self._held.release(force=True)
            self._held = None

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def _take(self, lock: BaseFileLock, patience: float | None) -> bool:
        try:
            lock.acquire(timeout=-1 if patience is None else patience)
        except Timeout:
            return False
        self._held = lock
        return True


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of a file; true where that cannot be determined.

    Looking needs no right to write, and several may look at once. A lease is held until LEASE seconds after its process
    has died.
    """
    if _is_renewed(_lease(path)):
        return True
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


def _lease(path: Path) -> Path:
    return path.with_name(f"{path.name}.lease")


def _is_renewed(lease: Path) -> bool:
    """Return whether a lease exists and was renewed recently."""
    try:
        return time.time() - lease.stat().st_mtime < LEASE
    except FileNotFoundError:
        return False
