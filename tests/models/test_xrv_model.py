import logging

import pytest
import torch
import torchvision
from torch import nn

from dovision.models.xrv_model import xrv_model

with pytest.MonkeyPatch.context() as patch:
    patch.setattr("warnings.filterwarnings", lambda *args, **kwargs: None)  # the library silences all warnings
    xrv = pytest.importorskip("torchxrayvision")

CHEX = "densenet121-res224-chex"
CLASSES = ["Pneumonia", "Hernia", "Edema", "Fibrosis", "Cardiomegaly"]  # Hernia and Fibrosis are not CheXpert's
TRAINED = [0, 2, 4]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A way to put random weights where the library keeps the published ones."""

    def keep(content):
        torch.save(content, tmp_path / "weights.pt")
        monkeypatch.setattr(xrv.models, "get_weights", lambda *args, **kwargs: tmp_path / "weights.pt")

    return keep


def with_statistics(network):
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.05)
    return network


def assert_the_librarys(name, classes, trained, size):
    """Outputs, operating points and decisions are the library's own."""
    new_head = len(trained) < len(classes)
    classifier = xrv_model(name, True, (1, size, size), "multilabel", classes, new_head).eval()
    library = xrv.models.get_model(name)
    outputs = [library.targets.index(classes[k]) for k in trained]
    image = torch.rand(2, 1, size, size)
    with torch.no_grad():
        published = library((2 * image - 1) * 1024)[:, outputs]
        probability = classifier.task.probability(classifier(image))
    stretched = xrv.models.op_norm(probability[:, trained], library.op_threshs[outputs])
    torch.testing.assert_close(stretched, published, atol=1e-3, rtol=0)  # a small operating point stretches rounding
    assert torch.equal(classifier.task.prediction(probability)[:, trained], (published >= 0.5).long())
    return classifier, image


def test_classes_without_a_trained_head_are_zero_and_named_once(weights, caplog):
    weights(with_statistics(xrv.models.DenseNet(weights=None)))
    with caplog.at_level(logging.WARNING):
        classifier, image = assert_the_librarys(CHEX, CLASSES, TRAINED, 224)
    assert [r.message for r in caplog.records if "dovision" in r.name] == [
        f"{CHEX} has no trained head for Hernia, Fibrosis: the logits start as 0."
    ]
    assert not classifier(image)[:, [1, 3]].any()
    assert classifier.task.thresholds[1] == classifier.task.thresholds[3] == 0.5


def test_the_residual_network_says_the_same_and_a_label_without_operating_point_is_untrained(weights):
    network = torchvision.models.resnet50(num_classes=18)
    network.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    weights(with_statistics(network).state_dict())
    assert_the_librarys("resnet50-res512-all", ["Effusion", "Lung Lesion"], [0], 512)


def test_a_file_of_the_librarys_network_is_where_training_starts(tmp_path):
    own = with_statistics(xrv.models.DenseNet(num_classes=18, in_channels=1, weights=None, op_threshs=None)).eval()
    state = {**own.state_dict(), "op_threshs": torch.full((18,), 0.5)}
    torch.save(state, tmp_path / "best.pth")
    found = xrv_model(CHEX, True, (1, 224, 224), "multilabel", ["Cardiomegaly"], weights=str(tmp_path / "best.pth"))
    place = xrv.models.model_urls[CHEX]["labels"].index("Cardiomegaly")
    assert torch.equal(found.network.classifier.weight, own.classifier.weight[[place]])
    assert torch.equal(found.network.features.conv0.weight, own.features.conv0.weight)
    assert found.task.thresholds == ()  # those that are published are of other weights
    head = {name: tensor[:2] if name.startswith("classifier") else tensor for name, tensor in state.items()}
    torch.save(head, tmp_path / "head.pth")
    with pytest.raises(ValueError, match=f"If it is the head, save all its 18 outputs, as {CHEX} has them") as found:
        xrv_model(CHEX, True, (1, 224, 224), "multilabel", ["Cardiomegaly"], weights=str(tmp_path / "head.pth"))
    assert "dataset.classes" not in str(found.value)
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        xrv_model(CHEX, True, (1, 224, 224), "multilabel", ["Cardiomegaly"], weights=str(tmp_path / "none.pth"))
