"""Components on a second device, in a process of its own: torch starts its engine of gradients for all devices."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
def test_components_give_on_another_device_what_they_give_on_the_cpu():
    folders = [f"{Path(__file__).parent}/{kind}" for kind in ("attacks", "detectors", "explainers", "interventions")]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *folders]
    run = subprocess.run(command, env={**os.environ, "SECOND_DEVICE": "1"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
