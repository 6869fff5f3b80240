from __future__ import annotations

import pytest
import torch
from torch import fx

from dovision.models.timm_model import PaddedConvolution, fix_same_padding, timm_model

timm = pytest.importorskip("timm")
CLASSES = ["normal", "pneumonia", "other"]


def make(name="resnet18", pretrained=False, shape=(3, 64, 64)):
    torch.manual_seed(0)
    return timm_model(name, pretrained, shape, "multiclass", CLASSES, [0.449], [0.226], new_head=pretrained)


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_timms_network_on_the_normalised_image(channels):
    classifier = make(shape=(channels, 64, 64)).eval()
    torch.manual_seed(0)
    network = timm.create_model("resnet18", num_classes=3, in_chans=channels).eval()
    image = torch.rand(2, channels, 64, 64)
    assert torch.equal(classifier(image), network((image - 0.449) / 0.226))


@pytest.mark.parametrize("name", ["test_vit", "mobilenetv3_small_050"])
def test_a_network_made_for_one_size_is_made_for_the_images(name):
    assert make(name, shape=(1, 96, 64)).eval()(torch.rand(2, 1, 96, 64)).shape == (2, 3)


def test_pretrained_weights_are_asked_of_timm(monkeypatch):
    asked = {}
    network = timm.create_model("resnet18")
    monkeypatch.setattr(timm, "create_model", lambda name, **settings: asked.update(settings) or network)
    make("resnet18.a1_in1k", pretrained=True, shape=(1, 64, 64))
    assert asked == {"pretrained": True, "in_chans": 1, "num_classes": 3}


def test_classes_by_name_keep_their_part_of_the_head(monkeypatch):
    network = timm.create_model("resnet18")
    old = network.fc.weight.detach().clone()
    monkeypatch.setattr(timm, "create_model", lambda name, **settings: network)
    classifier = timm_model("resnet18", True, (3, 64, 64), "multiclass", ["goldfish", "tench"], None, None)
    assert torch.equal(classifier.network.fc.weight, old[[1, 0]])
    torch.testing.assert_close(classifier.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    with pytest.raises(ValueError, match=r"got 'cat'.*model.new_head=true"):
        timm_model("resnet18", True, (3, 64, 64), "multiclass", ["goldfish", "cat"], None, None)


def test_weights_that_cannot_be_downloaded_name_their_place_and_the_remedy(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.HfApi.repo_info", refuse)
    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(ConnectionError, match=r"timm/resnet18.a1_in1k .*no network.*HF_HOME.*model.pretrained=false"):
        make(pretrained=True)


@pytest.mark.parametrize("size", [(64, 64), (97, 50), (71, 33)])
def test_a_fixed_border_changes_nothing_for_images_of_its_size(size):
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0", num_classes=3).eval()
    image = torch.rand(2, 3, *size)
    expected, names = network(image), list(network.state_dict())
    fix_same_padding(network, (3, *size))
    torch.testing.assert_close(network(image), expected)
    assert isinstance(network.conv_stem, PaddedConvolution)
    assert list(network.state_dict()) == names
    fx.symbolic_trace(network)


def test_a_network_without_such_layers_stays_as_it_is():
    network = timm.create_model("resnet18", num_classes=3)
    names = list(network.state_dict())
    fix_same_padding(network, (3, 64, 64))
    assert list(network.state_dict()) == names


@pytest.mark.parametrize("name", ["resnet10t", "deit_tiny_distilled_patch16_224"])
def test_a_file_of_weights_is_where_training_starts_with_its_head_or_a_new_one(tmp_path, name):
    shape, arguments = (3, 32, 32), ("multiclass", CLASSES, [0.0], [1.0])
    torch.manual_seed(1)
    size = {} if name == "resnet10t" else {"img_size": 32}
    own = timm.create_model(name, num_classes=3, **size).eval()
    path, image = str(tmp_path / "best.pth"), torch.rand(2, *shape)
    torch.save({"state_dict": own.state_dict()}, path)
    found = timm_model(name, False, shape, *arguments, weights=path).eval()
    assert torch.equal(found(image), own(image))
    two = timm_model(name, False, shape, "multiclass", ["a", "b"], [0.0], [1.0], new_head=True, weights=path).eval()
    assert two(image).shape == (2, 2)
    same, head = two.network.state_dict(), ("fc.", "head.", "head_dist.")
    assert all(torch.equal(same[key], tensor) for key, tensor in own.state_dict().items() if not key.startswith(head))
    with pytest.raises(ValueError, match=r"head, of 3 classes, name these in dataset.classes.*model.new_head=true"):
        timm_model(name, False, shape, "multiclass", ["a", "b"], [0.0], [1.0], weights=path)
    with pytest.raises(ValueError, match=r"model.weights must be null with model.pretrained=true, got .*best.pth"):
        timm_model("resnet18", True, shape, *arguments, weights=path)
