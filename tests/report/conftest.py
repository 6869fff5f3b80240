"""Components of loggers, and what they have written."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.loggers import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dovision.config.component import read_group
from dovision.report.loggers import make_loggers


@pytest.fixture
def job_loggers(tmp_path: Path) -> Callable[..., list[Logger]]:
    """Loggers of a job in tmp_path, by their names; keywords set keys of theirs, or what a job gives to all."""

    def make(*names: str, config: Any = None, **settings: Any) -> list[Logger]:
        nodes = read_group("logger", output_root=str(tmp_path))
        chosen = {
            name: nodes[name].replaced(**{key: value for key, value in settings.items() if key in nodes[name]})
            for name in names
        }
        facts = {"name": "rows=4", "group": "study", "job_type": "evaluate", "tags": ["first"]}
        return make_loggers(chosen, tmp_path, **facts, config=config)

    return make


@pytest.fixture
def reported(run_command: Callable[..., int]) -> Callable[..., int]:
    """The exit code of dovision-report on a sweep, with these overrides."""
    from dovision.jobs.hydra_main import report as main

    return lambda sweep, *overrides: run_command(main, f"sweep={sweep}", *overrides)


@pytest.fixture
def events() -> Callable[[Path], EventAccumulator]:
    """Reads the event files of a folder, by TensorBoard's own reader."""

    def read(folder: Path) -> EventAccumulator:
        found = EventAccumulator(str(folder))
        found.Reload()
        return found

    return read


@pytest.fixture
def history() -> Callable[[dict[str, Any]], dict[str, dict[int, Any]]]:
    """Gives {metric: {step: value}} of all that an offline W&B run has logged; a nested key is joined by dots."""

    def read(sent: dict[str, Any]) -> dict[str, dict[int, Any]]:
        found: dict[str, dict[int, Any]] = defaultdict(dict)
        for item in sent["history"]:
            step = item["item"].get("trainer/global_step")
            for key, value in item["item"].items():
                found[key][step] = value
        return found

    return read
