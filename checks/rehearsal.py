"""Rehearse a large evaluation that is killed at random: bytes, memory, open files, and the time of its page.

    python checks/rehearsal.py --quick                  2,000 films, 3 kills, a minute or two
    python checks/rehearsal.py                          112,120 films, 10 kills, half an hour
    python checks/rehearsal.py model=chexnet dataset.shape=[1,224,224] trainer=gpu      with any overrides of a run

The films are noise drawn by number, with 14 labels and about 3.6 films a patient, as in ChestX-ray14; the 4 x 5 cells
are a tenth of a grid of 14 x 14. The network is one linear layer on small films, unless another is chosen: what is
rehearsed are the tables. One run is undisturbed. The other is killed by SIGKILL at random moments, the last one while
its tables are merged, and started again by the same command. Both must leave the same bytes in all tables and
summary.json, and neither memory nor open files may grow with the images: while they are measured, not at all; at the
end, when tables are merged and summarised, by buffers of a fixed size.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from dovision.interfaces import Classifier, Images, Source
from dovision.types import Task

FILMS, PATIENTS, LABELS = 112_120, 30_805, 14  # of ChestX-ray14
PREVALENCE = 0.06  # of a label
FITTED = 64  # films of train and of val
GROWTH = 1.1  # of memory from a quarter of the films to the last of them, at most
BUFFERS = 600.0  # MB at the end of a run: sums that are held at once, and what is computed of them
PAGE_SECONDS = 120.0
LATER = 10.0  # seconds after so many films, at which a kill falls, at most
EVERY = 0.1  # seconds between two looks at a process
UNLIKE = (".hydra/config.yaml", ".hydra/overrides.yaml")  # which name the output root
DATASET = f"""# Films of noise, drawn by number.
_target_: rehearsal.Films
task: multilabel
classes: [{", ".join(f"label{number}" for number in range(LABELS))}]
shape: [1, 16, 20] # channels, pixels, pixels
films: {FILMS} # of the test split
"""
MODEL = """# One linear layer.
_target_: rehearsal.linear_layer
shape: ${dataset.shape}
task: ${dataset.task}
classes: ${dataset.classes}
"""
JOB = ("dataset=films", "model=linear_layer", "logger=[]", "threads=1")
JOB += ("intervention.rows=4", "intervention.columns=5", "training.classifier.epochs=1")
JOB += ("evaluation.keep=predicted",)


@dataclass(frozen=True)
class Noise:
    """Films of noise by row; the film of a number is the same in every split and process."""

    shape: tuple[int, ...]

    def __call__(self, row: int) -> Tensor:
        return torch.rand(self.shape, generator=torch.Generator().manual_seed(row))


class Films(Images):
    """Noise with labels of the prevalence of findings, of which a patient has a few films."""

    content = "noise-1"

    def __init__(self, task: str, classes: Sequence[str], shape: Sequence[int], films: int) -> None:
        self.task, self.shape = Task(task, tuple(classes)), tuple(shape)
        self._films = {"train": FITTED, "val": FITTED, "test": films}

    def source(self, split: str) -> Source:
        count, random = self._films[split], torch.Generator().manual_seed(len(split))
        label = (torch.rand(count, len(self.task.classes), generator=random) < PREVALENCE).float()
        return Source(Noise(self.shape), label, torch.tensor(self._patients(split)))

    def source_table(self, split: str) -> pd.DataFrame:
        names = [f"{split}{row:06}" for row in range(self._films[split])]
        return pd.DataFrame({"name": names, "group": list(map(str, self._patients(split)))})

    def _patients(self, split: str) -> list[int]:
        first = {"train": 0, "val": FITTED, "test": 2 * FITTED}[split]
        return [first + row * PATIENTS // FILMS for row in range(self._films[split])]


def linear_layer(shape: Sequence[int], task: str, classes: Sequence[str]) -> Classifier:
    """A linear layer that predicts each label about as often as it is there."""
    layer = nn.Linear(math.prod(shape), len(classes))
    nn.init.constant_(layer.bias, math.log(PREVALENCE))
    return Classifier(nn.Sequential(nn.Flatten(), layer), Task(task, tuple(classes)), [0.5], [0.5])


class Look(NamedTuple):
    """What a process holds at a moment."""

    images: int  # that are finished on disk
    megabytes: float  # resident
    files: int  # open


class Rehearsal:
    """One job in an output root, each start of it a process of its own.

    Args:
        folder: of the dataset's yaml and of both output roots.
        overrides: of the command.
    """

    def __init__(self, folder: Path, overrides: Sequence[str]) -> None:
        self.folder = folder
        self.overrides = [*JOB, *overrides]
        for group, name, text in (("dataset", "films", DATASET), ("model", "linear_layer", MODEL)):
            (folder / "conf" / group).mkdir(parents=True)
            (folder / "conf" / group / f"{name}.yaml").write_text(text)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Begin or go on with the job in the output root of this name."""
        command = [sys.executable, "-m", "dovision.cli.evaluate", "--config-dir", str(self.folder / "conf")]
        path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, f"output_root={self.folder / name}", *self.overrides],
                env={**os.environ, "PYTHONPATH": path},
                stdout=log,
                stderr=log,
            )

    def undisturbed(self, name: str) -> list[Look]:
        """Run the job to its end, and look at it on the way."""
        process = self.start(name)
        looks = list(self._looks(name, process))
        self._check(name, process)
        return looks

    def killed(self, name: str, moments: Sequence[tuple[int, float]]) -> list[int]:
        """Run the job to its end, killed at moments: once so many films are finished, and so many seconds later.

        Returns:
            The films that were finished at each kill; fewer than there are moments if the job was faster than one.
        """
        finished = []
        for films, later in moments:
            process = self.start(name)
            while process.poll() is None and self._finished(name) < films:
                time.sleep(EVERY)
            try:
                process.wait(later)
                break
            except subprocess.TimeoutExpired:
                finished.append(self._finished(name))
                process.kill()
                process.wait()
        self._check(name, self.start(name))
        return finished

    def run(self, name: str) -> Path:
        """The run directory in an output root."""
        (record,) = (self.folder / name).glob("evaluate/*/run.json")
        return record.parent

    def digests(self, name: str) -> dict[str, str]:
        """The recorded SHA-256 of each table and picture of the run, and of summary.json."""
        facts = json.loads((self.run(name) / "run.json").read_text())
        return {file: each["sha256"] for file, each in facts["digests"].items() if file not in UNLIKE}

    def page_seconds(self, name: str) -> float:
        """Seconds of dovision-report."""
        began = time.monotonic()
        command = [sys.executable, "-m", "dovision.cli.report", f"sweep={self.folder / name / 'evaluate'}"]
        with (self.folder / f"{name}.log").open("ab") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log)
        return time.monotonic() - began

    def _looks(self, name: str, process: subprocess.Popen[bytes]) -> Iterator[Look]:
        proc = Path(f"/proc/{process.pid}")
        while process.poll() is None:
            try:
                pages = int((proc / "statm").read_text().split()[1])
                yield Look(self._finished(name), pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir(proc / "fd")))
            except (OSError, IndexError):
                return
            time.sleep(EVERY)

    def _finished(self, name: str) -> int:
        ends = (path.stem for path in (self.folder / name).glob("evaluate/*/shards/*/*/*.json"))
        return max((int(end) for end in ends if end.isdigit()), default=0)

    def _check(self, name: str, process: subprocess.Popen[bytes]) -> None:
        if process.wait():
            log = (self.folder / f"{name}.log").read_text()[-2000:]
            raise SystemExit(f"the run has failed:\n{log}")


