"""A service that fails or hangs is left out, once and for all."""

import threading

import pytest

from dovision.tracking.patience import Service, patient


def fails():
    raise ConnectionError("no route")


@pytest.fixture
def hangs():
    """Answers at the end of a test."""
    over = threading.Event()
    yield over.wait
    over.set()


@pytest.mark.parametrize("reason", ["no route", "no answer within 0.1"])
def test_one_warning_and_no_more_questions(reason, hangs, caplog):
    service, answers = Service("W&B", 60), []
    assert service.ask(lambda: 3) == 3
    question, service.patience = (fails, 60) if reason == "no route" else (hangs, 0.1)
    assert service.ask(question) is None
    assert service.ask(answers.append, 1) is None
    assert service.down
    assert answers == []
    warned = [record.message.partition(":")[0] for record in caplog.records if record.name.startswith("dovision.")]
    assert warned == ["W&B failed; the job continues without it"]  # the threads of other tests may log, too
    assert reason in caplog.text


def test_what_is_lost_is_counted_and_said_at_the_end(caplog):
    class Dashboard:
        service = Service("W&B", 60)

        @patient
        def log_metrics(self):
            fails()

    for _ in range(3):
        Dashboard().log_metrics()
    Dashboard.service.end(None, "Send it.")
    assert "W&B lacks a part of this job (calls: 3 of log_metrics). Send it." in caplog.text


def test_a_local_write_may_take_any_time(monkeypatch):
    waited = []
    monkeypatch.setattr(threading.Thread, "join", lambda _, seconds: waited.append(seconds))
    Service("W&B", None).ask(lambda: 3)
    assert waited == [None]


def test_a_patient_method_takes_its_arguments_and_returns_its_answer():
    class Dashboard:
        service = Service("it", 1)

        @patient
        def add(self, a, b=0):
            return a + b

    assert Dashboard().add(1, b=2) == 3


@pytest.mark.parametrize("patience", [0, -1, "long"])
def test_the_patience_must_be_a_time(patience):
    with pytest.raises(ValueError, match="patience must be"):
        Service("W&B", patience)
