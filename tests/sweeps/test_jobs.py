"""All jobs are composed and checked before the first starts."""

from __future__ import annotations

import os
import random
import re
from types import SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf, open_dict

from dovision.cli.evaluate import main
from dovision.config.sources import HYDRA_DEFAULTS, configuration_folder
from dovision.sweeps.dry_run import JobEstimate, warn_of_space
from dovision.sweeps.jobs import BASIC, JOBLIB, LOCAL, SLURM, Job, overrides_of_jobs, workers
from dovision.sweeps.timing import BatchTimer, Estimate, TimedTask

pytestmark = pytest.mark.usefixtures("quick_dry_run")


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a minute for each job without timing it, where the minutes are not looked at."""
    monkeypatch.setattr(BatchTimer, "__call__", lambda timer, job: Estimate(1.0))


THREE = ("intervention.rows=1,2,3", "-m")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "messages"),
    [
        ("attack.eps=0.1,300,-1", ["job 1 (", "attack: eps must be in [0, 1] pixel units, got 300", "job 2 ("]),
        (
            "evaluation.reference=with_autoencoder,plane",
            ["evaluation.reference must be one of with_autoencoder, without_autoencoder, got 'plane'"],
        ),
        ("intervention.rows=1,two", ["intervention: rows must be a whole number of at least 1, got 'two'"]),
        ("evaluation.batch_size=4,0", ["evaluation.batch_size must be a whole number of at least 1, got 0"]),
        ("evaluation.only_with_boxes=false,maybe", ["evaluation.only_with_boxes must be true or false, got 'maybe'"]),
        ("seed=0,one", ["seed must be a whole number from 0 to 4294967295, got 'one'"]),
        ("intervention=latent_channel ~autoencoder seed=0,1", ["needs an autoencoder, got none"]),
        ("checkpoint=nowhere.ckpt,null", ["there is no checkpoint nowhere.ckpt"]),
        ("on_failure=stop,go", ["on_failure must be one of continue, stop, got 'go'"]),
        ("detector=[],[entropy]", ["detection needs attacks"]),
        ("+intervention.rowz=3,4", ["intervention has no key 'rowz'. Did you mean rows?"]),
        ("trainer.inference_mode=false,true", ["trainer.inference_mode must be false"]),
    ],
)
def test_a_bad_value_of_any_job_is_told_before_the_first_starts(small, capsys, override, messages):
    assert small(*override.split(), "-m") == 1
    said = capsys.readouterr().err
    for message in messages:
        assert message in said
    assert "none was started" in said
    assert "Traceback" not in said
    assert not small.root.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("intervention.rowz=1,2", "intervention has no key 'rowz'. Did you mean rows?"),
        ("attack=fgsm,pgdd", "attack has no component 'pgdd'. Did you mean pgd"),
    ],
)
def test_a_typo_is_told_before_the_first_starts(run_command, tmp_path, capsys, override, message):
    """With few other words, each of which is composed to find the one at fault."""
    assert run_command(main, "-m", "dataset=digits", override, f"output_root={tmp_path}") == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_launcher_of_a_swept_experiment_which_hydra_passes_over_is_refused(small, tmp_path, capsys):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    for name, launcher in (("one", "joblib"), ("two", "basic")):
        text = f"# @package _global_\ndefaults:\n  - override /hydra/launcher: {launcher}\n"
        (tmp_path / "conf" / "experiment" / f"{name}.yaml").write_text(text)
    assert small("experiment=two,one", "-m", "--config-dir", str(tmp_path / "conf")) == 1
    said = capsys.readouterr().err
    assert (
        "a swept experiment must leave the launcher to the command line, got joblib, where basic would be used" in said
    )
    assert not small.root.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("autoencoder", "units"), [("conv_1x1", 16), ("topk_sae autoencoder.after=relu1 autoencoder.channels=32", 256)]
)
def test_a_dry_run_counts_the_units_of_a_code(untimed, small, capsys, autoencoder, units):
    words = f"intervention=latent autoencoder={autoencoder} evaluation.images=2"
    assert small(*words.split(), "dry_run=true") == 0
    assert f" {4 * (1 + units):,} forward passes" in capsys.readouterr().out


@pytest.mark.slow
def test_a_dry_run_tells_of_each_job_and_starts_nothing(small, capsys):
    assert small(*THREE, "dry_run=true") == 0
    said = capsys.readouterr().out
    assert not small.root.exists()
    lines = said.splitlines()
    assert len(lines) == 1 + 3 + 1
    # 12 images in two conditions, each as it is and with each of rows x 2 cells painted over
    assert [line.split()[:4] for line in lines[1:4]] == [
        ["0", "missing", "0", "72"], ["1", "missing", "0", "120"], ["2", "missing", "0", "168"],
    ]  # fmt: skip
    assert lines[-1].startswith("3 jobs, 3 to do: 0 models to fit, at most 360 forward passes")


@pytest.mark.slow
def test_a_dry_run_knows_what_is_done_what_is_fitted_and_times_what_is_alike_once(small, capsys):
    assert small("intervention.rows=1") == 0
    capsys.readouterr()
    assert small("seed=0,1", "intervention.rows=1,2", "-m", "dry_run=true") == 0
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines()[1:5]]
    jobs = [[word for word in row if word.startswith(("intervention.rows=", "seed="))] for row in rows]
    told = {tuple(job): (*row[1:3], row[4] == "0") for job, row in zip(jobs, rows, strict=True)}
    assert told == {
        ("intervention.rows=1", "seed=0"): ("completed", "0", True),
        ("intervention.rows=1", "seed=1"): ("missing", "1", False),
        ("intervention.rows=2", "seed=0"): ("missing", "0", False),
        ("intervention.rows=2", "seed=1"): ("missing", "0", False),
    }
    timed = sorted(re.findall("timing a batch: (.*)", said.err))  # of two seeds alike, of two grids not
    assert timed in (["attack", *["effects"] * count, "fit of the classifier"] for count in (1, 2))  # 1: by its passes


@pytest.mark.slow
def test_a_dry_run_of_one_job_starts_nothing(untimed, small, capsys):
    assert small("dry_run=true") == 0
    assert "1 jobs, 1 to do" in capsys.readouterr().out
    assert not small.root.exists()


@pytest.mark.parametrize(
    ("launcher", "expected"),
    [
        ({"_target_": BASIC}, 1),
        ({"_target_": JOBLIB, "n_jobs": 3}, 3),
        ({"_target_": JOBLIB, "n_jobs": -1}, 8),
        ({"_target_": LOCAL}, 5),
        ({"_target_": SLURM, "array_parallelism": 64}, 64),
        ({"_target_": "somebody.Launcher"}, None),
    ],
)
def test_the_number_of_workers_is_that_of_the_launcher(launcher, expected, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    config = OmegaConf.create({"hydra": {"launcher": launcher, "sweeper": {"max_batch_size": 5}}})
    assert workers(config) == expected


@pytest.mark.slow
def test_timing_leaves_the_generators_and_the_output_root_as_they_were(small, copy, monkeypatch):
    states, plain = [], BatchTimer.__call__

    def state() -> list[object]:
        return [torch.get_rng_state().tolist(), random.getstate(), torch.get_num_threads(), os.environ.copy()]

    def timed(self, job):
        states.append(state())
        minutes = plain(self, job)
        states.append(state())
        return minutes

    monkeypatch.setattr(BatchTimer, "__call__", timed)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    assert small("seed=1", "threads=2", "dry_run=true") == 0
    assert states[0] == states[1]
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


@pytest.mark.long  # two fits; test_timing.py has the arithmetic
@pytest.mark.slow
def test_an_attack_that_stops_early_takes_more_at_least_until_the_classifier_is_fitted(small, capsys):
    attack = ("attack=square", "attack.queries=1000", "dry_run=true")
    assert small(*attack) == 0
    printed = capsys.readouterr().out
    assert "not known of" not in printed
    assert re.search(r"about [\d.]+ minutes", printed)
    assert small(*attack, "seed=1") == 0
    printed = capsys.readouterr().out.splitlines()
    assert re.search(r" \d+\.\d+\+ ", printed[1])
    assert re.search(r"at least [\d.]+ minutes", printed[2])
    assert printed[3] == (
        "not known of 1 jobs: attack (how soon it stops at an image shows once the classifier is fitted)"
    )


@pytest.mark.slow
def test_a_dry_run_times_maps_detection_and_all_fits(dovision_evaluate, tmp_path, capsys):
    words = (
        "detector=[effect_profile_latent,effect_consistency,max_softmax] detection.adaptive.detectors=[max_softmax] "
    )
    words += "explainer=[grad_cam] explanation.num_sanity_images=2 explanation.cells=4 evaluation.permuted_labels=true "
    words += "+attack@detection.attacks.pgd=pgd detection.val_images=8 detection.test_images=4 dry_run=true"
    assert dovision_evaluate(*words.split(), f"output_root={tmp_path}") == 0
    said = capsys.readouterr()
    assert "1 jobs, 1 to do: 3 models to fit" in said.out
    assert "not known of" not in said.out
    assert re.findall("timing a batch: (.*)", said.err) == [
        *("fit of the classifier", "fit of the autoencoder", "effects", "maps"),
        *("attack pgd", "reading of detectors", "adaptive attack on max_softmax"),
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_dry_run_divides_by_the_workers_of_detection_what_they_share(dovision_evaluate, tmp_path, monkeypatch):
    shared = {}

    def seconds(timer: BatchTimer, task: TimedTask, job: object) -> float:
        shared[task.name] = task.workers
        return 1.0

    monkeypatch.setattr(BatchTimer, "_seconds", seconds)
    words = "detector=[effect_profile,max_softmax] detection.adaptive.detectors=[max_softmax] detection.workers=3 "
    words += "+attack@detection.attacks.pgd=pgd detection.val_images=8 detection.test_images=4 dry_run=true"
    assert dovision_evaluate(*words.split(), f"output_root={tmp_path}") == 0
    assert {kind: count for kind, count in shared.items() if not kind.startswith("fit of")} == {
        **{"effects": 1, "attack pgd": 3, "reading of detectors": 3},
        **{"adaptive attack on max_softmax": 1},  # one detector
    }


def test_effects_larger_than_the_free_disk_are_warned_of(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("dovision.sweeps.dry_run.shutil.disk_usage", lambda folder: SimpleNamespace(free=3 * 10**9))
    jobs = [JobEstimate(Job(number, (), tmp_path), "missing", bytes=10**9) for number in range(3)]
    warn_of_space(tmp_path, jobs[:2])  # and the rows of one while it runs
    assert caplog.text == ""
    warn_of_space(tmp_path, jobs)
    assert f"the jobs may write 4.0 GB, and {tmp_path} has 3.0 GB free." in caplog.text
    warn_of_space(tmp_path, [job._replace(merged=10**9) for job in jobs[:2]])
    assert "the jobs may write 5.0 GB" in caplog.messages[-1]


@pytest.mark.parametrize(
    ("params", "task", "jobs"),
    [
        ({}, ["seed=0,1", "a=b"], [("seed=0", "a=b"), ("seed=1", "a=b")]),
        (
            {"seed": "0,1"},
            ["+x=range(2)"],
            [("seed=0", "+x=0"), ("seed=0", "+x=1"), ("seed=1", "+x=0"), ("seed=1", "+x=1")],
        ),
        ({"seed": "0,1"}, ["seed=7"], [("seed=7",)]),
        ({}, ["x='a,b'", "y=[1,2]"], [("x='a,b'", "y=[1,2]")]),
    ],
)
def test_the_jobs_of_a_sweep_are_those_of_hydras_basic_sweeper(params, task, jobs):
    with initialize_config_dir(str(configuration_folder()), **HYDRA_DEFAULTS):
        config = compose("evaluate", return_hydra_config=True)
        with open_dict(config):
            config.hydra.sweeper.params = params
            config.hydra.overrides.task = task
        own = overrides_of_jobs(config)
        given = [f"{key}={value}" for key, value in params.items()]
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        parsed = parser.parse_overrides([*given, *task])
    assert own == jobs == [tuple(job) for job in BasicSweeper.split_arguments(parsed, None)[0]]
