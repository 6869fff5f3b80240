"""A service that fails or hangs is left out, once and for all."""

import threading

import pytest
from pytorch_lightning.loggers.logger import DummyLogger

from dovision.report.dashboard import MOST_SCALARS, Dashboard


class Sent(DummyLogger):
    """Keeps what it is sent last, and fails at an error."""

    def log_metrics(self, metrics, step):
        self.sent = metrics
        for value in metrics.values():
            if isinstance(value, Exception):
                raise value


class Board(Dashboard, Sent):
    def __init__(self, folder, patience=60, is_local=False):
        super().__init__()
        self.connect("W&B", folder, patience, is_local)


@pytest.fixture
def hangs():
    """Answers at the end of a test."""
    over = threading.Event()
    yield over.wait
    over.set()


@pytest.mark.parametrize("reason", ["no route", "no answer within 0.1"])
def test_one_warning_and_no_more_questions_and_what_is_lost_is_said_at_the_end(reason, hangs, caplog, tmp_path):
    board = Board(tmp_path)
    if reason == "no route":
        board.log_metrics({"loss": ConnectionError("no route")}, 2)
    else:
        board.patience = 0.1
        board.ask(hangs)
    board.sent = {}
    board.log_metrics({"loss": 0.25}, 3)
    assert board.sent == {}
    board.finish(failed=True)
    warned = [record.message.partition(":")[0] for record in caplog.records if record.name.startswith("dovision.")]
    assert warned == ["W&B failed; the job continues without it", "W&B lacks a part of this job (calls"]
    assert reason in caplog.text
    lost = "2 of log_metrics" if reason == "no route" else "1 of wait, 1 of log_metrics"
    assert f"(calls: {lost}). The tables of the run have all numbers." in caplog.text


def test_the_run_of_a_job_that_failed_is_continued(tmp_path):
    for failed, left in ((True, "first"), (False, None)):
        board = Board(tmp_path)
        board.keep_id("first")
        board.finish(failed)
        assert Board(tmp_path).earlier_id() == left


def test_numbers_beyond_the_first_are_kept_for_one_table(tmp_path):
    board = Board(tmp_path)
    metrics = {f"metric_{number}": float(number) for number in range(MOST_SCALARS + 2)}
    board.log_metrics({**metrics, "picture": "shown"}, 0)
    assert list(board.sent) == [*list(metrics)[:MOST_SCALARS], "picture"]
    board.log_metrics({"metric_0": 1.0, "late": 2.0}, 1)
    assert board.sent == {"metric_0": 1.0}
    assert board.rest == {"metric_40": 40.0, "metric_41": 41.0, "late": 2.0}
