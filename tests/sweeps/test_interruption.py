"""One Ctrl-C ends the command and its workers, in one line, through no launcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import resource_tracker

import pytest

from dovision.runtime.signals import Stop, Stopped
from dovision.sweeps import interruption
from dovision.sweeps.interruption import Interruption, interruptible
from dovision.sweeps.launch import Launch
from waiting import wait_for

READY = b"r"


class Command:
    """A process with a group of its own, which launches one worker and waits for it, as a launcher does."""

    def __init__(self, sweep, worker):
        self.sweep, self.launch = sweep, Launch()
        self.launch.begin(sweep)
        self.ends, self.starts = os.pipe()
        self.process = os.fork()
        if self.process == 0:
            os.setsid()
            os.dup2(os.open(sweep / "said", os.O_CREAT | os.O_WRONLY), 2)
            try:
                with Interruption(self.launch, sweep):
                    self.wait_for(self.worker(worker))
            except Stopped as stopped:
                os._exit(stopped.exit_code)
            os._exit(0)
        assert os.read(self.ends, 1) == READY

    def worker(self, work):
        process = os.fork()
        if process == 0:
            with self.launch.at_work(self.sweep):  # until whose end the command waits
                try:
                    work(self)
                except Stopped as stopped:
                    (self.sweep / "worker").write_text(str(stopped))
            os._exit(0)
        return process

    @staticmethod
    def wait_for(process):
        while os.waitpid(process, os.WNOHANG) == (0, 0):
            time.sleep(0.02)

    def ready(self):
        os.write(self.starts, READY)

    def signal(self, signum):
        os.killpg(self.process, signum)

    def code(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def go_on(command):
    with interruptible(command.launch, command.sweep):
        command.ready()
        while True:
            time.sleep(0.02)


def be_deaf(command):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    command.ready()
    time.sleep(120)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_worker_and_then_the_command_in_one_line(tmp_path, signum):
    command = Command(tmp_path, go_on)
    command.signal(signum)
    assert command.code() == 128 + signum
    name = signal.Signals(signum).name
    assert (tmp_path / "worker").read_text() == f"stopped by {name}"
    line = f"{name}: the jobs at work end, and keep what is finished. Once more ends at once.\n"
    assert (tmp_path / "said").read_text() == line


def test_a_second_signal_does_not_wait_for_the_worker(tmp_path):
    command = Command(tmp_path, be_deaf)
    command.signal(signal.SIGINT)
    wait_for(lambda: (tmp_path / "said").read_text())  # else the two would be one
    time.sleep(0.5)
    assert os.waitpid(command.process, os.WNOHANG) == (0, 0)
    command.signal(signal.SIGINT)
    assert command.code() == 130
    os.killpg(command.process, signal.SIGKILL)


def test_workers_that_do_not_end_have_their_time(tmp_path, monkeypatch):
    monkeypatch.setattr(interruption, "GRACE", 0.3)
    command = Command(tmp_path, be_deaf)
    command.signal(signal.SIGTERM)
    assert command.code() == 143
    os.killpg(command.process, signal.SIGKILL)


def test_a_process_that_is_started_meanwhile_does_not_receive_ctrl_c_itself(tmp_path):
    resource_tracker._resource_tracker._stop()
    handler = signal.getsignal(signal.SIGINT)
    asks = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with Interruption(Launch(), tmp_path):
        resource_tracker.ensure_running()  # as for any semaphore
        started = subprocess.run([sys.executable, "-S", "-c", asks], capture_output=True, text=True)
    assert started.stdout == "True\n"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert signal.getsignal(signal.SIGINT) == handler


def test_a_worker_leaves_ctrl_c_to_the_command_also_where_something_lets_it_through(tmp_path):
    launch, handler = Launch(), signal.getsignal(signal.SIGINT)
    launch.begin(tmp_path)
    with interruptible(launch, tmp_path), Stop():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == handler


def test_a_worker_that_was_killed_is_not_waited_for(tmp_path):
    launch = Launch()
    launch.begin(tmp_path)
    process = os.fork()
    if process == 0:
        with launch.at_work(tmp_path):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(process, 0)
    assert list(launch.folder(tmp_path).iterdir())
    assert not launch.is_at_work(tmp_path)


def test_the_launches_of_one_folder_do_not_hear_of_each_other(tmp_path):
    one, other = Launch(), Launch()
    for launch in (one, other):
        launch.begin(tmp_path)
    one.stop(tmp_path, signal.SIGINT)
    one.report_failure(tmp_path, "seed=1")
    assert (one.stopped_by(tmp_path), one.failure(tmp_path)) == (signal.SIGINT, "seed=1")
    assert (other.stopped_by(tmp_path), other.failure(tmp_path)) == (None, "")
    other.end(tmp_path)
    assert not other.folder(tmp_path).exists()
