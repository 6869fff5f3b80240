from __future__ import annotations

import multiprocessing
import os
import time

import pytest
import torch

from dovision.runtime.forks import Forks, check_workers, forked_map, result_of


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


def test_threads_are_shared_among_the_copies():
    assert list(forked_map(lambda _: torch.get_num_threads(), range(2), 2)) == [1, 1]


def test_what_a_copy_raises_is_raised_again():
    with pytest.raises(ZeroDivisionError):
        list(forked_map(lambda number: 1 // number, [1, 0], 2))


def test_an_exception_does_not_wait_for_what_copies_are_at():
    started, forks = time.monotonic(), Forks(time.sleep, 2)
    forks.submit(60)
    forks.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert time.monotonic() - started < 30


def test_workers_are_refused_where_a_process_cannot_be_copied_or_a_device_computes(monkeypatch):
    with pytest.raises(ValueError, match=r"detection.workers shares processors, got 2 for the device cuda"):
        check_workers("detection.workers", 2, "cuda")
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(ValueError, match=r"detection.workers needs a system that can copy a process.*got 2"):
        check_workers("detection.workers", 2)
    assert check_workers("detection.workers", 1, "cuda") == 1
