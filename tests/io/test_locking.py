"""A lock has one holder, whatever the file system has of locks, and heals when its holder is gone."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from itertools import pairwise

import pytest

from dovision.io import locking
from dovision.io.locking import Lock, is_locked
from waiting import SECONDS, wait_for

ELSEWHERE = "filelock/2\npid=1\nhost=elsewhere\nmode=lease\ntoken=0\nduration={}\n"  # a lease of another machine


@pytest.fixture(params=["flock", *sorted(locking.UNSUPPORTED)], ids=lambda kind: errno.errorcode.get(kind, kind))
def file(request, tmp_path, monkeypatch):
    """A lock's file, where there are locks, and where flock is refused in each way in which file systems refuse it."""

    def flock(*_):
        raise OSError(request.param, os.strerror(request.param))

    if request.param != "flock":
        monkeypatch.setattr(fcntl, "flock", flock)
    return tmp_path / "lock"


@pytest.fixture
def lease(tmp_path, monkeypatch):
    """The file of a lease, where there are no locks and a lease lasts half a second."""

    def flock(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(locking, "LEASE", 0.5)
    monkeypatch.setattr(locking, "HEARTBEAT", 0.1)
    return tmp_path / "lock.lease"


def test_a_lock_has_one_holder_at_a_time(file):
    first, second = Lock(file), Lock(file)
    assert not is_locked(file)
    assert first.acquire(0)
    assert first.acquire(0)  # it has it
    assert (first.held, second.held, is_locked(file)) == (True, False, True)
    assert not second.acquire(0.1)
    first.release()
    assert not is_locked(file)
    assert second.acquire(0)
    assert (first.held, second.held) == (False, True)


def test_a_killed_process_holds_nothing(file):
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


def test_other_errors_of_the_lock_are_raised(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="the disk is gone"):
        Lock(tmp_path / "lock").acquire(0)


def test_looking_makes_nothing_and_does_not_stand_in_the_way_of_looking(tmp_path):
    assert not is_locked(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # somebody else who looks
        assert not is_locked(tmp_path / "lock")


def test_a_lease_of_another_machine_is_respected_while_it_is_renewed(lease, monkeypatch):
    monkeypatch.setattr(locking, "LEASE", SECONDS)  # longer than this test
    lease.write_text(ELSEWHERE.format(SECONDS))
    assert is_locked(lease.with_name("lock"))
    assert not Lock(lease.with_name("lock")).acquire(0.2)


def test_a_lease_that_is_not_renewed_is_taken_over_however_little_patience_there_is(lease, monkeypatch):
    monkeypatch.setattr(locking, "HEARTBEAT", 0.4)  # two of which a busy machine has beyond the lease
    lease.write_text(ELSEWHERE.format(0.5))
    os.utime(lease, (0, 0))
    assert not is_locked(lease.with_name("lock"))
    lock = Lock(lease.with_name("lock"))
    assert lock.acquire(0)
    assert lock.held


def test_a_holder_renews_its_lease(lease):
    lock = Lock(lease.with_name("lock"))
    lock.acquire(0)
    os.utime(lease, (0, 0))
    wait_for(lambda: is_locked(lease.with_name("lock")))


def test_who_has_lost_a_lease_does_not_hold_it(lease):
    lock = Lock(lease.with_name("lock"))
    lock.acquire(0)
    lease.write_text(ELSEWHERE.format(0.5))
    assert not lock.held


@pytest.mark.slow
def test_an_abandoned_lease_is_taken_over_by_one_of_many(lease, monkeypatch):
    monkeypatch.setattr(locking, "LEASE", 2.0)
    lease.write_text(ELSEWHERE.format(2.0))
    os.utime(lease, (0, 0))
    marks = [lease.with_name(f"mark{number}") for number in range(5)]

    def work(mark):
        with Lock(lease.with_name("lock")) as lock:
            begun = time.monotonic()
            time.sleep(0.1)
            mark.write_text(f"{begun} {time.monotonic() if lock.held else begun}")  # lost by who stood still for 2 s

    processes = []
    for mark in marks:
        process = os.fork()
        if process == 0:
            try:
                work(mark)
            finally:
                os._exit(not mark.exists())
        processes.append(process)
    assert [os.waitpid(process, 0)[1] for process in processes] == [0] * len(marks)
    spans = sorted(tuple(map(float, mark.read_text().split())) for mark in marks)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
