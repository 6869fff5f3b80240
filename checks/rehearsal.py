"""Rehearse a large evaluation: its memory and open files on the way, and the time of its page.

    python checks/rehearsal.py --quick                  2,000 films, a minute
    python checks/rehearsal.py                          112,120 films, a quarter of an hour
    python checks/rehearsal.py model=chexnet dataset.shape=[1,224,224] trainer=gpu      with any overrides of a run

The films are noise drawn by number, with 14 labels and about 3.6 films a patient, as in ChestX-ray14; the 4 x 5 cells
are a tenth of a grid of 14 x 14. The network is one linear layer on small films, unless another is chosen: what is
rehearsed are the tables. Neither memory nor open files may grow with the images: while they are measured, not at all;
at the end, when tables are merged and summarised, by buffers of a fixed size.
"""

from __future__ import annotations

import argparse
import math
import os
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
EVERY = 0.1  # seconds between two looks at a process
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


def measured(folder: Path, overrides: Sequence[str]) -> list[Look]:
    """Run the job in an empty folder to its end, and look at it on the way."""
    for group, name, text in (("dataset", "films", DATASET), ("model", "linear_layer", MODEL)):
        (folder / "conf" / group).mkdir(parents=True)
        (folder / "conf" / group / f"{name}.yaml").write_text(text)
    command = [sys.executable, "-m", "dovision.cli.evaluate", "--config-dir", str(folder / "conf")]
    command += [f"output_root={folder}", *JOB, *overrides]
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=log, stderr=log)
        looks = list(looks_at(process, folder))
    if process.wait():
        raise SystemExit(f"the run has failed:\n{(folder / 'log').read_text()[-2000:]}")
    return looks


def looks_at(process: subprocess.Popen[bytes], folder: Path) -> Iterator[Look]:
    """Looks at a process until it ends."""
    proc = Path(f"/proc/{process.pid}")
    while process.poll() is None:
        ends = (path.stem for path in folder.glob("evaluate/*/shards/*/*/*.json"))
        finished = max((int(end) for end in ends if end.isdigit()), default=0)
        try:
            pages = int((proc / "statm").read_text().split()[1])
            yield Look(finished, pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir(proc / "fd")))
        except (OSError, IndexError):
            return
        time.sleep(EVERY)


def flatness(looks: Sequence[Look], films: int) -> tuple[bool, str]:
    """Whether memory and open files stay as they were at a quarter of the films, and a line of them."""
    at = {share: next((look for look in looks if look.images >= share * films), None) for share in (0.25, 0.5, 0.75)}
    if None in at.values():
        raise SystemExit("the run must last long enough to be looked at on its way. Take more films: --films.")
    first = at[0.25]
    measuring = max(look.megabytes for look in looks if first.images <= look.images < films)
    most, files = max(look.megabytes for look in looks), max(look.files for look in looks)
    flat = measuring <= GROWTH * first.megabytes and most <= first.megabytes + BUFFERS and files <= first.files + 16
    shares = ", ".join(f"{look.megabytes:.0f} at {share:g}" for share, look in at.items())
    return (
        flat,
        f"MB of memory: {shares}, {most:.0f} at the most, at the end; open files: {first.files}, {files} at most",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; 1 if something grows, or the page takes long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--films", type=int)
    parser.add_argument("--folder", type=Path, help="an empty one, which is kept; none: a temporary one")
    parser.add_argument("overrides", nargs="*", help="of dovision-evaluate")
    options = parser.parse_args(arguments)
    films = options.films or (2000 if options.quick else FILMS)
    with tempfile.TemporaryDirectory() as temporary:
        folder, began = options.folder or Path(temporary), time.monotonic()
        looks = measured(folder, [f"dataset.films={films}", *options.overrides])
        flat, line = flatness(looks, films)
        print(f"{films:,} films, {time.monotonic() - began:.0f} s\n{line}", flush=True)
        began = time.monotonic()
        report = [sys.executable, "-m", "dovision.cli.report", f"sweep={folder / 'evaluate'}"]
        with (folder / "log").open("ab") as log:
            subprocess.run(report, check=True, stdout=log, stderr=log)
        page = time.monotonic() - began
    print(f"page: {page:.0f} s")
    return int(not flat or page > PAGE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
