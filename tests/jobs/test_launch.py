"""What a worker shares with the process that launches it."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time

from dovision.config.errors import error_text
from dovision.jobs import task as module
from dovision.jobs.task import JobTask, this_process, watched


def test_a_worker_ends_with_its_command_however_that_ends(monkeypatch):
    monkeypatch.setattr(module, "_PERIOD", 0.01)
    reads, writes = os.pipe()
    command = os.fork()
    if command == 0:
        process = this_process()
        if os.fork() == 0:
            with watched(process):
                os.write(writes, b"r")
                time.sleep(600)
        time.sleep(600)
    os.close(writes)
    assert os.read(reads, 1) == b"r"
    os.kill(command, signal.SIGKILL)
    os.waitpid(command, 0)
    assert os.read(reads, 1) == b""  # once neither process holds the other end


def test_a_command_on_another_machine_is_not_watched():
    with watched("elsewhere-1"):
        time.sleep(0.01)
        assert not [thread for thread in threading.enumerate() if thread.name.endswith("(watch)")]


def test_a_worker_leaves_ctrl_c_to_its_command():
    task = pickle.dumps(JobTask("print", print))
    process = os.fork()
    if process == 0:
        pickle.loads(task)
        os._exit(signal.getsignal(signal.SIGINT) != signal.SIG_IGN)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def test_what_was_raised_in_a_worker_is_told_without_its_wrapping():
    wrapped = RuntimeError("a traceback of many lines")
    wrapped.cause = ValueError("eps must be in [0, 1] pixel units, got 300.")
    assert error_text(wrapped) == "eps must be in [0, 1] pixel units, got 300."
