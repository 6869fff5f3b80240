"""Check that long work stays flat: many jobs in one process, and a folder of many small images.

    python checks/long_work.py                  150 jobs of one sweep; --quick: 24 of them, and 2,000 images
    python checks/long_work.py images           a folder of 100,000 images

After each job its process is looked at. From the first third of the jobs on, memory must not grow by more than
GROWTH a job, and neither open files nor the objects of Python's garbage collector by more than a few. With images,
each stage is a process: it must stay below MEMORY, and print a line at least every SILENCE seconds of a processor.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hydra.experimental.callback import Callback
from PIL import Image

from dovision.cli.evaluate import main as evaluate

GROWTH = {"MB": 0.1, "files": 0.0, "objects": 25.0}  # a job, at most
MEMORY, SILENCE = 2000.0, 5.0  # MB of a stage; seconds of a processor between two lines of it
IMAGES, CLASSES = 100_000, 10
JOB = ("dataset=digits", "training.classifier.epochs=1", "evaluation.images=4", "evaluation.num_thumbnails=1")
JOB += ("intervention.rows=2", "intervention.columns=2", "attack=fgsm", "logger=[csv]")
FOLDER = ("dataset=image_folder", "dataset.shape=[1,28,28]", "training.classifier.epochs=0", "model=small_cnn")
FOLDER += ("intervention.rows=2", "intervention.columns=2", "evaluation.images=64", "dataset.copies=warn")
READ = """
import logging, sys, time
from dovision import component
logging.basicConfig(level=logging.INFO, format="%(message)s")
began = time.monotonic()
images = component("dataset", "image_folder", {"root": sys.argv[1], "shape": [1, 28, 28], "copies": "warn"})
print(f"index and split: {time.monotonic() - began:.1f} s", flush=True)
print(f"identity: {images.fingerprint[:12]}, {time.monotonic() - began:.1f} s")
"""


class Look(NamedTuple):
    """What the process holds after a job."""

    MB: float
    files: int
    objects: int


LOOKS: list[Look] = []
TYPES: list[Counter[str]] = []  # of those objects


class LookAfterJob(Callback):
    """Hydra's callback that looks at the process after each job."""

    def on_job_end(self, config: Any, job_return: Any, **kwargs: Any) -> None:
        gc.collect()
        pages, there = int(Path("/proc/self/statm").read_text().split()[1]), gc.get_objects()
        look = Look(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd")), len(there))
        LOOKS.append(look)
        TYPES.append(Counter(type(one).__qualname__ for one in there))
        print(
            f"job {len(LOOKS):4} {look.MB:8.1f} MB {look.files:4} files {look.objects:9,} objects", file=sys.__stdout__
        )


def look_at_jobs(root: Path, jobs: int) -> list[Look]:
    """Run a sweep of so many jobs in this process."""
    fills = ",".join(f"{number / 1000:g}" for number in range(jobs))
    callback = f"+hydra.callbacks.look._target_={__name__}.{LookAfterJob.__name__}"
    sys.argv = ["dovision-evaluate", "-m", f"output_root={root}", callback, *JOB, f"intervention.fill.value={fills}"]
    LOOKS.clear()
    TYPES.clear()
    with contextlib.redirect_stdout(io.StringIO()):
        evaluate()  # exits where a job has failed, of which nothing would be learnt
    return list(LOOKS)


def growth(looks: Sequence[Look]) -> dict[str, float]:
    """Slope a job of each number, by least squares, from the first third of the jobs on."""
    rows = np.array(looks[len(looks) // 3 :], float)
    slopes = np.polyfit(np.arange(len(rows)), rows, 1)[0]
    return dict(zip(Look._fields, slopes.tolist(), strict=True))


def write_images(root: Path, count: int) -> None:
    """Write small images of noise, each class as often; no two have the same bytes."""
    for label in range(CLASSES):
        (root / f"class{label}").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 16, 16), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(root / f"class{number % CLASSES}" / f"{number:06d}.png", compress_level=1)


class Stage(NamedTuple):
    """Cost of a stage, and its longest silence."""

    seconds: float
    cpu: float  # seconds of a processor
    MB: float  # at most
    silence: float  # seconds of a processor
    code: int


def watched(command: Sequence[str]) -> Stage:
    """Run a command, print its lines with their times, and measure it."""
    began = last = time.monotonic()
    silence, spent, peak = 0.0, 0.0, 0.0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        now = time.monotonic()
        silence, spent, last = max(silence, _spent(process.pid) - spent), _spent(process.pid), now
        peak = max(peak, _peak(process.pid))
        print(f"{now - began:8.1f} s {spent:6.1f} s  {line[:130].rstrip()}", flush=True)
    _, status, usage = os.wait4(process.pid, 0)
    cpu = usage.ru_utime + usage.ru_stime
    return Stage(last - began, cpu, peak, max(silence, cpu - spent), os.waitstatus_to_exitcode(status))


def _spent(process: int) -> float:
    """Seconds of a processor that a running process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _peak(process: int) -> float:
    """MB that a running process has held at most; of one that has ended 0. Its ru_maxrss counts its parent's, too."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM")), 0.0)


def look_at_stages(folder: Path, count: int) -> list[Stage]:
    """Make the images, and measure each stage over them."""
    began = time.monotonic()
    write_images(folder / "images", count)
    print(f"{count:,} images written in {time.monotonic() - began:.1f} s", flush=True)
    command = [sys.executable, "-m", "dovision.cli.evaluate", f"dataset.root={folder / 'images'}", *FOLDER]
    command += [f"output_root={folder / 'outputs'}"]
    commands = {
        "index, split, identity": [sys.executable, "-c", READ, str(folder / "images")],
        "dry run": [*command, "-m", "dry_run=true"],
        "the first 64 images": command,
    }
    stages = []
    for name, words in commands.items():
        stages.append(stage := watched(words))
        times = f"{stage.seconds:.1f} s, {stage.cpu:.1f} s of a processor"
        print(
            f"{name}: {times}, {stage.MB:.0f} MB, silent for {stage.silence:.1f} s of a processor at most", flush=True
        )
    return stages


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a number is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", nargs="?", choices=("jobs", "images"), default="jobs")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=Path("/dev/shm") if Path("/dev/shm").is_dir() else None) as folder:
        if options.work == "images":
            stages = look_at_stages(Path(folder), IMAGES // 50 if options.quick else IMAGES)
            return int(any(one.code or one.MB > MEMORY or one.silence > SILENCE for one in stages))
        looks = look_at_jobs(Path(folder), 24 if options.quick else 150)
    more = (TYPES[-1] - TYPES[len(looks) // 3]).most_common(6)
    print("more objects since the first third:", ", ".join(f"{count} {name}" for name, count in more) or "none")
    slopes = growth(looks)
    print(
        "growth a job:", ", ".join(f"{slope:.3f} {name} (at most {GROWTH[name]:g})" for name, slope in slopes.items())
    )
    return int(any(slope > GROWTH[name] for name, slope in slopes.items()))


if __name__ == "__main__":
    sys.exit(main())
