"""dovision-evaluate to which one thing happens, once, in a batch of one job; a launcher's workers import it, too.

FAULT=<what>:<rows>:<columns>:<batch>, where rows and columns may be * for any job, and a batch fit<number> is one of
training. FIRED names the file that is made when it has happened.
"""

import itertools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from dovision.jobs.evaluate import evaluate_effects as undisturbed
from dovision.jobs.hydra_main import hydra_main
from dovision.measurement.effects import EffectEvaluation
from dovision.training.image_classifier import ImageClassifier


def press_ctrl_c() -> None:
    """Signal all processes of the command, as a terminal does, and stay in the batch until the job is ended for it.

    A worker learns of it some tenths of a second later: by then a small job would be completed.
    """
    os.killpg(os.getpgid(int(os.environ["LAUNCHING"])), signal.SIGINT)
    for _ in range(600):
        time.sleep(0.05)  # short: what ends a worker's job does not end a sleep


FAULTS: dict[str, Callable[[], object]] = {
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "preemption": lambda: os.kill(os.getpid(), signal.SIGUSR2),  # as submitit's schedulers announce it
    "Ctrl-C": press_ctrl_c,
}


def evaluate(planned) -> None:  # type: ignore[no-untyped-def]
    """The story, with the fault if this is its job."""
    what, rows, columns, batch = os.environ.get("FAULT", ":::").split(":")
    place = (ImageClassifier, "training_step") if batch.startswith("fit") else (EffectEvaluation, "rows")
    plain, counted = getattr(*place), itertools.count()
    job = [str(planned.settings.intervention[name]) for name in ("rows", "columns")]
    mine = [rows, columns] in (job, ["*", "*"])

    def disturbed(self, *arguments):  # type: ignore[no-untyped-def]
        fired = Path(os.environ["FIRED"]) if mine else Path("/")
        if mine and next(counted) == int(batch.removeprefix("fit")) and not fired.exists():
            fired.touch()
            FAULTS[what]()
        return plain(self, *arguments)

    setattr(*place, disturbed)
    try:
        undisturbed(planned)
    finally:
        setattr(*place, plain)


def main() -> None:
    """dovision-evaluate, as the process that launches jobs."""
    os.environ["LAUNCHING"] = str(os.getpid())
    hydra_main("evaluate", evaluate)()
