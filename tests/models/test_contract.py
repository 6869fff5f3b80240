"""Contract of every model of conf/model; a new yaml is tested unlisted."""

import functools
from pathlib import Path
from tempfile import mkdtemp

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

import dovision as dv
from dovision.interfaces import Context
from dovision.models._published import choose_outputs, output_numbers
from dovision.models.chexnet import CHECKPOINT_LABELS
from dovision.propagation import Propagation
from dovision.propagation.incremental import Incremental
from made_hf import save_network

CONF = Path(__file__).resolve().parents[2] / "conf" / "model"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))
EXTRAS = {
    "timm_model": "timm",
    "efficientnet_lite0": "timm",
    "xrv_model": "torchxrayvision",
    "hf_model": "transformers",
}
SIZES = {"xrv_model": 224}  # pixels; 64 for the others
CLASSES = ["Effusion", "Mass", "Hernia"]


def settings_of(name):
    """The plain arguments of the model on small grey images of three labels, without published weights."""
    pytest.importorskip(EXTRAS.get(name, "torch"))
    size = SIZES.get(name, 64)
    dataset = {"shape": [1, size, size], "task": "multilabel", "classes": CLASSES}
    settings = OmegaConf.to_container(
        OmegaConf.create({"dataset": dataset, "model": OmegaConf.load(CONF / f"{name}.yaml")}), resolve=True
    )["model"]
    if name == "hf_model":
        settings["source"] = _hugging_face()
    return settings | ({"pretrained": False} if "pretrained" in settings else {})


@functools.cache
def _hugging_face():
    """A folder with a small network."""
    folder = mkdtemp()
    save_network(Path(folder), size=64)
    return folder


def built(settings):
    """With running statistics as if it had been trained."""
    torch.manual_seed(0)
    classifier = hydra.utils.instantiate(settings)
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return classifier.eval()


@pytest.mark.parametrize("name", NAMES)
def test_an_edit_is_propagated_incrementally_to_what_the_plain_pass_gives(name):
    settings = settings_of(name)
    classifier, number = built(settings), torch.zeros(1, dtype=torch.int64)
    image = torch.rand(1, *settings["shape"], generator=torch.Generator().manual_seed(1))
    batch = dv.Batch(image, torch.zeros(1, 3), number, number)
    propagation = Propagation(classifier, dv.PixelGrid(4, 4, dv.Constant(1.0)))
    propagation.intervention.units = lambda shape: ("r0c0", "r0c1", "r0c2")
    outcome = propagation(batch)
    assert isinstance(propagation.engine, Incremental)
    with torch.no_grad():
        edited = [propagation.intervention.apply(image, unit, Context(batch, classifier)) for unit in range(3)]
        expected = classifier(torch.cat([image, *edited])).sigmoid()
    torch.testing.assert_close(outcome.control[0].sigmoid(), expected[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(outcome.treated[0].sigmoid(), expected[1:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_made_from_weights_is_in_eval_mode_and_any_other_to_be_fitted(name, tmp_path):
    settings = settings_of(name) | ({"classes": list(CHECKPOINT_LABELS)} if name == "chexnet" else {})
    settings |= {"classes": None, "task": None} if name == "xrv_model" else {}
    random = hydra.utils.instantiate(settings)
    assert random.training
    torch.save(random.network.state_dict(), tmp_path / "weights.pt")
    start = {"weights": str(tmp_path / "weights.pt"), "checkpoint_file": str(tmp_path / "weights.pt")}
    if "weights" not in settings:
        start |= {"pretrained": True, "new_head": True}
    start = {key: value for key, value in start.items() if key in settings}
    fitted = hydra.utils.instantiate(settings | start)
    assert {module.training for module in fitted.modules()} == {not start}


def test_outputs_are_found_by_name_and_zero_where_there_is_none():
    network = nn.Sequential(nn.Linear(2, 3))
    old = network[0]
    choose_outputs(network, "0", output_numbers(["a", "b", "c"], ["c", "unheard of", "a"]))
    value = torch.rand(5, 2)
    expected = torch.stack([old(value)[:, 2], torch.zeros(5), old(value)[:, 0]], 1)
    torch.testing.assert_close(network(value), expected)
