"""All jobs are composed and checked before the first starts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir

from dovision.configuration import configuration_folder
from dovision.sweeps.forecast import Forecast, warn_of_space
from dovision.sweeps.jobs import Job

THREE = ("intervention.rows=1,2,3", "-m")


@pytest.mark.parametrize(
    ("override", "messages"),
    [
        ("attack.eps=0.1,300,-1", ["job 1 (", "attack: eps must be in [0, 1] pixel units, got 300", "job 2 ("]),
        ("evaluation.control=plain,plane", ["evaluation.control must be one of inserted, plain, got 'plane'"]),
        ("intervention.rows=1,two", ["intervention: rows must be a whole number of at least 1, got 'two'"]),
        ("evaluation.batch_size=4,0", ["evaluation.batch_size must be a whole number of at least 1, got 0"]),
        ("evaluation.boxed=false,maybe", ["evaluation.boxed must be true or false, got 'maybe'"]),
        ("seed=0,one", ["seed must be a whole number of at least 0, got 'one'"]),
        ("intervention=latent_channel ~autoencoder seed=0,1", ["needs an autoencoder, got none"]),
        ("checkpoint=nowhere.ckpt,null", ["there is no checkpoint nowhere.ckpt"]),
        ("on_failure=stop,go", ["on_failure must be one of continue, stop, got 'go'"]),
        ("detector=[],[entropy]", ["detection needs attacks"]),
        ("+intervention.rowz=3,4", ["intervention has no key 'rowz'. Did you mean rows?"]),
        ("trainer.inference_mode=false,true", ["trainer.inference_mode must be false"]),
    ],
)
def test_row_9_a_bad_value_of_any_job_is_told_before_the_first_starts(small, capsys, override, messages):
    assert small(*override.split(), "-m") == 1
    said = capsys.readouterr().err
    for message in messages:
        assert message in said
    assert "none was started" in said
    assert "Traceback" not in said
    assert not small.root.exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("intervention.rowz=1,2", "intervention has no key 'rowz'. Did you mean rows?"),
        ("attack=fgsm,pgdd", "attack has no part 'pgdd'. Did you mean pgd"),
    ],
)
def test_row_9_a_typo_is_told_before_the_first_starts(small, capsys, override, message):
    assert small(override, "-m") == 1
    assert message in capsys.readouterr().err
    assert not small.root.exists()


def test_row_17_the_launcher_of_a_swept_experiment_which_hydra_passes_over_is_refused(small, tmp_path, capsys):
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


def test_files_that_are_read_once_compose_to_the_same_configuration():
    from hydra.core.global_hydra import GlobalHydra

    from dovision.sweeps.jobs import read_once

    jobs = (["experiment=demo"], ["attack=pgd", "intervention=latent_channel"], ["experiment=phantom_maps"])
    with initialize_config_dir(str(configuration_folder()), version_base="1.3"):
        plain = [compose("evaluate", job) for job in jobs]
        read_once(GlobalHydra.instance().config_loader())
        assert [compose("evaluate", job) for job in (*jobs, *jobs)] == plain * 2


def test_a_job_composed_after_others_is_the_job_composed_alone():
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    from dovision.sweeps.jobs import Composer

    swept = (
        ["attack=fgsm", "attack.eps=0.1", "seed=1"],
        ["attack=fgsm", "attack.eps=[0.1,0.2]", "seed=2"],
        ["attack=fgsm", "attack.eps=0.1", "seed=1"],
        ["attack=pgd", "attack.eps=0.1", "seed=1"],
        ["attack=pgd", "attack.eps=0.1", "+attack.loss={a: 1}"],
        ["attack=pgd", "attack.eps=0.1", "+attack.loss={b: 1}"],
    )
    with initialize_config_dir(str(configuration_folder()), version_base="1.3"):
        sweep = compose("evaluate", return_hydra_config=True)
        composer, loader = Composer(sweep), GlobalHydra.instance().config_loader()
        for overrides in swept:
            own, alone = composer(overrides), loader.load_sweep_config(sweep, overrides)
            for key in alone:
                if key != "hydra":
                    assert OmegaConf.select(own, key) == OmegaConf.select(alone, key), (overrides, key)


def test_row_10_a_dry_run_tells_of_each_job_and_starts_nothing(small, capsys):
    assert small(*THREE, "dry_run=true") == 0
    said = capsys.readouterr().out
    assert not small.root.exists()
    lines = said.splitlines()
    assert len(lines) == 1 + 3 + 1
    # 12 images in two arms, each as it is and with each of rows x 2 cells painted over
    assert [line.split()[:4] for line in lines[1:4]] == [
        ["0", "missing", "0", "72"], ["1", "missing", "0", "120"], ["2", "missing", "0", "168"],
    ]  # fmt: skip
    assert lines[-1].startswith("3 jobs, 3 to do: 0 models to fit, at most 360 forward passes")


@pytest.mark.slow
def test_row_10_a_dry_run_knows_what_is_done_what_is_fitted_and_how_long_like_runs_took(small, capsys):
    assert small("intervention.rows=1") == 0
    capsys.readouterr()
    assert small("seed=0,1", "intervention.rows=1,2", "-m", "dry_run=true") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:5]]
    jobs = [[word for word in row if word.startswith(("intervention.rows=", "seed="))] for row in rows]
    told = {tuple(job): (*row[1:3], row[4] == "?") for job, row in zip(jobs, rows, strict=True)}
    assert told == {
        ("intervention.rows=1", "seed=0"): ("done", "0", False),
        ("intervention.rows=1", "seed=1"): ("missing", "1", False),
        ("intervention.rows=2", "seed=0"): ("missing", "0", True),
        ("intervention.rows=2", "seed=1"): ("missing", "0", True),
    }


def test_row_10_a_dry_run_of_one_job_starts_nothing(small, capsys):
    assert small("dry_run=true") == 0
    assert "1 jobs, 1 to do" in capsys.readouterr().out
    assert not small.root.exists()


def test_effects_larger_than_the_free_disk_are_warned_of(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("dovision.sweeps.forecast.shutil.disk_usage", lambda folder: SimpleNamespace(free=3 * 10**9))
    jobs = [Forecast(Job(number, (), tmp_path), "missing", 0, 1, 1.0, 10**9, None) for number in range(4)]
    warn_of_space(tmp_path, jobs[:3])
    assert caplog.text == ""
    warn_of_space(tmp_path, jobs)
    assert f"the jobs may write 4.0 GB, and {tmp_path} has 3.0 GB free." in caplog.text


def test_what_runs_alike_took_of_memory_is_compared_with_what_is_free(tmp_path, caplog, monkeypatch):
    job = Job(0, (), tmp_path)
    monkeypatch.setattr("dovision.sweeps.forecast._free_memory", lambda: 2 * 10**9)
    warn_of_space(tmp_path, [Forecast(job, "missing", 0, 1, 1.0, 1, 10**9)])
    assert "memory" not in caplog.text
    warn_of_space(tmp_path, [Forecast(job, "missing", 0, 1, 1.0, 1, 3 * 10**9)])
    assert "a run like these took 3.0 GB of memory, and 2.0 GB are free." in caplog.text
