import pytest
import torch
import torchvision

from dovision.models import torchvision_model as module
from dovision.models.torchvision_model import torchvision_model

CLASSES = ["normal", "pneumonia", "other"]


def make(name: str = "resnet18", weights: str | None = None, shape: tuple[int, ...] = (3, 64, 64)):
    torch.manual_seed(0)
    return torchvision_model(name, weights, shape, "multiclass", CLASSES, None, None, new_head=weights is not None)


@pytest.fixture
def pretrained(monkeypatch):
    """Weights as if they had been downloaded: those of a network drawn with a known seed."""

    def get_model(name, weights=None, num_classes=1000):
        torch.manual_seed(1)
        return original(name, weights=None, num_classes=num_classes)

    original = torchvision.models.get_model
    monkeypatch.setattr(module.torchvision.models, "get_model", get_model)
    return get_model("resnet18")


def test_without_weights_it_is_torchvisions_network_on_the_normalised_image():
    classifier = make().eval()
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=3).eval()
    image = torch.rand(2, 3, 64, 64)
    assert torch.equal(classifier(image), network((image - 0.449) / 0.226))


def test_one_grey_channel_sees_what_the_pretrained_network_sees_in_three_equal_ones(pretrained):
    grey = torch.rand(2, 1, 64, 64)
    convolution = make(weights="DEFAULT", shape=(1, 64, 64)).network.conv1
    torch.testing.assert_close(convolution(grey), pretrained.conv1(grey.expand(-1, 3, -1, -1)), atol=1e-5, rtol=1e-5)


def test_pretrained_weights_are_kept_but_for_a_new_head(pretrained):
    network = make(weights="DEFAULT").network
    assert torch.equal(network.layer4[1].conv2.weight, pretrained.layer4[1].conv2.weight)
    assert network.fc.out_features == 3


def test_classes_of_the_weights_keep_their_part_of_the_head_and_the_log_says_so(pretrained, caplog):
    caplog.set_level("INFO")
    classifier = torchvision_model("resnet18", "DEFAULT", (3, 64, 64), "multiclass", ["goldfish", "tench"], None, None)
    assert torch.equal(classifier.network.fc.weight, pretrained.fc.weight[[1, 0]])
    assert torch.equal(classifier.network.fc.bias, pretrained.fc.bias[[1, 0]])
    assert "kept the head, 2 of its 1,000 classes by name" in caplog.text


def test_without_classes_all_of_the_weights_are_there_with_their_names_and_normalisation(pretrained):
    classifier = torchvision_model("resnet18", "DEFAULT", (3, 64, 64), None, None, None, None)
    assert classifier.task.classes[:2] == ("tench", "goldfish")
    assert len(classifier.task.classes) == 1000
    torch.testing.assert_close(classifier.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    assert torch.equal(classifier.network.fc.weight, pretrained.fc.weight)
    assert classifier.arguments["classes"][1] == "goldfish"


def test_imagenets_identifiers_in_their_order_keep_the_head(pretrained):
    identifiers = [f"n{number:08}" for number in range(1000)]
    classifier = torchvision_model("resnet18", "DEFAULT", (3, 64, 64), "multiclass", identifiers, None, None)
    assert torch.equal(classifier.network.fc.weight, pretrained.fc.weight)


def test_an_inception_network_has_no_auxiliary_output_while_training():
    pytest.importorskip("scipy")
    classifier = make("googlenet", shape=(3, 64, 64)).train()
    assert classifier(torch.rand(2, 3, 64, 64)).shape == (2, 3)


def test_weights_that_cannot_be_downloaded_name_the_address_and_the_folder(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(module.torchvision.models, "get_model", refuse)
    with pytest.raises(ConnectionError, match=r"https://.*resnet18.*checkpoints.*model.weights=null"):
        make(weights="DEFAULT")


def test_a_file_of_weights_is_where_training_starts_with_its_head_or_a_new_one(tmp_path, caplog):
    caplog.set_level("INFO")
    torch.manual_seed(1)
    own = torchvision.models.resnet18(num_classes=3).eval()
    torch.save({"model": own.state_dict()}, tmp_path / "best.pth")
    image = torch.rand(2, 3, 64, 64)
    arguments = (str(tmp_path / "best.pth"), (3, 64, 64), "multiclass")
    found = torchvision_model("resnet18", *arguments, CLASSES, [0.0], [1.0]).eval()
    assert torch.equal(found(image), own(image))
    four = torchvision_model("resnet18", *arguments, ["a", "b", "c", "d"], [0.0], [1.0], new_head=True).eval()
    assert torch.equal(four.network.layer4[1].conv2.weight, own.layer4[1].conv2.weight)
    assert four(image).shape == (2, 4)
    assert "left out the head fc, which is drawn at random" in caplog.text
    with pytest.raises(ValueError, match=r"head, of 3 classes, name these in dataset.classes.*model.new_head=true"):
        torchvision_model("resnet18", *arguments, ["a", "b", "c", "d"], None, None)
    with pytest.raises(ValueError, match="Set dataset.shape to images of 3 channels"):
        torchvision_model("resnet18", arguments[0], (1, 64, 64), "multiclass", CLASSES, None, None)
    with torch.device("meta"), pytest.raises(ValueError, match="must have the .* tensors of the model, but lacks"):
        torchvision_model("resnet34", *arguments, CLASSES, None, None)
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*other.pth"):
        torchvision_model("resnet18", str(tmp_path / "other.pth"), *arguments[1:], CLASSES, None, None)


@pytest.mark.parametrize("name", ["regnet_y_400mf", "regnet_x_400mf", "resnet18"])
@pytest.mark.parametrize("weights", [None, "DEFAULT"])
def test_a_network_is_described_without_numbers(name, weights):
    """RegNet computes with tensors while it is built, of which the meta device has no numbers."""
    with torch.device("meta"):
        classifier = make(name, weights)
    assert {each.device.type for each in classifier.network.parameters()} == {"meta"}
    assert classifier.network.fc.out_features == len(CLASSES)
