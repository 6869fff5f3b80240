"""Compare the minutes of a dry run with those of the run, by the processor's clock.

    python checks/dry_run_estimates.py                     four commands, some minutes
    python checks/dry_run_estimates.py experiment=demo     a command of yours

Exits with 1 if an estimate is further than 30 % from its run, or took more than a tenth of it and two seconds.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from dovision.cli import evaluate
from dovision.sweeps import timing

COMMANDS = (
    "dataset=digits attack=fgsm attack.eps=[0.1,0.2] intervention.rows=8 intervention.columns=8",
    "dataset=phantom dataset.train_images=600 model=small_resnet evaluation.images=16",
    "dataset=phantom dataset.train_images=200 dataset.test_images=60 explainer=[effect_map,rise,grad_cam]",
    "dataset=digits evaluation.images=50 detector=[effect_profile,max_softmax] +attack@detection.attacks.pgd=pgd",
)
FAR, SHARE, FLOOR = 0.3, 0.1, 2.0  # of the run's seconds; and seconds that an estimate may take in any case


def main() -> int:
    """Print a row for each command."""
    torch.set_num_threads(1)
    timing._now = time.process_time
    wrong = 0
    print("| command | estimate, s | run, s | timing, s |\n| --- | --- | --- | --- |")
    for command in [" ".join(sys.argv[1:])] if sys.argv[1:] else COMMANDS:
        with tempfile.TemporaryDirectory() as name:
            estimates, timed = called(timing.BatchTimer, "__call__", Path(name), f"{command} dry_run=true")
            _, seconds = called(evaluate, "_evaluate", Path(name), command)
        estimate = 60 * sum(job.minutes for job in estimates)
        print(
            f"| `{command}` | {estimate:.1f} ({estimate / seconds - 1:+.0%}) | {seconds:.1f} | {timed:.1f} |",
            flush=True,
        )
        wrong += abs(estimate / seconds - 1) > FAR or timed > max(FLOOR, SHARE * seconds)
    return int(wrong > 0)


def called(owner: Any, name: str, root: Path, command: str) -> tuple[list[Any], float]:
    """What a function of the command returns each time, and the seconds that it takes in all."""
    function, returned, seconds = getattr(owner, name), [], 0.0

    def timed(*arguments: Any) -> Any:
        nonlocal seconds
        began = time.process_time()
        returned.append(function(*arguments))
        seconds += time.process_time() - began
        return returned[-1]

    setattr(owner, name, timed)
    arguments, sys.argv = sys.argv, ["dovision-evaluate", *command.split(), f"output_root={root}"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            evaluate.main()
        except SystemExit as ended:
            if ended.code:
                raise RuntimeError(errors.getvalue()) from ended
        finally:
            setattr(owner, name, function)
            sys.argv = arguments
    return returned, seconds


if __name__ == "__main__":
    sys.exit(main())
