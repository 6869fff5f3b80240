"""Small sweeps in this process, and things that happen to them in the middle."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dovision.measurement.effects import EffectEvaluation
from dovision.results.run_record import Run, read_sweep

THREE_BATCHES = ("evaluation.batch_size=4", "evaluation.checkpoint_every=4")  # of twelve images
SMALL = ("attack=fgsm", "attack.eps=0.1", *THREE_BATCHES)
THREE = ("intervention.rows=1,2,3", "-m")
TABLES = ("samples.parquet", "effects.parquet", "summary.json")


@pytest.fixture
def in_batch(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Let something happen in the n-th batch that is measured from now on, counted over all jobs."""
    measure = EffectEvaluation.rows

    def arrange(number: int, happen: Callable[[], object]) -> None:
        counted = itertools.count()

        def measured(self, *arguments):
            if next(counted) == number:
                happen()
            return measure(self, *arguments)

        monkeypatch.setattr(EffectEvaluation, "rows", measured)

    return arrange


@pytest.fixture
def small(copy, dovision_evaluate):
    """dovision-evaluate on three batches a job, in an output root of its own."""

    def run(*overrides: str) -> int:
        return dovision_evaluate(f"output_root={copy}", *SMALL, *sorted(overrides, key=lambda word: word == "-m"))

    run.root = copy / "evaluate"
    return run


@pytest.fixture(scope="session")
def undisturbed(fitted, tmp_path_factory, dovision_evaluate) -> Path:
    """The folder of the sweep of three jobs, to which nothing has happened."""
    root = tmp_path_factory.mktemp("undisturbed")
    os.symlink(fitted / "checkpoints", root / "checkpoints")
    assert dovision_evaluate(f"output_root={root}", *SMALL, *THREE) == 0
    return root / "evaluate"


@pytest.fixture
def states() -> Callable[[Path], dict[int, str]]:
    """The state of each job, by its rows."""
    return lambda sweep: {rows_of(run): run.state for run in sorted(read_sweep(sweep), key=rows_of)}


def rows_of(run: Run) -> int:
    """The last intervention.rows of its command line."""
    return [int(o.partition("=")[2]) for o in run.overrides if o.startswith("intervention.rows=")][-1]


@pytest.fixture
def assert_undisturbed(undisturbed: Path) -> Callable[[Path], None]:
    """Every job that is there is completed, and of the bytes of the undisturbed sweep."""

    def check(sweep: Path) -> None:
        runs = {run.folder.name: run for run in read_sweep(sweep)}
        assert {run.state for run in runs.values()} == {"completed"}
        assert set(runs) <= {path.parent.name for path in undisturbed.glob("*/run.json")}
        for name in runs:
            for table in TABLES:
                assert (sweep / name / table).read_bytes() == (undisturbed / name / table).read_bytes(), (name, table)
            assert not (sweep / name / "chunks").exists()

    return check
