"""A fitted model is found again only for the fit that made it."""

import inspect
import shutil

import pytest
import pytorch_lightning as pl
from omegaconf import OmegaConf, open_dict

from dovision.config import settings
from dovision.identity import code, dependencies
from dovision.identity.dependencies import AUTOENCODER, CLASSIFIER
from dovision.identity.relevance import IRRELEVANT_TO_FITS, IRRELEVANT_TO_RESULTS
from dovision.io.files import sha256
from dovision.jobs.hydra_main import train
from made_config import composed

QUICK = ("dataset=digits", "training.classifier.epochs=0")
NETWORKS = (CLASSIFIER, AUTOENCODER)
TRAINER = [name for name in inspect.signature(pl.Trainer.__init__).parameters if name != "self"]


@pytest.fixture(scope="module")
def config():
    config = composed("dataset=digits", "intervention=activation")
    OmegaConf.resolve(config)
    return config


def found(config, data="data", classifier="weights", **changes):
    """Where each network would be found under a configuration in which some keys are changed."""
    changed = config.copy()
    with open_dict(changed):
        for name, value in changes.items():
            OmegaConf.update(changed, name.replace("__", "."), value)
    own = settings.read("evaluate", changed)
    keys = dependencies.network_keys(own, data, sha256)
    keys[AUTOENCODER] = keys[AUTOENCODER].behind(classifier, sha256)
    return [keys[name].path for name in NETWORKS]


def leaves(node, prefix):
    """The dotted names of all values below a node."""
    for name, value in node.items():
        place = f"{prefix}__{name}"
        yield from leaves(value, place) if OmegaConf.is_dict(value) else [place]


def test_each_network_has_a_file_of_its_own_which_equal_settings_find_again(config):
    assert len(set(found(config))) == len(NETWORKS)
    assert found(config) == found(config)


@pytest.mark.parametrize("name", TRAINER)
def test_every_setting_of_the_trainer_but_plumbing_is_part_of_the_fit(config, name):
    same = found(config) == found(config, **{f"trainer__{name}": 0 if name == "inference_mode" else 7})
    assert same == (f"trainer.{name}" in (*IRRELEVANT_TO_RESULTS, *IRRELEVANT_TO_FITS))


def test_what_watches_a_fit_changes_no_weight(tmp_path, run_command):
    quick = ("dataset=digits", "training.classifier.epochs=1", "trainer.limit_train_batches=3")
    plumbing = ["num_sanity_val_steps=0", "log_every_n_steps=1", "profiler=simple"]
    weights = []
    for number, more in enumerate([[], [f"trainer.{setting}" for setting in plumbing]]):
        assert run_command(train, *quick, f"output_root={tmp_path / str(number)}", *more) == 0
        (path,) = (tmp_path / str(number)).glob("checkpoints/*/classifier.ckpt")
        weights.append((path.parent.name, path.read_bytes()))
    assert weights[0] == weights[1]


def test_every_setting_of_model_training_and_autoencoder_is_part_of_its_fit(config):
    nodes = {"model": 0, "training__classifier": 0, "augmentation": 0, "autoencoder": 1, "training__autoencoder": 1}
    for node, place in nodes.items():
        for name in leaves(OmegaConf.select(config, node.replace("__", ".")), node):
            now = OmegaConf.select(config, name.replace("__", "."))
            value = not now if isinstance(now, bool) else 17
            value = {"_target_": "collections.Counter"} if name.endswith(("__scheduler", "__attack")) else value
            assert found(config, **{name: value})[place] != found(config)[place], name


def test_data_seed_measurement_torch_and_a_file_to_start_from_are_part_of_every_fit(config, monkeypatch, tmp_path):
    seen = [found(config), found(config, data="others"), found(config, seed=1)]
    assert found(config, classifier="others")[1] != seen[0][1]
    with monkeypatch.context() as context:
        context.setattr(code, "MEASUREMENT", 99)
        seen.append(found(config))
    with monkeypatch.context() as context:
        context.setattr(code, "version", lambda name: "99.0")
        seen.append(found(config))
    assert all(len(set(paths)) == len(seen) for paths in zip(*seen, strict=True))
    start = tmp_path / "start.pth"
    seen = []
    for content in ("one", "two"):
        start.write_text(content)
        seen.append(found(config, model__checkpoint_file=str(start))[0])
    assert seen[0] != seen[1]


def test_a_file_of_another_fit_is_not_taken_for_this_one(tmp_path, run_command, capsys):
    root = f"output_root={tmp_path}"
    assert run_command(train, *QUICK, root) == 0
    (own,) = tmp_path.glob("checkpoints/*/classifier.ckpt")
    assert run_command(train, *QUICK, root, "seed=1") == 0
    (other,) = set(tmp_path.glob("checkpoints/*/classifier.ckpt")) - {own}
    shutil.copy(other, own)
    capsys.readouterr()
    assert run_command(train, *QUICK, root) == 0
    assert f"is refitted: it is of another fit, {other.parent.name}" in capsys.readouterr().err
    assert own.read_bytes() != other.read_bytes()
