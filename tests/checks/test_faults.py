"""Short form of `make chaos`: a fault of each kind at an operation of each kind of each command."""

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


def test_the_same_command_mends_what_a_fault_has_left(tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    words = ["--commands", "digests", "report", "fit", "job", "--sample", "80", "--folder", tmp_path]
    assert "80 of 80 points pass" in printed(CHECKS / "faults" / "exhaustive.py", *words)
