"""Short forms of `make chaos`: a sample of faults, and few tasks of an array."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = Path(__file__).parents[2] / "checks"


def printed(*words: str | Path) -> str:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.long
@pytest.mark.slow
def test_the_same_command_mends_what_a_fault_has_left(tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    words = ["--commands", "digests", "report", "fit", "merge", "job", "--sample", "200", "--folder", tmp_path]
    passed, points = re.search(
        r"(\d+) of (\d+) points pass", printed(CHECKS / "faults" / "exhaustive.py", *words)
    ).groups()
    assert (passed, points) == ("200", "200")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("store", [[], ["--leases"]], ids=["locks", "leases"])
def test_tasks_that_die_and_come_back_lose_no_shard_and_measure_none_twice(store):
    assert "0 lost, 0 wrong, 0 twice" in printed(CHECKS / "slurm_array.py", "--quick", *store)
