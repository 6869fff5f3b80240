"""A run with a component of the user's own is opened where the command trusts it; one that was edited is not."""

import shutil
import sys

import pytest

from dovision.jobs import recorded_runs
from dovision.results.run_record import read_run
from made_runs import edit_config, seal


@pytest.fixture
def run(fitted_run, tmp_path):
    """A copy of the attacked run of digits."""
    return shutil.copytree(fitted_run, tmp_path / "run")


def test_a_configuration_of_another_digest_is_refused(run):
    assert recorded_runs.of_run(run).title == "run"
    edit_config(run, lambda config: config["dataset"].update(seed=7))
    for look in (recorded_runs.of_run, read_run):
        with pytest.raises(ValueError, match=r"config.yaml must be as the run has left it, but has other content"):
            look(run)


def test_a_component_of_the_user_needs_a_word_of_the_command(run, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("from dovision.datasets.digits import Digits as Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("HERE", "0")
    edit_config(run, lambda config: config["dataset"].update(_target_="mine.Mine", seed="${oc.decode:${oc.env:HERE}}"))
    seal(run)
    with pytest.raises(
        ValueError, match="dataset._target_ in .* is 'mine.Mine', which is none of dovision's"
    ) as refused:
        recorded_runs.of_run(run)
    assert f"dovision-view run={run} trust_checkpoint=true" in str(refused.value)
    assert "mine" not in sys.modules
    assert type(recorded_runs.of_run(run, trusted=True).images).__module__ == "dovision.datasets.digits"
    assert "mine" in sys.modules


def of_another_version(config):
    """Settings without keys that came later, with one that is gone, and with an explainer that is gone."""
    for section, key in (("evaluation", "num_thumbnails"), ("detection", "adaptive"), ("explanation", "seed")):
        del config[section][key]
    config["evaluation"].update(gone=1, split="val")
    config["explainer"] = {"kernel_shap": {"_target_": "dovision.explainers.attributions.KernelSHAP", "draws": 500}}


def test_a_run_with_the_keys_of_another_version_is_opened(run):
    edit_config(run, of_another_version)
    seal(run)
    network = recorded_runs.of_run(run)
    assert (network.title, network.split) == ("run", "val")
    assert network.settings.evaluation.num_thumbnails == 8
