"""All jobs are composed and checked before the first starts."""

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import open_dict

from dovision.config.sources import HYDRA_DEFAULTS, configuration_folder
from dovision.jobs.start import overrides_of_jobs


@pytest.mark.parametrize(
    ("override", "messages"),
    [
        ("attack.eps=0.1,300,-1", ["job 1 (", "attack: eps must be in [0, 1] pixel units, got 300", "job 2 ("]),
        ("evaluation.reference=with_autoencoder,plane", ["reference: Input should be 'with_autoencoder' or 'witho"]),
        ("intervention=activation ~autoencoder seed=0,1", ["needs an autoencoder, got none"]),
        ("checkpoint=nowhere.ckpt,null", ["there is no checkpoint nowhere.ckpt"]),
        ("+intervention.rowz=3,4", ["intervention has no key 'rowz'. Did you mean rows?"]),
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


@pytest.mark.parametrize(
    ("autoencoder", "units"), [("conv_1x1", 16), ("topk_sae autoencoder.after=relu1 autoencoder.channels=32", 256)]
)
def test_a_dry_run_counts_the_units_of_a_code(small, capsys, autoencoder, units):
    words = f"intervention=activation intervention.unit=latent autoencoder={autoencoder} evaluation.images=2"
    assert small(*words.split(), "dry_run=true") == 0
    assert f" {4 * (1 + units):,} forward passes" in capsys.readouterr().out


def test_a_dry_run_tells_of_each_job_and_starts_nothing(small, capsys):
    assert small("intervention.rows=1,2,3", "-m", "dry_run=true") == 0
    said = capsys.readouterr().out
    assert not small.root.exists()
    lines = said.splitlines()
    assert len(lines) == 1 + 3 + 1
    # 12 images in two conditions, each as it is and with each of rows x 2 cells painted over
    assert [line.split()[:4] for line in lines[1:4]] == [
        ["0", "missing", "0", "72"], ["1", "missing", "0", "120"], ["2", "missing", "0", "168"],
    ]  # fmt: skip
    assert lines[-1].startswith("3 jobs, 3 to do: 0 models to fit, at most 360 forward passes")


def test_a_dry_run_knows_what_is_done_and_what_is_fitted(small, capsys):
    assert small("intervention.rows=1") == 0
    capsys.readouterr()
    assert small("seed=0,1", "intervention.rows=1,2", "-m", "dry_run=true") == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {tuple(sorted(line.split()[4:])): line.split()[1:4] for line in lines[1:5]}
    assert rows == {
        ("intervention.rows=1", "seed=0"): ["completed", "0", "0"],
        ("intervention.rows=1", "seed=1"): ["missing", "1", "72"],
        ("intervention.rows=2", "seed=0"): ["missing", "0", "120"],
        ("intervention.rows=2", "seed=1"): ["missing", "0", "120"],
    }
    assert "4 jobs, 3 to do: 1 models to fit, at most 312 forward passes" in lines[5]
    assert small("seed=0,1", "intervention.rows=1,2", "-m", "dry_run=true", "rerun=all") == 0
    assert "4 jobs, 4 to do" in capsys.readouterr().out
    assert small("seed=0,1", "intervention.rows=1,2", "-m", "dry_run=true", "rerun=failed") == 0
    assert "4 jobs, 0 to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("params", "task", "jobs"),
    [
        ({}, ["seed=0,1", "a=b"], [("seed=0", "a=b"), ("seed=1", "a=b")]),
        ({"seed": "0,1"}, ["+x=range(2)"], [(f"seed={seed}", f"+x={x}") for seed in (0, 1) for x in (0, 1)]),
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
