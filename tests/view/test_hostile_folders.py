"""Run directories and checkpoints of somebody else: nothing runs but components of this package."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

import dovision as dv
from dovision.config.component_names import check_stored, package_targets
from dovision.config.inferred_settings import with_inferred_settings
from dovision.config.sources import configuration_folder
from dovision.io.text_files import write_json
from dovision.jobs import recorded_runs
from dovision.models.checkpoint import read_checkpoint, rebuilt, save_checkpoint
from dovision.results.run_record import read_sweep, survey
from dovision.results.schemas import with_digest

MADE = {"_target_": "os.mkdir", "path": "canary"}
TARGETS: dict[str, dict[str, Any]] = {  # with arguments by which a folder or a file `canary` appears
    "os.system": {"command": "touch canary"},
    "os.mkdir": {"path": "canary"},
    "builtins.exec": {"_args_": ["open('canary', 'w')"]},
    "torch.utils.collect_env.run": {"command": "touch canary"},
    "hydra.utils.instantiate": {"config": MADE},
    "dovision.models._catalogue.build": {"settings": MADE, "trusted": True},
}
SMALL = {"_target_": "dovision.models.small_cnn.small_cnn", "shape": [1, 28, 28], "task": "multiclass"}
SMALL |= {"classes": ["a", "b"], "mean": [0.5], "std": [0.5]}


@pytest.fixture(scope="module")
def network():
    return dv.small_cnn((1, 28, 28), "multiclass", ["a", "b"], [0.5], [0.5])


def config_places(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Configurations of runs with a node at different depths, also below components of this package."""
    pictures = {"_target_": "dovision.datasets.image_folder.ImageFolder", "root": "x"}
    yield {"dataset": node}
    yield {"dataset": {**pictures, "root": node}}
    yield {"dataset": {**pictures, "root": [[{"a": [node]}]]}}
    yield {"dataset": {**pictures, "_partial_": True, "_args_": [node]}}
    yield {"dataset": pictures, "model": {**SMALL, "mean": node}}
    yield {"dataset": pictures, "training": {"classifier": {"optimizer": {**node, "_partial_": True}}}}
    yield {"dataset": pictures, "detector": {"x": {"_target_": "torch.optim.Adam", "y": node}}}
    yield {"dataset": {**pictures, "found": {"dataset": {"dataset": node}}}}


def write_run(folder, config, **facts):
    """A run directory as its writer wishes: the digest of run.json is no secret."""
    (folder / ".hydra").mkdir(parents=True, exist_ok=True)
    (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    given = {"state": "partial", "checkpoint_files": {"classifier": "a.ckpt"}, "checkpoints": {"classifier": ""}}
    write_json(folder / "run.json", with_digest({**given, **facts}))


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_run_directory_calls_nothing(tmp_path, monkeypatch, target):
    monkeypatch.chdir(tmp_path)
    folder, node = tmp_path / "run", {"_target_": target, **TARGETS[target]}
    for config in config_places(node):
        write_run(folder, config)
        with pytest.raises(ValueError, match="none of dovision's components") as refused:
            recorded_runs.of_run(folder)
        text = str(refused.value)
        assert target in text
        assert str(folder / ".hydra" / "config.yaml") in text
        assert text.endswith(f"type dovision-view run={folder} trust_checkpoint=true.")
        for look in (read_sweep, survey):
            (run,) = look(folder)
            yaml.safe_dump(run.config)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("config", "facts"),
    [
        ([], {}),
        ("text", {}),
        ({}, {}),
        ({"dataset": 3}, {}),
        ({"dataset": {"_target_": "dovision.datasets.digits.Digits"}}, {}),
        ({"dataset": {"_target_": "pytorch_lightning.Trainer"}, "model": [], "training": None}, {}),
        ({3: 4, None: True}, {}),
        ({"dataset": None}, {"checkpoints": {}}),
        ({"dataset": {"x": "y" * 10_000}}, {"checkpoint_files": {"classifier": "../../../dev/zero"}}),
        ({"seed": -1}, {"checkpoint_files": ["a"]}),
        ({"seed": 10**400}, {"state": "excellent"}),
        ({"seed": 0}, {"checkpoint_files": {"classifier": {"_target_": "os.system"}}}),
        ({"evaluation": ["split"]}, {}),
        ({"evaluation": {"split": ["test"], "images": [1]}, "detection": {"adaptive": [1]}}, {}),
        ({"seed": 0}, {"digests": {".hydra/config.yaml": {"bytes": 1, "sha256": "0"}}}),
    ],
)
def test_a_run_directory_that_is_none_is_refused_in_a_sentence(tmp_path, config, facts):
    write_run(tmp_path, config, **facts)
    with pytest.raises((ValueError, OSError)) as refused:
        recorded_runs.of_run(tmp_path)
    assert len(str(refused.value)) > 10


