"""Sweeps to which things happen at seeded moments, each completed by the same command: is any job lost, or wrong?

python checks/faults/campaign.py --sweeps 100 --seed 0 --launchers basic joblib submitit_local

Each command is a process of its own, forked from one that has the package in memory, which saves its start; processes
that a launcher starts begin from nothing. A full disk is a small one, mounted for the sweep and filled to the last
byte; where mounting is not allowed, files in the job's process are limited to 100 bytes instead, and a line says so.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import faulty

HERE = Path(__file__).resolve().parent
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["dovision.cli.evaluate"])
INSIDE = ("SIGKILL", "launcher killed", "SIGTERM", "exception", "sys.exit", "full disk", "unreadable image")
FAULTS = (*INSIDE, "damaged checkpoint")  # the first ones are in faulty.py
JOBS = list(itertools.product((1, 2, 3), (1, 2)))  # rows and columns
BATCHES = 3  # of a job
SETTINGS = ("dataset=digits", "training.classifier.epochs=1", "evaluation.images=12", "evaluation.num_thumbnails=2")
SETTINGS += ("evaluation.batch_size=4", "evaluation.checkpoint_every=4", "attack=fgsm", "attack.eps=0.1", "threads=1")
SETTINGS += ("intervention.rows=1,2,3", "intervention.columns=1,2", "explainer=[edge_map,occlusion]")
LAUNCHERS = {
    "basic": (),
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit_local": ("hydra/launcher=submitit_local", "hydra.sweeper.max_batch_size=2"),
    "ray": ("hydra/launcher=ray",),
}
TABLES = ("samples.parquet", "effects.parquet", "maps.parquet", "summary.json")
TRIES = 3  # commands after the disturbed one
DISK = "size=32m"  # of a sweep that is to run out of space
BALLAST = "ballast"  # the file that fills it


class Disturbance(NamedTuple):
    """What happens in a sweep, under which launcher, in which batch of which job."""

    launcher: str
    fault: str
    job: tuple[int, int]
    batch: int


class Outcome(NamedTuple):
    """Jobs that were lost, that are wrong, that were completed twice, and commands until all were completed.

    A job is wrong if it says that it is completed, and is not what the undisturbed sweep wrote.
    """

    lost: int
    wrong: int
    twice: int
    commands: int
    happened: int  # 1, or 0 if the job never came to its fault


Counts = Mapping[tuple[str, str], Counter[str]]  # by launcher and fault, of sweeps and of what came of them


def main() -> int:
    """Run the campaign, print its figures, and return 1 if a job was lost, is wrong, or was completed twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which no sweep is begun any more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--launchers", nargs="+", choices=LAUNCHERS, default=["basic"], help="in turn; may be repeated")
    parser.add_argument("--folder", type=Path, help="for each command's log and the sweeps that went wrong; is kept")
    asked = parser.parse_args()
    began = time.monotonic()
    with nullcontext(asked.folder) if asked.folder else tempfile.TemporaryDirectory() as folder:
        counts = campaign(Path(folder), asked.launchers, asked.seed, asked.sweeps, asked.minutes)
    return told(counts, (time.monotonic() - began) / 60)


