"""The thread that computes: questions before background work, and errors where they were asked for."""

import threading
import time
from types import SimpleNamespace

import pytest

from dovision.view.worker import Overtaken, Worker
from waiting import SECONDS, wait_for


@pytest.fixture
def worker():
    own = Worker()
    yield own
    own.close()


def test_questions_are_answered_in_one_thread_raise_what_they_raise_and_end_in_time(worker, monkeypatch):
    threads = {worker.ask(threading.current_thread) for _ in range(3)}
    assert len(threads) == 1
    with pytest.raises(ZeroDivisionError):
        worker.ask(lambda: 1 / 0)
    assert worker.ask(lambda: 2) == 2
    with monkeypatch.context() as patch:
        times = iter([0.0, 601.0])  # it begins, and is looked at
        patch.setattr("dovision.view.worker.time", SimpleNamespace(monotonic=lambda: next(times)))
        with pytest.raises(TimeoutError, match="an answer must take at most 600 seconds. Ask for fewer steps"):
            worker.ask(worker.check)
    assert worker.ask(lambda: 2) == 2


def test_a_question_is_answered_between_two_steps_of_background_work(worker):
    answered, begun, ended = threading.Event(), threading.Event(), threading.Event()

    def steps():
        ends = time.monotonic() + SECONDS
        while not answered.is_set() and time.monotonic() < ends:
            begun.set()
            yield
        ended.set()

    worker.ask(lambda: worker.begin("map", steps()))
    assert begun.wait(SECONDS)
    assert not worker.ask(ended.is_set)
    answered.set()
    assert ended.wait(SECONDS)


def test_work_of_a_name_takes_the_place_of_what_was_begun_before_and_its_error_ends_it_alone(worker, caplog):
    ended = threading.Event()

    def endless():
        while True:
            yield

    def fails():
        yield
        raise ValueError("no such cell")

    def last():
        yield
        ended.set()

    worker.ask(lambda: worker.begin("map", endless()))
    worker.ask(lambda: worker.begin("map", fails()))
    worker.ask(lambda: worker.begin("other", last()))
    assert ended.wait(SECONDS)  # of the two that begun last goes first
    wait_for(lambda: "map has failed" in caplog.text)


def test_a_long_question_is_ended_by_one_of_its_topic(worker):
    begun = threading.Event()

    def long():
        begun.set()
        while True:
            worker.check()

    ends = []

    def ask():
        with pytest.raises(Overtaken):
            worker.ask(long, "attack")
        ends.append("overtaken")

    asker = threading.Thread(target=ask)
    asker.start()
    assert begun.wait(SECONDS)
    assert worker.ask(lambda: "the next attack", "attack") == "the next attack"
    asker.join(SECONDS)
    assert ends == ["overtaken"]


def test_the_worker_closes_after_a_long_question():
    worker = Worker()
    begun, go = threading.Event(), threading.Event()

    def long():
        begun.set()
        assert go.wait(SECONDS)
        worker.check()
        return 7

    ends = []
    asker = threading.Thread(target=lambda: ends.append(worker.ask(long, "attack")))
    asker.start()
    assert begun.wait(SECONDS)
    closer = threading.Thread(target=worker.close)
    closer.start()
    go.set()
    closer.join(SECONDS)
    asker.join(SECONDS)
    assert ends == [7]
