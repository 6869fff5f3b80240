"""Schedules of the step size, and the metrics that are monitored."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau

from dovision.training.schedule import Schedule, check_monitor

LOGGED = ("train_loss", "val_loss", "val_score")


def test_it_is_what_lightning_takes():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    found = Schedule(partial(ReduceLROnPlateau, patience=2), frequency=3, monitor="val_loss").of(optimizer)
    assert isinstance(found.pop("scheduler"), ReduceLROnPlateau)
    assert found == {"interval": "epoch", "frequency": 3, "monitor": "val_loss", "strict": False, "name": "lr"}


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        (
            None,
            r"x.monitor must name a metric that the fit logs, got none. They are: train_loss, val_loss, val_score\.",
        ),
        ("val_los", r"got 'val_los'. Did you mean val_loss or val_score\? They are: train_loss"),
        ("accuracy", r"got 'accuracy'. They are: train_loss, val_loss, val_score\."),
    ],
)
def test_a_monitor_that_nobody_logs_is_refused_with_those_that_there_are(monitor, message):
    with pytest.raises(ValueError, match=message):
        check_monitor("x", monitor, LOGGED)
    with pytest.raises(ValueError, match=message):
        Schedule(partial(ReduceLROnPlateau), monitor=monitor).check("x", LOGGED)


def test_a_schedule_that_looks_at_nothing_needs_no_monitor():
    Schedule(partial(ExponentialLR, gamma=0.5)).check("x", LOGGED)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"scheduler": ExponentialLR},
            "scheduler must be a scheduler with _partial_: true, got the class ExponentialLR",
        ),
        ({"interval": "batch"}, "interval must be one of epoch, step, got 'batch'"),
        ({"frequency": 0}, "frequency must be a whole number of at least 1, got 0"),
        ({"monitor": "val_loss"}, "monitor is looked at by ReduceLROnPlateau alone, got 'val_loss'. Set it to null"),
        ({"scheduler": partial(ReduceLROnPlateau), "interval": "step"}, "interval must be epoch for ReduceLROnPlateau"),
    ],
)
def test_what_does_not_go_together_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**{"scheduler": partial(ExponentialLR, gamma=0.5), **given})
