"""Names of jobs in a dashboard."""

from pathlib import Path

import pytest
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from dovision.jobs import session


@pytest.mark.parametrize(
    ("overrides", "shared", "expected"),
    [
        (["dataset=digits", "attack=fgsm", "attack.eps=0.1"], ["dataset"], "attack=fgsm eps=0.1"),
        (["+attack@detection.attacks.x=pgd", "intervention.rows=4"], ["intervention.rows"], "x=pgd"),
        (["note='of-${oc.env:SECRET}'"], [], "note='of-${oc.env:SECRET}'"),
        (["dataset=digits"], ["dataset"], "digits-small_cnn-fgsm"),
        ([f"intervention.rows={'9' * 80}"], [], f"rows={'9' * 48}-c1812c"),
    ],
)
def test_a_job_of_a_sweep_is_named_by_its_factors(overrides, shared, expected, monkeypatch):
    hydra = OmegaConf.structured(HydraConf(mode=RunMode.MULTIRUN))
    hydra.overrides.task = overrides
    hydra.job.config.override_dirname.exclude_keys = shared
    hydra.runtime.choices = {"dataset": "digits", "model": "small_cnn", "attack": "fgsm", "autoencoder": None}
    monkeypatch.setenv("SECRET", "1234")
    monkeypatch.setattr(HydraConfig, "get", lambda: hydra)
    found = session.run_name()
    assert found == expected
    assert session.run_name(Path("runs/own.ckpt")) == expected.replace("small_cnn", "own")
    assert len(found) <= 60
