"""The shipped launchers, where their extras are installed."""

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from dovision.config.errors import error_text
from dovision.config.sources import configuration_folder
from dovision.jobs import hydra_main as module
from dovision.jobs.hydra_main import JobTask, this_process, watched
from dovision.jobs.start import share_cores
from dovision.results.run_record import read_sweep
from made_config import composed

FAULTS = Path(__file__).resolve().parent  # of the module faulty
SMALL = ("dataset=digits", "training.classifier.epochs=1", "training.autoencoder.epochs=1", "evaluation.images=12")
SMALL += ("evaluation.num_thumbnails=2", "threads=1", "intervention.columns=2", "attack=fgsm", "attack.eps=0.1")
SMALL += ("evaluation.batch_size=4", "evaluation.checkpoint_every=4")
missing = find_spec("hydra_plugins") is None or find_spec("hydra_plugins.hydra_submitit_launcher") is None


def launched(root: Path, *overrides: str, fault: str = "") -> subprocess.CompletedProcess[str]:
    """dovision-evaluate in a process of its own, started in the folder `root`."""
    command = [sys.executable, "-c", "import faulty; faulty.main()", "output_root=.", *SMALL, *overrides, "-m"]
    reset = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 # which a shell may have let ignore
    alone = {"cwd": root, "env": environment(root, fault), "start_new_session": True, "preexec_fn": reset}
    return subprocess.run(command, capture_output=True, text=True, **alone)


