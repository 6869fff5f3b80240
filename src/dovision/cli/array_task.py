"""A task of the array that `hydra/launcher=slurm_array` has written: python -m dovision.cli.array_task SWEEP NUMBER."""

from __future__ import annotations

import sys
from pathlib import Path

from dovision.cli import evaluate
from dovision.store.run_directory import RunDirectory
from dovision.sweeps.slurm_array import claims


def main() -> None:
    """Run jobs of the sweep that no other process runs, until none is left or a signal ends one; 1 if one failed."""
    code = 0
    for run, arguments in claims(Path(sys.argv[1]), int(sys.argv[2])):
        sys.argv[1:] = arguments
        try:
            evaluate.main()
        except SystemExit as end:
            if isinstance(end.code, int) and end.code > 128:
                raise
            lost = RunDirectory(run).state == "running"  # another task was first
            code = code or int(end.code not in (None, 0) and not lost)
    sys.exit(code)


if __name__ == "__main__":
    main()
