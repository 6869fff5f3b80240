"""A job returns the number that optimized_metric names, to whatever sweeper has asked for it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

from dovision.jobs.train import main as train
from dovision.models import checkpoint
from dovision.results.headline_numbers import numbers
from dovision.results.run_record import read_sweep
from dovision.results.schemas import CONDITION_METRICS

TINY = ("hydra.sweeper._target_=tiny.TinySweeper", "-m")
SEEN: list[list[float]] = []  # the numbers of each batch of jobs


class TinySweeper(Sweeper):
    """Runs each value of `intervention.rows` as a batch of its own, as a sweeper does that chooses as it goes."""

    def setup(self, *, hydra_context, task_function, config) -> None:
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: Sequence[str]) -> None:
        for number, rows in enumerate((1, 2)):
            jobs = self.launcher.launch([[*arguments, f"intervention.rows={rows}"]], initial_job_idx=number)
            SEEN.append([job.return_value for job in jobs])


@pytest.fixture
def tiny(monkeypatch):
    """The sweeper in place of Hydra's basic one."""
    SEEN.clear()
    monkeypatch.setattr(Plugins, "instantiate_sweeper", tiny_in_place)
    return SEEN


def tiny_in_place(self, *, config, hydra_context, task_function):
    sweeper = TinySweeper()
    sweeper.setup(hydra_context=hydra_context, task_function=task_function, config=config)
    return sweeper


@pytest.mark.slow
def test_a_sweeper_gets_the_number_of_each_job_also_of_one_that_is_completed_already(copy, dovision_evaluate, tiny):
    command = (f"output_root={copy}", "optimized_metric=mean_abs_expected_effect/clean", *TINY)
    assert dovision_evaluate(*command) == 0
    summaries = {run.config["intervention"]["rows"]: run.summary for run in read_sweep(copy / "evaluate")}
    expected = [[numbers(summaries[rows])["mean_abs_expected_effect/clean"]] for rows in (1, 2)]
    assert tiny == expected
    assert dovision_evaluate(*command) == 0
    assert tiny == 2 * expected


@pytest.mark.slow
def test_a_job_that_fails_returns_nan_and_one_without_a_metric_nothing(copy, dovision_evaluate, tiny, monkeypatch):
    command = (f"output_root={copy}",)
    with monkeypatch.context() as context:
        context.setattr("dovision.jobs.evaluation_callbacks.write_boxes", lambda *_: 1 / 0)
        assert dovision_evaluate(*command, "optimized_metric=accuracy/clean", *TINY) == 1
    assert all(math.isnan(number) for (number,) in tiny)
    tiny.clear()
    assert dovision_evaluate(*command, *TINY) == 0
    assert tiny == [[None], [None]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimized_metric=acuracy/clean"], "optimized_metric must be one of accuracy/clean, "),
        (["attack=fgsm", "attack.eps=0.1", "optimized_metric=accuracy/eps=0.2"], "accuracy/eps=0.1"),
        (["optimized_metric=val_score"], "got 'val_score'."),
    ],
)
def test_a_number_that_no_condition_has_is_refused_before_anything_starts(
    tmp_path, dovision_evaluate, capsys, overrides, message
):
    quoted = [override.replace("eps=0.2", "eps\\=0.2") for override in overrides]
    assert dovision_evaluate(f"output_root={tmp_path}", *quoted) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_every_number_of_a_summary_can_be_named(tmp_path, write_run):
    write_run(tmp_path / "run", eps=(0.2,), images=20, maps=0)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert set(numbers(summary)) == {
        f"{metric}/{name}" for metric in CONDITION_METRICS for name in ("clean", "eps=0.2")
    }
    intervals = {name for found in summary["conditions"].values() for name, value in found.items()
                 if isinstance(value, dict) and "estimate" in value}  # fmt: skip
    assert intervals <= set(CONDITION_METRICS)
    assert math.isnan(numbers(summary)["success_rate/clean"])


@pytest.mark.slow
def test_a_training_returns_its_score(tmp_path, run_command, monkeypatch):
    returned = []
    words = ["dataset=digits", "training.classifier.epochs=0", f"output_root={tmp_path}"]
    monkeypatch.setattr("dovision.jobs.task.JobTask.__call__", noting(returned))
    assert run_command(train, *words, "optimized_metric=val_score") == 0
    assert 0 <= returned[0] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [0, 1])
def test_the_scores_of_a_training_are_those_that_can_be_named(tmp_path, run_command, capsys, epochs):
    words = ("dataset=digits", "dataset.test_fraction=0.75", f"output_root={tmp_path}")
    own = (*words, f"training.classifier.epochs={epochs}")
    assert run_command(train, *own) == 0
    (path,) = tmp_path.glob("checkpoints/*/classifier.ckpt")
    capsys.readouterr()
    for command in (own, (*words, f"checkpoint={path}")):
        assert run_command(train, *command, "optimized_metric=nothing") == 1
        (names,) = re.findall(r"must be one of (.*), got 'nothing'", capsys.readouterr().err)
        assert set(names.split(", ")) == set(checkpoint.read_checkpoint(path)["facts"]["scores"])


def noting(returned):
    from dovision.jobs.task import JobTask

    plain = JobTask.__call__

    def call(self, config):
        returned.append(plain(self, config))
        return returned[-1]

    return call
