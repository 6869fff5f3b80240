"""Compare a job in shards with the same job in one piece: the SHA-256 of each table.

    python checks/shards.py                     64 shards, some minutes
    python checks/shards.py 8 intervention.rows=7 intervention.columns=7        with any overrides of the job

The shards are the jobs of one sweep, of which the last one that ends merges them. Exit code 1 if a table differs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dovision.cli.evaluate import main as evaluate
from dovision.store.run_record import survey

JOB = ("dataset=digits", "evaluation.batch_size=4", "training.classifier.epochs=1")
UNLIKE = (".hydra/config.yaml", ".hydra/overrides.yaml")  # which name the shards, or the output root


def hashes(root: Path, *overrides: str) -> dict[str, str]:
    """dovision-evaluate in this process, and the SHA-256 of each table of the run that is no shard."""
    sys.argv = ["dovision-evaluate", f"output_root={root}", *JOB, *overrides]
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        evaluate()
    (run,) = (run for run in survey(root / "evaluate") if run.state == "completed")
    return {name: found["sha256"] for name, found in run.record["digests"].items() if name not in UNLIKE}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both hashes of each table; 1 if two differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="?", type=int, default=64)
    parser.add_argument("overrides", nargs="*", help="of the job")
    asked = parser.parse_args(arguments)
    cut = (f"evaluation.shards={asked.shards}", f"evaluation.shard=range({asked.shards})", "-m")
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as parts:
        one = hashes(Path(whole), *asked.overrides)
        merged = hashes(Path(parts), *asked.overrides, *cut)
    print(f"| table | one job | {asked.shards} shards, merged |")
    print("| --- | --- | --- |")
    for name in sorted(one.keys() | merged.keys()):
        print(f"| {name} | {one.get(name, '-')[:16]} | {merged.get(name, '-')[:16]} |")
    return int(one != merged)


if __name__ == "__main__":
    sys.exit(main())
