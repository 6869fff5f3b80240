"""dovision-evaluate to which one thing happens, once, in a batch of one job; a launcher's workers import it, too.

FAULT=<what>:<rows>:<columns>:<batch>, where rows and columns may be * for any job, and a batch fit<number> is one of
training. FIRED names the file that is made when it has happened, and BALLAST, if it is not empty, the one that fills
the disk.
"""

from __future__ import annotations

import itertools
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from dovision.cli.evaluate import evaluate_effects as undisturbed
from dovision.cli.hydra_main import hydra_main
from dovision.datasets.in_memory import InMemory
from dovision.evaluation.effects import EffectEvaluation
from dovision.training.image_classifier import ImageClassifier


def refuse() -> None:
    raise RuntimeError("an exception from the campaign")


def fill_the_disk() -> None:
    """Leave no byte on the sweep's own disk; without one, let no file of this process grow beyond 100 bytes."""
    if not os.environ["BALLAST"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        return
    with suppress(OSError), open(os.environ["BALLAST"], "wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))


def spoil_an_image() -> None:
    plain = InMemory.__call__

    def read(self: InMemory, row: int) -> object:
        InMemory.__call__ = plain  # type: ignore[method-assign]
        raise OSError(5, "Input/output error", f"image-{row}")

    InMemory.__call__ = read  # type: ignore[assignment, method-assign]


def press_ctrl_c() -> None:
    """Signal all processes of the command, as a terminal does, and stay in the batch until the job is ended for it.

    A worker learns of it some tenths of a second later: by then a small job would be completed.
    """
    os.killpg(os.getpgid(int(os.environ["LAUNCHING"])), signal.SIGINT)
    for _ in range(600):
        time.sleep(0.05)  # short: what ends a worker's job does not end a sleep


FAULTS: dict[str, Callable[[], object]] = {
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "launcher killed": lambda: os.kill(int(os.environ["LAUNCHING"]), signal.SIGKILL),
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "preemption": lambda: os.kill(os.getpid(), signal.SIGUSR2),  # as submitit's schedulers announce it
    "Ctrl-C": press_ctrl_c,
    "exception": refuse,
    "sys.exit": lambda: sys.exit(0),
    "full disk": fill_the_disk,
    "unreadable image": spoil_an_image,
}


def evaluate(settings) -> None:  # type: ignore[no-untyped-def]
    """The story, with the fault if this is its job; limits are lifted when it ends."""
    what, rows, columns, batch = os.environ.get("FAULT", ":::").split(":")
    place = (ImageClassifier, "training_step") if batch.startswith("fit") else (EffectEvaluation, "measure")
    plain, counted = getattr(*place), itertools.count()
    job = [str(settings.intervention[name]) for name in ("rows", "columns")]
    mine = [rows, columns] in (job, ["*", "*"])

    def disturbed(self, *arguments):  # type: ignore[no-untyped-def]
        fired = Path(os.environ["FIRED"]) if mine else Path("/")
        if mine and next(counted) == int(batch.removeprefix("fit")) and not fired.exists():
            fired.touch()
            FAULTS[what]()
        return plain(self, *arguments)

    setattr(*place, disturbed)
    try:
        undisturbed(settings)
    finally:
        setattr(*place, plain)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def main() -> None:
    """dovision-evaluate, as the process that launches jobs."""
    os.environ["LAUNCHING"] = str(os.getpid())
    hydra_main("evaluate", evaluate)()


def launch(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """dovision-evaluate in this process, which ends with it; what it says goes to the end of a file."""
    os.environ.update(environment)
    sys.argv = ["dovision-evaluate", *arguments]
    with log.open("a") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    try:
        main()
    finally:
        if "joblib" in sys.modules:  # its workers live on for minutes where no interpreter ends
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor(reuse=True).shutdown()
