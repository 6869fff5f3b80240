"""A checkpoint may name the models of this package and nothing else that can be imported."""

import inspect
import sys
from pathlib import Path

import pytest
import yaml

import dovision
from dovision.config.import_target import import_target
from dovision.io import sealed
from dovision.models import _catalogue, checkpoint

CONF = Path(__file__).parents[2] / "conf"
NAMED = {yaml.safe_load(file.read_text())["_target_"] for file in CONF.glob("model/*.yaml")} | {
    yaml.safe_load(file.read_text())["_target_"] for file in CONF.glob("autoencoder/*.yaml")
}
MODEL = {"_target_": "dovision.models.small_cnn.small_cnn", "shape": [1, 28, 28], "task": "multiclass"}
MODEL |= {"classes": ["zero", "one"], "mean": [0.5], "std": [0.5]}


def test_the_catalogue_is_what_the_configuration_offers():
    assert _catalogue.factories() == NAMED


def planted(folder: Path, model: dict, autoencoder: dict | None = None) -> Path:
    """A whole checkpoint, its digest right, as somebody may send it."""
    state = dovision.small_cnn(**{name: value for name, value in MODEL.items() if name != "_target_"}).state_dict()
    content = {"format": 2, "model": model, "autoencoder": autoencoder, "facts": {}, "state": dict(state)}
    sealed.write_sealed(folder / "planted.ckpt", content)
    return folder / "planted.ckpt"


@pytest.fixture
def payload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a module beside the checkpoint makes as soon as it is imported, and whenever it is called."""
    made = tmp_path / "made-by-a-checkpoint"
    line = f"open({str(made)!r}, 'w').close()"
    (tmp_path / "payload.py").write_text(f"{line}\ndef run(**_):\n    {line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield made
    sys.modules.pop("payload", None)


INNER = {"_target_": "payload.run"}


@pytest.mark.parametrize(
    ("model", "autoencoder"),
    [
        (INNER, None),
        ({"_target_": "dovision.models.checkpoint.load", "path": "inner.ckpt", "trust_checkpoint": True}, None),
        ({"_target_": "dovision.models._catalogue.build", "settings": INNER, "trusted": True}, None),
        ({"_target_": "dovision.checks.import_extra", "module": "payload", "extra": ""}, None),
        ({"_target_": "hydra.utils.instantiate", "config": INNER}, None),
        (MODEL | {"mean": [INNER]}, None),
        (MODEL | {"classes": [INNER, "b"]}, None),
        (MODEL | {"more": INNER}, None),
        (MODEL | {"_args_": [INNER]}, None),
        (MODEL | {"_partial_": True, "_recursive_": True}, None),
        (MODEL, INNER),
        (MODEL, {"_target_": "dovision.models.conv_autoencoder.ConvAutoencoder", "after": INNER}),
    ],
)
def test_a_planted_checkpoint_runs_nothing(tmp_path, payload, monkeypatch, model, autoencoder):
    monkeypatch.chdir(tmp_path)
    planted(tmp_path, INNER).rename("inner.ckpt")
    try:
        dovision.load(planted(tmp_path, model, autoencoder))
    except ValueError as error:
        assert "planted.ckpt cannot be rebuilt: " in str(error)  # noqa: PT017
    assert not payload.exists()
    assert "payload" not in sys.modules


def test_what_is_trusted_is_run(tmp_path, payload):
    with pytest.raises(ValueError, match=r"planted\.ckpt cannot be rebuilt"):
        dovision.load(planted(tmp_path, INNER), trust_checkpoint=True)
    assert payload.exists()


FILES = {name: "secret.pt" for name in checkpoint.START}  # such as checkpoint_file


@pytest.mark.parametrize("target", sorted(NAMED))
def test_no_model_opens_a_file_or_a_connection_that_its_arguments_name(tmp_path, monkeypatch, target):
    """Every model of the catalogue, with `secret.pt` in place of each text argument and of where training starts."""
    (tmp_path / "secret.pt").write_bytes(b"")
    seen: list[str] = []
    looking = True

    def look(event: str, arguments: tuple) -> None:
        outside = event.startswith(("socket.connect", "socket.getaddrinfo", "urllib.Request", "subprocess.Popen"))
        if looking and (outside or (event == "open" and "secret" in str(arguments[0]))):
            seen.append(f"{event} {arguments[0]}")

    sys.addaudithook(look)  # for the rest of the process; silent once `looking` is false
    monkeypatch.chdir(tmp_path)
    (file,) = [each for group in ("model", "autoencoder") for each in CONF.glob(f"{group}/*.yaml")
               if yaml.safe_load(each.read_text())["_target_"] == target][:1]  # fmt: skip
    facts = {"shape": [1, 224, 224], "task": "multilabel", "classes": ["Mass", "Nodule"]}
    settings = yaml.safe_load(file.read_text()) | FILES
    settings = {name: facts.get(name, value) for name, value in settings.items()}
    for changed in [settings, *({**settings, name: "secret.pt"} for name, value in settings.items()
                                if isinstance(value, str) and name != "_target_")]:  # fmt: skip
        known = inspect.signature(import_target(target)).parameters
        arguments = {name: value for name, value in changed.items() if name == "_target_" or name in known}
        try:
            _catalogue.build(checkpoint.without_start(arguments))
        except (ValueError, ImportError) as error:
            assert "\n  File" not in str(error)  # noqa: PT017
    looking = False
    assert not seen


SHARE = {"_target_": "dovision.functional.outputs.ClassShare", "classes": [1], "region": [0, 0, 4, 4]}


SQUEEZENET = {
    "_target_": "dovision.models.torchvision_model.torchvision_model",
    **{"name": "squeezenet1_1", "weights": None, "shape": [3, 64, 64], "mean": [0.5], "std": [0.5]},
    **{"task": "multiclass", "classes": ["a", "b"]},
}


def test_a_model_may_read_its_output_by_a_function_of_the_package_and_by_no_other():
    output = _catalogue.build({**SQUEEZENET, "output": SHARE}).output
    assert isinstance(output, dovision.ClassShare)
    assert output.region == dovision.Box(0, 0, 4, 4)
    with pytest.raises(ValueError, match=r"names os.system, .*readings of outputs.*trust_checkpoint=true"):
        _catalogue.build({**SQUEEZENET, "output": {"_target_": "os.system", "command": "true"}})
    with pytest.raises(ValueError, match="torchvision_model refuses its arguments"):
        _catalogue.build({**SQUEEZENET, "classes": ["a"]})