def environment(root: Path, fault: str) -> dict[str, str]:
    """Of processes to which a fault happens: <what>:<rows>:<columns>:<batch>."""
    here = {"OMP_NUM_THREADS": "1", "FIRED": str(root / "fired"), "FAULT": fault or ":::"}
    here["RAY_AUTH_MODE"] = "disabled"  # else it hangs on a token that an earlier cluster may have left at home
    return {**os.environ, **here, "PYTHONPATH": os.pathsep.join([str(FAULTS), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def cluster(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster of Ray of two workers, started in a folder of its own; one worker is killed, once."""
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="needs the extra launchers-ray")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ray = Path(sys.executable).with_name("ray")
    start = [ray, "start", "--head", "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"]
    start += [f"--port={port}", "--object-store-memory=100000000"]
    killed = environment(copy, "SIGKILL:2:2:1")
    subprocess.run(start, cwd=tmp_path_factory.mktemp("elsewhere"), env=killed, check=True, capture_output=True)
    yield f"127.0.0.1:{port}"
    subprocess.run([ray, "stop"], check=True, capture_output=True)


def test_workers_share_one_model_also_where_the_one_that_fits_it_is_killed(tmp_path, assert_undisturbed):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs the extra launchers-joblib")
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    done = launched(tmp_path, "intervention.rows=1,2,3", *joblib, fault="SIGKILL:*:*:fit3")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "fired").exists()
    assert "3 jobs: 3 completed." in done.stderr
    logs = [path.read_text() for path in tmp_path.glob("evaluate/*/run.log")]
    # a worker that waited for the killed one may come to the end of a fit before the launcher ends it, for its loss
    assert sum(log.count("epoch 1 of 1") for log in logs) in (1, 2)
    assert sum(log.count("found the fitted classifier") for log in logs) in (2, 3)
    assert len({run.record["checkpoints"]["classifier"] for run in read_sweep(tmp_path / "evaluate")}) == 1
    assert sum(log.count("] completed in") for log in logs) == 3
    assert_undisturbed(tmp_path / "evaluate")


def test_one_ctrl_c_ends_a_sweep_with_workers_in_a_line(copy, assert_undisturbed, small):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs the extra launchers-joblib")
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    done = launched(copy, "intervention.rows=1,2,3", *joblib, fault="Ctrl-C:1:2:1")
    assert done.returncode == 130
    assert "Warning" not in done.stderr
    _, _, said = done.stderr.partition("dovision-evaluate: interrupted: stopped by SIGINT; the same command resumes\n")
    # Another job may begin or end just then.
    first, *rest = [line for line in said.splitlines() if not line.startswith("[")]
    assert first.split()[:3] == ["job", "grid", "state"]
    # What follows is the summary, with findings if two jobs had ended by then, and nothing of the workers.
    assert not re.search("Traceback|Warning|Error|loky|joblib", "\n".join(rest))
    assert "\n3 jobs: " in said
    assert "job 0 interrupted" in said
    assert small("intervention.rows=1,2,3", "-m") == 0
    assert_undisturbed(small.root)


@pytest.mark.skipif(missing, reason="needs the extra launchers-submitit")
def test_the_batch_script_of_slurm_says_what_the_configuration_says(tmp_path, dovision_evaluate, monkeypatch):
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/script\necho no cluster >&2\nexit 1\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    slurm = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=90"]
    slurm += ["hydra.launcher.array_parallelism=2"]
    assert dovision_evaluate(f"output_root={tmp_path / 'out'}", "seed=0,1,2", *slurm, "-m") == 1
    lines = (tmp_path / "script").read_text().splitlines()
    asked = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert asked >= {"time=90", "signal=USR2@180", "requeue", "partition=gpu", "array=0-2%2", "gpus-per-node=1"}
    assert asked >= {"cpus-per-task=4", "mem=16GB", "open-mode=append"}
    assert "submitit.core._submit" in lines[-1]


@pytest.mark.long
@pytest.mark.skipif(missing, reason="needs the extra launchers-submitit")
def test_a_preempted_job_of_submitit_is_requeued_and_goes_on_where_it_was(copy, assert_undisturbed):
    done = launched(copy, "intervention.rows=2", "hydra/launcher=submitit_local", fault="preemption:2:2:1")
    assert done.returncode == 0, done.stderr
    assert (copy / "fired").exists()
    assert_undisturbed(copy / "evaluate")
    logs = [path.read_text() for path in copy.glob("evaluate/*/run.log")]
    assert sum("stopped by SIGUSR" in log for log in logs) == 1
    assert "1 jobs: 1 completed." in done.stderr


def test_a_cluster_of_ray_by_address_does_a_job_again_whose_worker_is_killed(cluster, copy, assert_undisturbed):
    ray = ("hydra/launcher=ray", f"hydra.launcher.ray.init.address={cluster}")
    done = launched(copy, "intervention.rows=1,2,3", *ray)
    assert done.returncode == 0, done.stderr
    assert (copy / "fired").exists()
    assert_undisturbed(copy / "evaluate")
    assert "3 jobs: 3 completed." in done.stderr


@pytest.mark.parametrize("path", sorted((configuration_folder() / "hydra" / "launcher").glob("*.yaml")))
@pytest.mark.filterwarnings("ignore:.*ConfigStore schema")
def test_each_launcher_composes(path):
    config = composed(f"hydra/launcher={path.stem}", hydra=True)
    assert config.hydra.launcher._target_.startswith("hydra_plugins.")


@pytest.mark.parametrize(
    ("launcher", "at_once", "own", "threads"),
    [
        ("submitit_local", "8", None, "1"),
        ("submitit_local", "3", None, "2"),
        ("submitit_local", "3", "5", "5"),
        ("submitit_slurm", "3", None, None),
    ],
)
@pytest.mark.filterwarnings("ignore:.*ConfigStore schema")
def test_processes_on_one_machine_share_its_cores(launcher, at_once, own, threads, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs its extra")
    monkeypatch.setenv("OMP_NUM_THREADS", own or "")
    if own is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    overrides = [f"hydra/launcher={launcher}", f"hydra.sweeper.max_batch_size={at_once}"]
    share_cores(composed(*overrides, hydra=True))
    assert os.environ.get("OMP_NUM_THREADS") == threads


def test_a_worker_ends_with_its_command_however_that_ends(monkeypatch):
    monkeypatch.setattr(module, "WATCH_PERIOD", 0.01)
    reads, writes = os.pipe()
    command = os.fork()
    if command == 0:
        process = this_process()
        if os.fork() == 0:
            with watched(process):
                os.write(writes, b"r")
                time.sleep(600)
        time.sleep(600)
    os.close(writes)
    assert os.read(reads, 1) == b"r"
    os.kill(command, signal.SIGKILL)
    os.waitpid(command, 0)
    assert os.read(reads, 1) == b""  # once neither process holds the other end


def test_a_command_on_another_machine_is_not_watched():
    with watched("elsewhere-1"):
        time.sleep(0.01)
        assert not [thread for thread in threading.enumerate() if thread.name.endswith("(watch)")]


def test_a_worker_leaves_ctrl_c_to_its_command():
    task = pickle.dumps(JobTask("print", print))
    process = os.fork()
    if process == 0:
        pickle.loads(task)
        os._exit(signal.getsignal(signal.SIGINT) != signal.SIG_IGN)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def test_what_was_raised_in_a_worker_is_told_without_its_wrapping():
    wrapped = RuntimeError("a traceback of many lines")
    wrapped.cause = ValueError("eps must be in [0, 1] pixel units, got 300.")
    assert error_text(wrapped) == "eps must be in [0, 1] pixel units, got 300."
