"""Compare what a dry run estimates for 1,000 images with the run: processor time and megabytes.

    python checks/dry_run_estimates.py --quick      200 images, half a minute
    python checks/dry_run_estimates.py              1,000 images, some minutes
    python checks/dry_run_estimates.py model=chexnet evaluation.keep=all    another network, one way of keeping rows

The estimate is that of `dry_run=true`, which times batches for half a second, by the processor's clock in place of the
wall's, so that other programs do not disturb it. Beside it stands five times the
time of a run of a fifth of the images, without its start.
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

from dovision.cli.evaluate import main as evaluate
from dovision.evaluation.effects import EffectEvaluation
from dovision.store.effect_sums import SUMS
from dovision.store.tables import EFFECTS
from dovision.sweeps import dry_run, timing

JOB = ("dataset=phantom", "dataset.shape=[1,64,64]", "dataset.train_images=64", "dataset.val_images=32")
JOB += ("dataset.test_images=1000", "intervention.rows=7", "intervention.columns=7", "training.classifier.epochs=1")
WITHIN = 0.2  # of the run


def run(root: Path, *overrides: str) -> None:
    """dovision-evaluate in this process; the last override of a key counts."""
    given = {each.partition("=")[0]: each for each in (*JOB, *overrides)}
    sys.argv = ["dovision-evaluate", f"output_root={root}", *given.values()]
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        evaluate()


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute for a block."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def estimated(root: Path, *overrides: str) -> dry_run.JobEstimate:
    """The estimate of a dry run, by the processor's clock."""
    found: list[dry_run.JobEstimate] = []

    def table(estimates: Sequence[dry_run.JobEstimate], workers: int | None = 1) -> str:
        found.extend(estimates)
        return ""

    with replaced(timing, "_now", time.process_time), replaced(dry_run, "table", table):
        run(root, *overrides, "dry_run=true")
    return found[0]


def measured(root: Path, *overrides: str) -> tuple[float, float]:
    """Seconds of the processor from the first batch to the last, and MB of the tables of effects."""
    marks: list[float] = []
    start, end = EffectEvaluation.on_test_start, EffectEvaluation.on_test_end

    def begun(self: EffectEvaluation, *arguments: Any) -> None:
        marks.append(time.process_time())
        start(self, *arguments)

    def ended(self: EffectEvaluation, *arguments: Any) -> None:
        end(self, *arguments)
        marks.append(time.process_time())

    with replaced(EffectEvaluation, "on_test_start", begun), replaced(EffectEvaluation, "on_test_end", ended):
        run(root, *overrides)
    folder = max(root.glob("evaluate/*/run.json"), key=lambda path: path.stat().st_mtime).parent
    size = sum((folder / name).stat().st_size for name in (EFFECTS, SUMS) if (folder / name).is_file())
    return marks[1] - marks[0], size / 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    """Print estimates beside runs; 1 if one is further from its run than WITHIN."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("overrides", nargs="*", help="of the job")
    asked = parser.parse_args(arguments)
    images, keeps = (
        200 if asked.quick else 1000,
        [each for each in asked.overrides if each.startswith("evaluation.keep=")],
    )
    own = [each for each in asked.overrides if each not in keeps]
    torch.set_num_threads(1)
    far = 0
    print("| evaluation.keep | images | dry run, s | from a fifth, s | run, s | dry run, MB | run, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        run(root, *own, "evaluation.images=8")  # fits the network
        for keep in keeps or ("evaluation.keep=all", "evaluation.keep=summary"):
            whole = f"evaluation.images={images}"
            estimate = estimated(root, *own, keep, whole)
            fifth, _ = measured(root, *own, keep, f"evaluation.images={images // 5}")
            seconds, size = measured(root, *own, keep, whole)
            known = 60 * estimate.time.minutes, 5 * fifth
            megabytes = (estimate.bytes or 0) / 1e6
            numbers = (*known, seconds, megabytes, size)
            shown = " | ".join(f"{number:.1f}" for number in numbers)
            print(f"| {keep.partition('=')[2]} | {images:,} | {shown} |", flush=True)
            far += sum(abs(each / seconds - 1) > WITHIN for each in known) + (abs(megabytes / size - 1) > WITHIN)
    return int(far > 0)


if __name__ == "__main__":
    sys.exit(main())
