import pytest
import torch

from dovision.models.timm_model import timm_model

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
