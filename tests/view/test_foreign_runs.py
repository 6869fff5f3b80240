"""A run with a component of the user's own is opened where the command trusts it; one that was edited is not."""

import shutil
import sys

import pytest
import yaml

from dovision.io.text_files import read_json, write_json
from dovision.jobs import recorded_runs
from dovision.results.run_files import digests
from dovision.results.run_record import read_run
from dovision.results.schemas import DIGESTS, with_digest

pytestmark = pytest.mark.slow


@pytest.fixture
def run(fitted, tmp_path):
    """A copy of the attacked run of digits."""
    own = next((fitted / "evaluate").glob("*/run.json")).parent
    return shutil.copytree(own, tmp_path / "run")


def edit(run, change):
    """Change the configuration of a run, as its owner or somebody else may."""
    path = run / ".hydra" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))


def record_anew(run):
    """Write the digests of the files as they are now."""
    facts = read_json(run / "run.json")
    write_json(run / "run.json", with_digest({**facts, DIGESTS: digests(run)}))


def test_a_configuration_of_another_digest_is_refused(run):
    assert recorded_runs.of_run(run).title == "run"
    edit(run, lambda config: config["dataset"].update(seed=7))
    for look in (recorded_runs.of_run, read_run):
        with pytest.raises(ValueError, match=r"config.yaml must be as the run has left it, but has other content"):
            look(run)


def test_a_component_of_the_user_needs_a_word_of_the_command(run, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("from dovision.datasets.digits import Digits as Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("HERE", "0")
    edit(run, lambda config: config["dataset"].update(_target_="mine.Mine", seed="${oc.decode:${oc.env:HERE}}"))
    record_anew(run)
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
    edit(run, of_another_version)
    record_anew(run)
    network = recorded_runs.of_run(run)
    assert (network.title, network.split) == ("run", "val")
    assert network.settings.evaluation.num_thumbnails == 8