def flatness(looks: Sequence[Look], films: int) -> tuple[bool, str]:
    """Whether memory and open files stay as they were at a quarter of the films, and a line of them."""
    at = {share: next((look for look in looks if look.images >= share * films), None) for share in (0.25, 0.5, 0.75)}
    if None in at.values():
        raise SystemExit("the run must last long enough to be looked at on its way. Take more films: --films.")
    first = at[0.25]
    measured = max(look.megabytes for look in looks if first.images <= look.images < films)
    most, files = max(look.megabytes for look in looks), max(look.files for look in looks)
    flat = measured <= GROWTH * first.megabytes and most <= first.megabytes + BUFFERS and files <= first.files + 16
    shares = ", ".join(f"{look.megabytes:.0f} at {share:g}" for share, look in at.items())
    return (
        flat,
        f"MB of memory: {shares}, {most:.0f} at the most, at the end; open files: {first.files}, {files} at most",
    )


def random_moments(kills: int, films: int, looks: Sequence[Look], draw: random.Random) -> list[tuple[int, float]]:
    """Films after which a job is killed, and seconds after that; once after the last film, by the looks at a run."""
    end = EVERY * sum(1 for look in itertools.dropwhile(lambda look: look.images < films, looks))
    later = min(LATER, EVERY * sum(0 < look.images < films for look in looks) / 2)
    measuring = sorted(draw.randrange(films) for _ in range(kills - 1))
    return [*((each, draw.uniform(0, later)) for each in measuring), (films, draw.uniform(0, end))][:kills]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; 1 if bytes differ, something grows, the page takes long, or half the kills came too late."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--films", type=int)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--folder", type=Path, help="an empty one, which is kept; none: a temporary one")
    parser.add_argument("overrides", nargs="*", help="of dovision-evaluate")
    asked = parser.parse_args(arguments)
    films = asked.films or (2000 if asked.quick else FILMS)
    kills = asked.kills if asked.kills is not None else (3 if asked.quick else 10)
    with tempfile.TemporaryDirectory() as temporary:
        rehearsal = Rehearsal(asked.folder or Path(temporary), [f"dataset.films={films}", *asked.overrides])
        return rehearse(rehearsal, films, kills, random.Random(asked.seed))


def rehearse(rehearsal: Rehearsal, films: int, kills: int, draw: random.Random) -> int:
    """Both runs and the page; prints a line of each."""
    began = time.monotonic()
    looks = rehearsal.undisturbed("undisturbed")
    seconds = time.monotonic() - began
    flat, line = flatness(looks, films)
    print(f"undisturbed: {films:,} films, {seconds:.0f} s\n{line}", flush=True)
    began = time.monotonic()
    finished = rehearsal.killed("killed", random_moments(kills, films, looks, draw))
    places = ", ".join(f"{images:,}" for images in finished)
    print(f"killed {len(finished)} times, with films finished: {places}; {time.monotonic() - began:.0f} s", flush=True)
    one, other = rehearsal.digests("undisturbed"), rehearsal.digests("killed")
    unlike = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    print(f"same bytes of {len(one)} files: {not unlike} {' '.join(unlike)}".rstrip(), flush=True)
    page = rehearsal.page_seconds("undisturbed")
    print(f"page: {page:.0f} s")
    return int(bool(unlike) or not flat or page > PAGE_SECONDS or 2 * len(finished) < kills)


if __name__ == "__main__":
    sys.exit(main())
