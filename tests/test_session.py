"""Lightning's trainer as a run gets it."""

from __future__ import annotations

import sys

import pytest
from hydra import compose, initialize_config_dir
from pytorch_lightning.callbacks import ProgressBar, TQDMProgressBar
from pytorch_lightning.trainer.connectors import callback_connector

from dovision.configuration import configuration_folder
from dovision.session import make_trainer


@pytest.mark.parametrize("rich", [False, True])
@pytest.mark.parametrize(("terminal", "bars"), [(True, [TQDMProgressBar]), (False, [])])
def test_the_progress_bar_does_not_depend_on_what_else_is_installed(monkeypatch, rich, terminal, bars):
    monkeypatch.setattr(callback_connector, "_RICH_AVAILABLE", rich)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with initialize_config_dir(str(configuration_folder()), version_base="1.3"):
        trainer = make_trainer(compose("evaluate"), [])
    assert [type(callback) for callback in trainer.callbacks if isinstance(callback, ProgressBar)] == bars
