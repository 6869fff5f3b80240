"""The shipped launchers, where their extras are installed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from dovision.configuration import configuration_folder

CHAOS = Path(__file__).resolve().parents[1] / "chaos"
SMALL = (
    "dataset=digits",
    "training.classifier.epochs=1",
    "training.autoencoder.epochs=1",
    "evaluation.images=12",
    "evaluation.maps=2",
    "threads=1",
)
SMALL += ("intervention.columns=2", "attack=fgsm", "attack.eps=0.1", "evaluation.batch_size=4", "evaluation.flush=4")
THREE = ("-m", "intervention.rows=1,2,3")


missing = find_spec("hydra_plugins") is None or find_spec("hydra_plugins.hydra_submitit_launcher") is None


def launched(root: Path, *overrides: str, fault: str = "") -> subprocess.CompletedProcess[str]:
    """dovision-evaluate in a process of its own; `fault` is <what>:<rows>:<columns>:<batch>."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FIRED": str(root / "fired"), "FAULT": fault or ":::"}
    environment["PYTHONPATH"] = os.pathsep.join([str(CHAOS), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", "import faulty; faulty.main()", *THREE, f"output_root={root}", *SMALL, *overrides]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.skipif(missing, reason="needs the extra launchers-submitit")
@pytest.mark.slow
def test_row_18_a_preempted_job_of_submitit_is_requeued_and_goes_on_where_it_was(copy, assert_undisturbed):
    done = launched(copy, "hydra/launcher=submitit_local", fault="preemption:2:2:1")
    assert done.returncode == 0, done.stderr
    assert (copy / "fired").exists()
    assert_undisturbed(copy / "evaluate")
    logs = [path.read_text() for path in copy.glob("evaluate/*/run.log")]
    assert sum("stopped by SIGUSR" in log for log in logs) == 1
    assert "3 jobs: 3 completed." in done.stderr


@pytest.mark.parametrize("path", sorted((configuration_folder() / "hydra" / "launcher").glob("*.yaml")))
@pytest.mark.filterwarnings("ignore:.*ConfigStore schema")
def test_each_launcher_composes(path):
    with initialize_config_dir(str(configuration_folder()), version_base="1.3"):
        config = compose("evaluate", [f"hydra/launcher={path.stem}"], return_hydra_config=True)
    assert config.hydra.launcher._target_.startswith("hydra_plugins.")
