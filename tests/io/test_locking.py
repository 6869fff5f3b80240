"""A lock has one holder, and heals when its holder is gone."""

import errno
import fcntl
import os
import signal

import pytest

from dovision.io import locking
from dovision.io.locking import Lock, is_locked
from waiting import SECONDS


def test_a_lock_has_one_holder_and_looking_at_it_makes_nothing(tmp_path):
    file = tmp_path / "lock"
    first, second = Lock(file), Lock(file)
    assert not is_locked(file)
    assert list(tmp_path.iterdir()) == []
    assert first.acquire(0)
    assert first.acquire(0)  # it has it
    assert (first.held, second.held, is_locked(file)) == (True, False, True)
    assert not second.acquire(0.1)
    first.release()
    assert not is_locked(file)
    assert second.acquire(0)
    assert (first.held, second.held) == (False, True)
    second.release()
    with file.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_SH)  # somebody else who looks
        assert not is_locked(file)


def test_a_killed_process_holds_nothing(tmp_path):
    file = tmp_path / "lock"
    held, holds = os.pipe()
    process = os.fork()
    if process == 0:
        lock = Lock(file)
        os.write(holds, b"%d" % lock.acquire(0))
        signal.pause()
    assert os.read(held, 1) == b"1"
    assert is_locked(file)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert Lock(file).acquire(SECONDS)


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.EIO, "the disk is gone"), *((number, "on a file system that has locks") for number in locking.UNSUPPORTED)],
)
def test_errors_of_the_lock_are_raised(tmp_path, monkeypatch, number, message):
    def flock(*_):
        raise OSError(number, "the disk is gone")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match=message):
        Lock(tmp_path / "lock").acquire(0)
