"""Compare what a dry run estimates for 1,000 images with the run: processor time and megabytes.

    python checks/dry_run_estimates.py --quick      200 images of two ways of keeping rows, a minute
    python checks/dry_run_estimates.py              1,000 images, some minutes
    python checks/dry_run_estimates.py model=chexnet evaluation.keep=all    another network, one way of keeping rows
    python checks/dry_run_estimates.py --shards     shards of many rows, and their merge, two minutes

The first estimate is that of `dry_run=true` before anything was run, which times batches; the second that of the same
command once a fifth of the images has been run, which it scales. The run's seconds are those of the processor, from
its first batch to its summary, so that other programs do not disturb them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from dovision.cli import evaluate
from dovision.evaluation.effects import EffectEvaluation
from dovision.store.effect_sums import SUMS
from dovision.store.tables import EFFECTS
from dovision.sweeps import dry_run

JOB = ("dataset=phantom", "dataset.shape=[1,64,64]", "dataset.train_images=64", "dataset.val_images=32")
JOB += (
    "dataset.test_images=1000",
    "intervention.rows=7",
    "intervention.columns=7",
    "evaluation.batch_size=16",
    "training.classifier.epochs=1",
)
WITHIN = 0.2  # of the run
MANY_ROWS = ("dataset=digits", "dataset.shape=[1,28,28]", "dataset.test_fraction=0.7", "training.classifier.epochs=1")
MANY_ROWS += ("intervention.rows=14", "intervention.columns=14", "evaluation.batch_size=25")
SHARDS = 4


def run(root: Path, *overrides: str) -> None:
    """dovision-evaluate in this process; the last override of a key counts."""
    given = {each.partition("=")[0]: each for each in overrides}
    sys.argv = ["dovision-evaluate", *given.values(), f"output_root={root}"]
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            evaluate.main()
        except SystemExit as ended:
            if ended.code:
                sys.exit(errors.getvalue())


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute for a block."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def estimated(root: Path, *overrides: str) -> list[dry_run.JobEstimate]:
    """The estimates of a dry run, of each job."""
    found: list[dry_run.JobEstimate] = []

    def table(estimates: Sequence[dry_run.JobEstimate], workers: int | None = 1) -> str:
        found.extend(estimates)
        return ""

    with replaced(dry_run, "table", table), contextlib.redirect_stdout(io.StringIO()):
        run(root, *overrides, "dry_run=true")
    return found


def measured(root: Path, *overrides: str) -> tuple[float, float]:
    """Seconds of the processor from the first batch to the summary, and MB of the tables of effects."""
    marks: list[float] = []
    start, summary = EffectEvaluation.on_test_start, evaluate.write_summary

    def begun(self: EffectEvaluation, *arguments: Any) -> None:
        marks.append(time.process_time())
        start(self, *arguments)

    def summarised(folder: Path) -> Any:
        found = summary(folder)
        marks.append(time.process_time())
        return found

    with replaced(EffectEvaluation, "on_test_start", begun), replaced(evaluate, "write_summary", summarised):
        run(root, *overrides)
    folder = max(root.glob("evaluate/*/run.json"), key=lambda path: path.stat().st_mtime).parent
    size = sum((folder / name).stat().st_size for name in (EFFECTS, SUMS) if (folder / name).is_file())
    return marks[1] - marks[0], size / 1e6


def compared(root: Path, images: int, *overrides: str) -> tuple[str, int]:
    """The cells of a row, and how many estimates are further from the run than WITHIN."""
    whole = f"evaluation.images={images}"
    timed = estimated(root, *overrides, whole)[0]
    measured(root, *overrides, f"evaluation.images={images // 5}")
    scaled = estimated(root, *overrides, whole)[0]
    seconds, size = measured(root, *overrides, whole)
    pairs = [(60 * each.time.minutes, seconds) for each in (timed, scaled)] + [((timed.bytes or 0) / 1e6, size)]
    wrong = sum(abs(got / true - 1) > WITHIN for got, true in pairs) + (scaled.scaled is None)
    shown = [f"{got:.1f} ({100 * (got / true - 1):+.0f}%)" for got, true in pairs]
    return " | ".join([f"{images:,}", *shown[:2], f"{seconds:.1f}", shown[2], f"{size:.1f}"]), wrong


def in_shards(root: Path, images: int) -> tuple[list[str], bool]:
    """Seconds of shards and of their merge, timed, scaled and run; and whether an estimate is further than WITHIN."""
    own = (*MANY_ROWS, f"evaluation.images={images}")
    cut = ("-m", *own, f"evaluation.shards={SHARDS}", f"evaluation.shard=range({SHARDS})")
    run(root, *MANY_ROWS, "evaluation.images=25")  # fits the network
    estimates = [_of_shards(root, *cut)]
    run(root, *own, f"evaluation.images={max(100, images // 5)}")
    estimates.append(_of_shards(root, *cut))
    seconds = [0.0, 0.0]
    evaluated = evaluate._evaluate

    def timed(settings: Any) -> None:
        began = time.process_time()
        evaluated(settings)
        seconds[settings.evaluation.is_merged] += time.process_time() - began

    with replaced(evaluate, "_evaluate", timed), contextlib.redirect_stdout(io.StringIO()):
        run(root, *cut)
    far = any(abs(sum(each) / sum(seconds) - 1) > WITHIN for each in estimates)
    return [f"{shards:.1f} + {merge:.1f}" for shards, merge in (*estimates, seconds)], far


def _of_shards(root: Path, *overrides: str) -> tuple[float, float]:
    found = [each.time for each in estimated(root, *overrides)]
    return 60 * sum(each.minutes for each in found), 60 * sum(each.merge for each in found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print estimates beside runs; 1 if one is further from its run than WITHIN, or none was scaled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--shards", action="store_true")
    parser.add_argument("overrides", nargs="*", help="of the job")
    asked = parser.parse_args(arguments)
    keeps = [each for each in asked.overrides if each.startswith("evaluation.keep=")]
    own = [*JOB, *(each for each in asked.overrides if each not in keeps)]
    torch.set_num_threads(1)
    far = 0
    if asked.shards:
        print("| images | timed batches, s | scaled from a run of fewer, s | shards and merge, s |")
        print("| --- | --- | --- | --- |")
        for images in (200, 1000):
            with tempfile.TemporaryDirectory() as name:
                cells, wrong = in_shards(Path(name), images)
            print(f"| {images:,} | {' | '.join(cells)} |", flush=True)
            far += wrong
        return int(far > 0)
    print("| evaluation.keep | images | timed batches, s | scaled from a fifth, s | run, s | dry run, MB | run, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        run(root, *own, "evaluation.images=8")  # fits the network
        for keep in keeps or ("evaluation.keep=all", "evaluation.keep=summary"):
            cells, wrong = compared(root, 200 if asked.quick else 1000, *own, keep)
            print(f"| {keep.partition('=')[2]} | {cells} |", flush=True)
            far += wrong
    return int(far > 0)


if __name__ == "__main__":
    sys.exit(main())
