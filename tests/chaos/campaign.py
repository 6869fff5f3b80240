"""Sweeps to which things happen at seeded moments, each completed by the same command: is any job lost, or wrong?

python tests/chaos/campaign.py --sweeps 100 --seed 0 --launchers basic joblib submitit_local
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
INSIDE = ("SIGKILL", "SIGTERM", "exception", "sys.exit", "full disk", "unreadable image")  # faulty.py has them
FAULTS = (*INSIDE, "damaged checkpoint")
JOBS = list(itertools.product((1, 2, 3), (1, 2)))  # rows and columns
BATCHES = 3  # of a job
SETTINGS = ("dataset=digits", "training.classifier.epochs=1", "evaluation.images=12", "evaluation.maps=2")
SETTINGS += ("evaluation.batch_size=4", "evaluation.flush=4", "attack=fgsm", "attack.eps=0.1", "threads=1")
SETTINGS += ("intervention.rows=1,2,3", "intervention.columns=1,2")
LAUNCHERS = {
    "basic": (),
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit_local": ("hydra/launcher=submitit_local", "hydra.sweeper.max_batch_size=2"),
    "ray": ("hydra/launcher=ray",),
}
TABLES = ("samples.parquet", "effects.parquet", "summary.json")
TRIES = 3  # commands after the disturbed one


class Disturbance(NamedTuple):
    """What happens in a sweep, under which launcher, in which batch of which job."""

    launcher: str
    fault: str
    job: tuple[int, int]
    batch: int


class Outcome(NamedTuple):
    """Jobs that were lost, that are wrong, that ran to completion twice, and commands until all were completed."""

    lost: int
    wrong: int
    twice: int
    commands: int
    happened: bool


def main() -> int:
    """Run the campaign, print its figures, and return 1 if a job was lost or wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--launchers", nargs="+", choices=LAUNCHERS, default=["basic"])
    arguments = parser.parse_args()
    began, draw, total = time.monotonic(), random.Random(arguments.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = Path(folder) / "undisturbed"
        if run(undisturbed, "basic") != 0:
            raise SystemExit("the undisturbed sweep has failed")
        for number in range(arguments.sweeps):
            fault = FAULTS[number % len(FAULTS)]
            launcher = arguments.launchers[number // len(FAULTS) % len(arguments.launchers)]
            disturbance = Disturbance(launcher, fault, draw.choice(JOBS), draw.randrange(BATCHES))
            outcome = disturbed(Path(folder) / str(number), undisturbed, disturbance)
            print(number, *disturbance, outcome, flush=True)
            total.update(lost=outcome.lost, wrong=outcome.wrong, twice=outcome.twice, injected=int(outcome.happened))
    minutes = (time.monotonic() - began) / 60
    print(
        f"{total['injected']} faults in {arguments.sweeps} sweeps of {len(JOBS)} jobs, "
        f"{arguments.sweeps * len(JOBS)} jobs: {total['lost']} lost, {total['wrong']} wrong, "
        f"{total['twice']} completed twice, {minutes:.1f} minutes"
    )
    return int(bool(total["lost"] + total["wrong"] + total["twice"]))


def disturbed(root: Path, undisturbed: Path, disturbance: Disturbance) -> Outcome:
    """A sweep with a fault, then the same command until it says that all is completed."""
    shutil.copytree(undisturbed / "checkpoints", root / "checkpoints")
    if disturbance.fault == "damaged checkpoint":
        (path,) = root.glob("checkpoints/*/classifier.ckpt")
        path.write_bytes(path.read_bytes()[: 1000 + 100 * disturbance.batch])
        (root / "fired").touch()
    code = run(root, disturbance.launcher, disturbance)
    wrong = compared(root, undisturbed, states=("completed",))
    commands = 1
    while code and commands <= TRIES:
        code = run(root, disturbance.launcher)
        commands += 1
    wrong |= compared(root, undisturbed, states=("completed",))
    completed = sum(state(folder) == "completed" for folder in root.glob("evaluate/*/"))
    twice = sum(path.read_text().count("] completed in") > 1 for path in root.glob("evaluate/*/run.log"))
    happened = (root / "fired").exists()
    if not wrong and completed == len(JOBS) and not twice:
        shutil.rmtree(root)
    return Outcome(len(JOBS) - completed, len(wrong), twice, commands, happened)


def run(root: Path, launcher: str, disturbance: Disturbance | None = None) -> int:
    """The exit code of one command."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FIRED": str(root / "fired")}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    environment.pop("FAULT", None)
    if disturbance is not None and disturbance.fault in INSIDE:
        rows, columns = disturbance.job
        environment["FAULT"] = f"{disturbance.fault}:{rows}:{columns}:{disturbance.batch}"
    command = [sys.executable, "-c", "import faulty; faulty.main()", "-m", f"output_root={root}", *SETTINGS]
    root.mkdir(exist_ok=True)
    with (root / "log").open("a") as log:
        return subprocess.run([*command, *LAUNCHERS[launcher]], env=environment, stdout=log, stderr=log).returncode


def compared(root: Path, undisturbed: Path, states: tuple[str, ...]) -> set[str]:
    """Run directories in one of the states that are not, to the byte, what the undisturbed sweep wrote."""
    return {
        folder.name
        for folder in root.glob("evaluate/*/")
        if state(folder) in states
        and any(content(folder / name) != content(undisturbed / "evaluate" / folder.name / name) for name in TABLES)
    }


def state(folder: Path) -> str:
    """The state in a folder's run.json; empty if there is none."""
    path = folder / "run.json"
    return str(json.loads(path.read_text())["state"]) if path.exists() else ""


def content(path: Path) -> bytes | None:
    """The bytes of a file; None if there is none."""
    return path.read_bytes() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