@pytest.mark.parametrize(("config", "fitted"), [({}, {"classifier": "a.ckpt"}), ({"seed": 0}, {})])
def test_a_run_whose_networks_were_not_fitted_is_refused(tmp_path, config, fitted):
    write_run(tmp_path, config, checkpoint_files=fitted)
    with pytest.raises(ValueError, match="run must be one whose networks were fitted, got .*, which is partial"):
        recorded_runs.of_run(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "${oc.env:SECRET}",
        "a-${ oc.env:SECRET }",
        "${oc.decode:'[1]'}",
        "${seed}",
        "${run_hash:}",
        "\\${x}",
        "${oc.env:a,${b}}",
    ],
)
@pytest.mark.parametrize("node", [lambda text: text, lambda text: [text], lambda text: {"a": [{"b": text}]}])
def test_a_run_directory_refers_to_nothing(tmp_path, monkeypatch, text, node):
    monkeypatch.setenv("SECRET", "hunter2")
    write_run(tmp_path, {"dataset": {"_target_": "dovision.datasets.digits.Digits", "classes": node(text)}})
    with pytest.raises(ValueError, match="which refers to a value elsewhere") as refused:
        recorded_runs.of_run(tmp_path)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"trust_checkpoint": True}, "trust_checkpoint in .* is True, which only a command may say"),
        ({"attack": {"source": {"trust_checkpoint": "yes"}}}, "attack.source.trust_checkpoint in .* is 'yes'"),
        ({"a": {"b:1,_target_": "os.system"}}, "whose key has signs of an override"),
        ({"a": [{"b={x": 1}]}, r"a.0.b=\{x in .* whose key has signs"),
        ({"a": {"_target_": ["os.system"]}}, "a._target_ in .* is \\['os.system'\\]"),
        ({"a": {"_target_": {"_target_": "torch.optim.Adam"}}}, "a._target_ in .* none of dovision's"),
        ({"_target_": "dovision.checks.import_extra"}, "_target_ in .* none of dovision's"),
        ({"a": {"_target_": "torch.optim.Adam.__init__.__globals__"}}, "none of dovision's"),
    ],
)
def test_what_was_read_is_refused_with_its_key(config, message):
    with pytest.raises(ValueError, match=message):
        check_stored(config, "a file", "trust_checkpoint=true")


def test_the_closed_list_is_that_of_conf_without_what_hydra_is_made_of():
    folder = configuration_folder()
    for path in [
        path for group in ("attack", "dataset", "model", "intervention") for path in (folder / group).glob("*.yaml")
    ]:
        assert set(re.findall(r"^ *_target_: (\S+)", path.read_text(), re.M)) - {"???"} <= package_targets()
    others = {name.partition(".")[0] for name in package_targets()}
    assert others == {"dovision", "pytorch_lightning", "torch", "torchmetrics", "torchvision"}
    assert "dovision.measurement.explanation_config.MapSettings" in package_targets()
    assert not any(name.startswith("dovision.jobs") or "_logger." in name for name in package_targets())


@pytest.mark.parametrize(
    ("key", "left"), [("weights", None), ("checkpoint_file", None), ("pretrained", False), ("source", None)]
)
def test_the_facts_of_a_checkpoint_open_no_file(tmp_path, network, key, left):
    save_checkpoint(tmp_path / "a.ckpt", network, SMALL, None, {"arguments": {key: str(tmp_path / "another.pt")}})
    given = []

    def make(settings):
        given.append(settings[key])
        raise ValueError("it is not made.")

    with pytest.raises(ValueError, match="it is not made"):
        rebuilt(tmp_path / "a.ckpt", read_checkpoint(tmp_path / "a.ckpt"), make)
    assert given == [left]


@pytest.mark.parametrize("value", ["${oc.env:SECRET}", {"_target_": "os.mkdir", "path": "canary"}, [1], None])
@pytest.mark.parametrize(
    "stated",
    [
        lambda value: value,
        lambda value: {"pixels": value, "resize": {"mode": "cover"}},
        lambda value: {"pixels": 28, "resize": value or [1]},
        lambda value: {"pixels": 28, "resize": {"mode": value}},
        lambda value: {"pixels": 28, "resize": {"size": value or "1"}},
        lambda value: {"pixels": 28, "resize": {"interpolation": value}},
    ],
)
def test_the_preprocessing_of_a_checkpoint_sets_nothing_but_numbers_and_modes(tmp_path, network, value, stated):
    """They become settings of the dataset, which Hydra resolves and makes."""
    save_checkpoint(tmp_path / "a.ckpt", network, SMALL, None, {"preprocessing": stated(value)})
    pictures = "dovision.datasets.image_folder.ImageFolder"
    dataset = {"_target_": pictures, "root": "???", "shape": [1, None, None], "resize": None}
    config = {"dataset": dataset, "model": SMALL, "checkpoint": str(tmp_path / "a.ckpt")}
    inferred = with_inferred_settings(OmegaConf.create(config))
    assert OmegaConf.to_container(inferred.dataset) == {**dataset, "shape": [1, 224, 224]}
