from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from dovision.io.forks import Forks, check_workers, forked_map, result_of
from waiting import wait_for


def test_copies_know_what_their_parent_knew_when_they_were_made_and_results_come_in_order():
    known = ["before"]
    with Forks(lambda number: (number, known[0], os.getpid()), 2) as forks:
        waiting = [forks.submit(number) for number in range(4)]
        known[0] = "after"
        found = [result_of(each) for each in waiting]
    assert [number for number, _, _ in found] == [0, 1, 2, 3]
    assert {word for _, word, _ in found} == {"before"}
    assert os.getpid() not in {process for *_, process in found}


def test_a_map_is_the_same_with_one_process_and_with_several():
    image = torch.rand(3, 2, 2).to(memory_format=torch.contiguous_format)
    for workers in (1, 2):
        found = list(forked_map(lambda row: image[row] * 2, range(3), workers))
        assert torch.equal(torch.stack(found), image * 2)


def test_copies_compute_with_one_thread_each_after_their_parent_has_used_several():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        images = torch.rand(300, 300)
        images @ images  # by all threads
        with Forks(lambda: (torch.get_num_threads(), (images @ images).sum().isfinite().item()), 2) as forks:
            assert [forks.submit() for _ in range(2)][1].result(timeout=60)
            assert result_of(forks.submit()) == (1, True)
    finally:
        torch.set_num_threads(before)


def test_what_a_copy_raises_is_raised_again():
    with pytest.raises(ZeroDivisionError):
        list(forked_map(lambda number: 1 // number, [1, 0], 2))


def test_an_error_that_cannot_be_sent_is_named():
    class Odd(Exception):
        def __init__(self, first, second):
            super().__init__(f"{first} and {second}")

    def fails(number):
        raise Odd(number, 2)

    with pytest.raises(RuntimeError, match="Odd: 1 and 2"):
        list(forked_map(fails, [1, 1], 2))


def test_a_killed_copy_is_an_error_that_says_so():
    with pytest.raises(RuntimeError, match="a worker was killed.*Use fewer workers"):
        list(forked_map(lambda _: os.kill(os.getpid(), signal.SIGKILL), range(2), 2))


def test_copies_end_in_the_middle_of_a_call_when_their_parent_does_not_wait():
    began, forks = time.monotonic(), Forks(time.sleep, 2)
    assert forks.submit(0).result(timeout=60)
    for _ in range(6):
        forks.submit(600)
    forks.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert time.monotonic() - began < 300


def test_copies_end_with_a_parent_that_is_killed(tmp_path):
    started = tmp_path / "started"

    def parent():  # which is killed
        forks = Forks(lambda: started.write_text(str(os.getpid())) and time.sleep(60), 1)
        forks.submit()
        time.sleep(60)

    process = multiprocessing.get_context("fork").Process(target=parent)
    process.start()
    wait_for(lambda: started.is_file() and started.read_text() != "")
    process.kill()
    process.join()
    copy = int(started.read_text())
    wait_for(lambda: not is_running(copy))


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")
    return not stat.is_file() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("system", ["spawn", "darwin"])
def test_workers_are_refused_where_a_process_cannot_be_copied_or_a_device_computes(monkeypatch, system):
    with pytest.raises(ValueError, match=r"detection.workers shares processors, got 2 for the device cuda"):
        check_workers("detection.workers", 2, "cuda")
    if system == "darwin":
        monkeypatch.setattr("sys.platform", system)
    else:
        monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: [system])
    with pytest.raises(ValueError, match=r"detection.workers needs a system that can copy a process.*got 2"):
        check_workers("detection.workers", 2)
    assert check_workers("detection.workers", 1, "cuda") == 1
