"""Compare what a dry run estimates for 1,000 images with the run: processor time and megabytes.

    python checks/dry_run_estimates.py --quick      200 images, half a minute
    python checks/dry_run_estimates.py              1,000 images, some minutes

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
    """dovision-evaluate in this process."""
    sys.argv = ["dovision-evaluate", f"output_root={root}", *JOB, *overrides]
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
    images = 200 if parser.parse_args(arguments).quick else 1000
    torch.set_num_threads(1)
    far = 0
    print("| evaluation.keep | images | dry run, s | from a fifth, s | run, s | dry run, MB | run, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        run(root, "evaluation.images=8")  # fits the network
        for keep in ("all", "summary"):
            own, whole = f"evaluation.keep={keep}", f"evaluation.images={images}"
            estimate = estimated(root, own, whole)
            fifth, _ = measured(root, own, f"evaluation.images={images // 5}")
            seconds, size = measured(root, own, whole)
            known = 60 * estimate.time.minutes, 5 * fifth
            megabytes = (estimate.bytes or 0) / 1e6
            numbers = (*known, seconds, megabytes, size)
            print(f"| {keep} | {images:,} | {' | '.join(f'{number:.1f}' for number in numbers)} |")
            far += sum(abs(each / seconds - 1) > WITHIN for each in known)
    return int(far > 0)


if __name__ == "__main__":
    sys.exit(main())
