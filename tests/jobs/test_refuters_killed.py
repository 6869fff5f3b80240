"""Runs with refute=true that are killed at several points, and resumed by the same command."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from dovision.measurement.effects import EffectEvaluation
from dovision.measurement.refuters import RefuterEvaluation
from dovision.results.image_tables import ALTERED, REFUTERS_FILE, UNALTERED
from dovision.results.refuters import refutations
from dovision.results.tables import EFFECTS, SAMPLES

COMMAND = ("evaluation.images=40", "evaluation.batch_size=8", "evaluation.checkpoint_every=8", "refute=true")
POINTS = {
    "in the effects": (EffectEvaluation, "rows", 3),
    "before the first refuter": (RefuterEvaluation, "start", 1),
    "in the first batch of refuters": (RefuterEvaluation, "rows", 1),
    "in the last batch of refuters": (RefuterEvaluation, "rows", 5),
    "with all refuters measured": (RefuterEvaluation, "finish", 1),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, dovision_evaluate) -> Path:
    """An output root with a run that was never stopped."""
    root = tmp_path_factory.mktemp("whole")
    assert dovision_evaluate(f"output_root={root}", *COMMAND) == 0
    return root


def tables(root: Path) -> dict[str, bytes]:
    (run,) = (path.parent for path in root.glob("evaluate/*/run.json"))
    assert json.loads((run / "run.json").read_text())["state"] == "completed"
    return {name: (run / name).read_bytes() for name in (SAMPLES, EFFECTS, REFUTERS_FILE, "summary.json")}


def killed(run: Callable[[], int], owner: type, method: str, call: int) -> int:
    """Exit code of a run in a fork that kills itself when a method is called for that time."""
    process = os.fork()
    if process == 0:
        before, calls = getattr(owner, method), []

        def counted(self, *arguments):
            calls.append(method)
            if len(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return before(self, *arguments)

        setattr(owner, method, counted)
        os._exit(run())
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.mark.parametrize("point", POINTS)
def test_a_run_that_is_killed_resumes_with_equal_tables(point, whole, tmp_path, dovision_evaluate):
    shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints")

    def run() -> int:
        return dovision_evaluate(f"output_root={tmp_path}", *COMMAND)

    assert killed(run, *POINTS[point]) == -signal.SIGKILL
    assert run() == 0
    assert tables(tmp_path) == tables(whole)


def test_all_refuters_have_a_verdict_and_decide_alike(whole):
    (folder,) = (path.parent for path in whole.glob("evaluate/*/run.json"))
    assert set(refutations(folder)["refuter"]) == {UNALTERED, *ALTERED}