def campaign(folder: Path, launchers: Sequence[str], seed: int, sweeps: int, minutes: float = math.inf) -> Counts:
    """Disturb so many sweeps, with each fault under each launcher in turn."""
    counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    draw, end = random.Random(seed), time.monotonic() + 60 * minutes
    undisturbed = folder / "undisturbed"
    folder.mkdir(parents=True, exist_ok=True)
    if run(undisturbed, "basic") != 0:
        raise SystemExit("the undisturbed sweep has failed")
    for number in range(sweeps):
        launcher, fault = launchers[number % len(launchers)], FAULTS[number // len(launchers) % len(FAULTS)]
        disturbance = Disturbance(launcher, fault, draw.choice(JOBS), draw.randrange(BATCHES))
        if time.monotonic() > end:
            break
        outcome = disturbed(folder / str(number), undisturbed, disturbance)
        print(number, *disturbance, outcome, flush=True)
        counts[launcher, fault].update(outcome._asdict(), sweeps=1)
    return counts


def told(counts: Counts, minutes: float) -> int:
    """Print the counts and their sums; 1 if there is anything to mend."""
    columns = ("sweeps", *Outcome._fields)
    print(f"{'launcher':16}{'fault':20}" + "".join(f"{word:>10}" for word in columns))
    for (launcher, fault), count in sorted(counts.items()):
        print(f"{launcher:16}{fault:20}" + "".join(f"{count[word]:10}" for word in columns))
    total = sum(counts.values(), Counter[str]())
    print(
        f"{total['happened']} faults in {total['sweeps']} sweeps of {len(JOBS)} jobs, "
        f"{total['sweeps'] * len(JOBS)} jobs: {total['lost']} lost, {total['wrong']} wrong, "
        f"{total['twice']} completed twice, {minutes:.1f} minutes"
    )
    return int(bool(total["lost"] + total["wrong"] + total["twice"]))


def disturbed(root: Path, undisturbed: Path, disturbance: Disturbance) -> Outcome:
    """A sweep with a fault, then the same command until it says that all is completed; kept only if that is not so."""
    root.mkdir()
    with small_disk(root) if disturbance.fault == "full disk" else nullcontext():
        shutil.copytree(undisturbed / "checkpoints", root / "checkpoints")
        if disturbance.fault == "damaged checkpoint":
            (path,) = root.glob("checkpoints/*/classifier.ckpt")
            path.write_bytes(path.read_bytes()[: 1000 + 100 * disturbance.batch])
            beside(root, "fired").touch()
        code = run(root, disturbance.launcher, disturbance)
        (root / BALLAST).unlink(missing_ok=True)
        wrong = compared(root, undisturbed)
        commands = 1
        while code and commands <= TRIES:
            code = run(root, disturbance.launcher)
            commands += 1
        wrong |= compared(root, undisturbed)
        completed = sum(state(folder) == "completed" for folder in root.glob("evaluate/*/"))
        twice = sum(path.read_text().count("] completed in") > 1 for path in root.glob("evaluate/*/run.log"))
        if wrong or twice or completed < len(JOBS):
            shutil.copytree(root, beside(root, "kept"))
    shutil.rmtree(root)
    return Outcome(len(JOBS) - completed, len(wrong), twice, commands, int(beside(root, "fired").exists()))


def beside(root: Path, kind: str) -> Path:
    """A file or folder of the campaign, on the disk that does not fill."""
    return root.with_name(f"{root.name}.{kind}")


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a disk of its own on a folder, if that is allowed."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", folder], capture_output=True).returncode == 0
    if not mounted:
        print("no disk could be mounted: files are limited instead")
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", folder], check=True)


def run(root: Path, launcher: str, disturbance: Disturbance | None = None) -> int:
    """The exit code of one command; its log goes beside the folder."""
    environment = {"OMP_NUM_THREADS": "1", "FIRED": str(beside(root, "fired")), "FAULT": ":::"}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    environment["BALLAST"] = str(root / BALLAST) if root.is_mount() else ""
    if disturbance is not None and disturbance.fault in INSIDE:
        rows, columns = disturbance.job
        environment["FAULT"] = f"{disturbance.fault}:{rows}:{columns}:{disturbance.batch}"
    arguments = ["-m", f"output_root={root}", *SETTINGS, *LAUNCHERS[launcher]]
    process = SERVER.Process(target=faulty.launch, args=(arguments, environment, beside(root, "log")))
    process.start()
    process.join()
    return process.exitcode or 0


def compared(root: Path, undisturbed: Path) -> set[str]:
    """Run directories that say that they are completed, and are not, to the byte, what the undisturbed sweep wrote."""
    return {
        folder.name
        for folder in root.glob("evaluate/*/")
        if state(folder) == "completed"
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
