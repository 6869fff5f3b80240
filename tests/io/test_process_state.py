"""State of the process that a job leaves as it was, its allocator, and its end by a signal."""

import logging
import os
import platform
import random
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from dovision.io.allocator import OWN_CHOICE
from dovision.io.process_state import isolated
from dovision.io.signals import Stop, Stopped


def state():
    return {
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "benchmark": torch.backends.cudnn.benchmark,
        "dtype": torch.get_default_dtype(),
        "precision": torch.get_float32_matmul_precision(),
        "level": logging.getLogger().level,
        "handlers": list(logging.getLogger().handlers),
        "filters": list(warnings.filters),
        "environment": dict(os.environ),
        "torch": torch.get_rng_state().tolist(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
    }


def test_all_that_a_job_changes_of_its_process_is_put_back(monkeypatch):
    monkeypatch.setenv("CHANGED", "before")
    before = state()
    with isolated(seed=3, threads=2):
        assert torch.get_num_threads() == 2
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = not before["benchmark"]
        torch.set_default_dtype(torch.float64)
        torch.set_float32_matmul_precision("medium")
        logging.getLogger().addHandler(logging.NullHandler())
        logging.getLogger().setLevel(logging.CRITICAL)
        warnings.simplefilter("error")
        os.environ.update(CHANGED="after", ADDED="1")
        torch.rand(1), random.random(), np.random.rand()  # noqa: NPY002
    assert state() == before


def test_the_same_seed_draws_the_same_whatever_was_drawn_before():
    drawn = []
    for _ in range(2):
        torch.rand(3)
        with isolated(seed=3, threads=None):
            drawn.append((torch.rand(1).item(), random.random(), np.random.rand()))  # noqa: NPY002
    assert drawn[0] == drawn[1]


PAGES = 64 >> 1  # of 64 MiB, if they are huge, as they are where the system makes them so
PROGRAM = """
import resource, sys
from dovision.io.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"1" * (64 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = keep_freed_memory()
first, second = faults(), faults()
print(kept, second)
"""


def outcome(**chosen: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name not in OWN_CHOICE}
    program = [sys.executable, "-c", PROGRAM]
    return subprocess.run(program, env=environment | chosen, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_a_block_of_the_size_of_one_that_was_freed_faults_no_page():
    kept, faults = outcome()
    assert kept == "True"
    assert int(faults) < PAGES


@pytest.mark.parametrize("name", OWN_CHOICE)
def test_what_the_environment_has_chosen_stays(name):
    value = "glibc.malloc.mmap_max=65536" if name == "GLIBC_TUNABLES" else "65536"
    kept, faults = outcome(**{name: value})
    assert kept == "False"
    assert int(faults) >= PAGES


def test_elsewhere_a_signal_ends_the_job_at_once_as_no_error_and_its_handler_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="stopped by SIGTERM") as caught, Stop():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    assert not issubclass(Stopped, Exception)


@pytest.mark.parametrize(("signum", "end"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_fork_raises_nothing_of_its_own(signum, end, capfd):
    with Stop():
        process = os.fork()
        if process == 0:
            try:
                os.kill(os.getpid(), signum)
            finally:
                os._exit(sys.exc_info()[0] is not None)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == end
    assert capfd.readouterr().err == ""


def test_a_schedulers_notice_is_listened_to_only_where_its_client_does():
    heard = []
    before = signal.signal(signal.SIGUSR2, lambda signum, frame: heard.append(signum))
    try:
        with pytest.raises(Stopped, match="SIGUSR2"), Stop():
            os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert heard == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)
    unheard = signal.getsignal(signal.SIGUSR2)
    with Stop():
        assert signal.getsignal(signal.SIGUSR2) == unheard
