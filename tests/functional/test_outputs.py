"""What networks return, read as logits: by name, of Hugging Face's kind, of segmentations and of detections."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import dovision as dv

IMAGE = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
GRID = dv.PixelGrid(3, 3)
Pair = namedtuple("Pair", ["logits", "aux"])


@dataclass
class Answer:
    loss: None
    logits: Tensor


class ModelOutput(OrderedDict):
    """As Hugging Face's: keys are attributes as well, and numbers are places."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, key):
        return super().__getitem__(key) if isinstance(key, str) else list(self.values())[key]


def layers(outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, outputs))


class Returning(nn.Module):
    def __init__(self, network: nn.Module, change) -> None:
        super().__init__()
        self.network = network
        self.change = change

    def forward(self, image):
        return self.change(self.network(image))


EXPECTED = dv.effect_map(dv.wrap(layers(), 3), IMAGE, GRID)
RETURNED = {
    "hugging face": (lambda y: ModelOutput(loss=None, logits=y), None),
    "hugging face by name": (lambda y: ModelOutput(logits=y, states=y + 1), "logits"),
    "hugging face by number": (lambda y: ModelOutput(logits=y), [0]),
    "dataclass": (lambda y: Answer(None, y), None),
    "named tuple": (lambda y: Pair(y, None), None),
    "dict with logits": (lambda y: {"logits": y, "aux": 1}, None),
    "dict": (lambda y: {"out": y, "aux": y + 1}, "out"),
    "tuple": (lambda y: (y, y + 1), "[0]"),
    "logits and attentions": (lambda y: (y, (y[:, None], y[:, None])), None),
    "dict with one matrix": (lambda y: {"scores": y, "maps": y[:, :, None, None]}, None),
    "from the end": (lambda y: [y + 1, y], "[-1]"),
    "below": (lambda y: {"heads": [{"age": y}]}, "heads[0].age"),
    "function": (lambda y: (y + 1, {"a": y - 1}), lambda value: value[1]["a"] + 1),
}


@pytest.mark.parametrize(("change", "output"), RETURNED.values(), ids=RETURNED)
def test_effects_are_those_of_the_network_that_returns_logits(change, output):
    classifier = dv.wrap(Returning(layers(), change), 3, output=output)
    found = dv.effect_map(classifier, IMAGE, GRID)
    torch.testing.assert_close(found.effect, EXPECTED.effect, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "output", "message"),
    [
        (lambda y: {"out": y}, "logits", "got 'logits', but it returns a dict with the keys 'out'"),
        (lambda y: (y,), "[1]", "got '\\[1\\]', but it returns a tuple of 1"),
        (lambda y: (y,), "logits", "got 'logits', but it returns a tuple of 1"),
        (lambda y: Answer(None, y), "scores", "got 'scores', but it returns a Answer"),
        (lambda y: None, "[0]", "got '\\[0\\]', but it returns a NoneType"),
        (lambda y: None, None, "must return one tensor of logits, .* got a NoneType"),
        (lambda y: y, "[0]", "'\\[0\\]' is looked for in a tensor. Leave it out"),
        (lambda y: y, lambda value: value.missing, "the network must take images of shape .*missing"),
        (lambda y: {"out": y, "aux": y}, None, "got a dict with the keys 'out', 'aux'.* output='out'"),
        (lambda y: {"out": y}, lambda value: value, "must return one tensor of logits, .* output='out'"),
        (lambda y: (y, y + 1), None, r"must return one tensor of logits, .* output='\[0\]'"),
        (lambda y: y.to_sparse(), None, r"output must be a dense tensor, got torch.sparse_coo.*to_dense\(\)"),
        (lambda y: y.argmax(1), None, r"torch.int64 of shape \(1,\).* returns that"),
        (lambda y: y[:, :1], None, "one output per class, 3, got 1.*classes=1, or a list of 1 names"),
        (lambda y: y * torch.nan, None, "logits must be finite, got nan or inf for image 0.* Look at its weights"),
        (lambda y: y + 9, "probability", r"must lie in \[0, 1\] and sum to 1 with output='probability', got "),
        (torch.sigmoid, "probability", r"sum to 1 with .*, got 0\..* to 0\..*, or set task='multilabel'"),
        (lambda y: y.repeat(1, 9), None, r"got 27: .* features of a backbone, .* add its head, such as nn.Linear\(27"),
    ],
)
def test_what_is_not_there_or_no_logits_of_the_classes_is_refused_in_a_sentence(change, output, message):
    classifier = dv.wrap(Returning(layers(), change), 3, output=output)
    with pytest.raises(ValueError, match=message):
        dv.effect_map(classifier, IMAGE, GRID)


NOTHING = ("", "a b", "[x]", ".logits", "logits.", "[0", 3, [0, 1], [True], nn.Identity, {})  # that is named


class Maps(nn.Module):
    """A segmentation: maps of 3 classes as large as the image, as torchvision's networks return them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))

    def forward(self, image):
        return OrderedDict(out=self.layers(image))


REGIONS = {"all": (None, torch.ones(12, 12, dtype=torch.bool))}
BOX = dv.Box(0, 2, 6, 12)  # at two edges
REGIONS["box"] = (BOX, torch.zeros(12, 12, dtype=torch.bool))
BOX.crop(REGIONS["box"][1]).fill_(True)


def painted(unit: int) -> Tensor:
    """The images with a cell of the grid painted black."""
    image = IMAGE.clone()
    GRID.region((3, 12, 12), unit, 0).crop(image).fill_(0)
    return image


@pytest.mark.parametrize(("region", "mask"), REGIONS.values(), ids=REGIONS)
@torch.no_grad()
def test_effects_on_the_share_of_a_class_are_those_worked_out_by_hand(region, mask):
    network = Maps().eval()
    output = dv.ClassShare([2, 0], region)
    found = dv.effect_map(dv.wrap(network, ["cat", "sky"], task="multilabel", output=output), IMAGE, GRID)

    def shares(image):
        return network(image)["out"].softmax(1)[:, [2, 0]][..., mask].mean(-1)

    torch.testing.assert_close(found.control, shares(IMAGE), rtol=0, atol=1e-6)
    for unit in (0, 4, 8):
        expected = shares(painted(unit)) - shares(IMAGE)
        torch.testing.assert_close(found.effect[:, unit], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("region", "mask"), REGIONS.values(), ids=REGIONS)
@torch.no_grad()
def test_mean_logits_are_those_of_the_region(region, mask):
    network = Maps().eval()
    found = dv.effect_map(dv.wrap(network, 3, output=dv.MeanLogit(region=region)), IMAGE, GRID)
    expected = network(IMAGE)["out"][..., mask].mean(-1).softmax(-1)
    torch.testing.assert_close(found.control, expected, rtol=0, atol=1e-6)


class Bright(nn.Module):
    """A detector: in eval mode two boxes of label 1 and one of label 2; scores are means of pixels."""

    def forward(self, images):
        found = []
        for image in images:
            boxes = torch.tensor([[0.0, 0.0, 6.0, 12.0], [0.0, 0.0, 5.0, 12.0], [6.0, 0.0, 12.0, 12.0]])
            scores = torch.stack([image[..., :6].mean(), image[..., :5].mean() / 2, image[..., 6:].mean()])
            found.append({"boxes": boxes, "labels": torch.tensor([1, 1, 2]), "scores": scores})
        return found


def test_the_score_of_a_box_is_that_of_its_best_detection():
    output = dv.BoxScore([dv.Box(0, 0, 12, 6), dv.Box(0, 0, 12, 5), dv.Box(0, 6, 12, 12)], [1, 1, 1], iou=0.9)
    found = dv.effect_map(dv.wrap(Bright(), ["left", "less", "right"], task="multilabel", output=output), IMAGE, GRID)
    left = IMAGE[..., :6].mean((1, 2, 3))
    less = IMAGE[..., :5].mean((1, 2, 3)) / 2  # which the wider box overlaps by 5/6 only
    expected = torch.stack([left, less, torch.full((2,), 1e-6)], 1)  # no detection at the right has label 1
    torch.testing.assert_close(found.control, expected, rtol=0, atol=1e-6)
    for unit in range(9):
        change = painted(unit)[..., :6].mean((1, 2, 3)) - left
        torch.testing.assert_close(found.effect[:, unit, 0], change, rtol=0, atol=1e-6)


def test_the_score_of_a_label_anywhere_is_that_of_its_best_detection():
    found = dv.wrap(Bright(), ["one", "two", "none"], task="multilabel", output=dv.BoxScore(None, [1, 2, 3]))(IMAGE)
    left, right = IMAGE[..., :6].mean((1, 2, 3)), IMAGE[..., 6:].mean((1, 2, 3))
    torch.testing.assert_close(
        found.sigmoid(), torch.stack([left, right, torch.full((2,), 1e-6)], 1), rtol=0, atol=1e-6
    )


REFUSED = {
    "no maps": (layers(), dv.ClassShare(), "ClassShare needs a network that returns maps .* got shape"),
    "no dict": (Bright(), dv.MeanLogit(), "MeanLogit needs a network that returns maps of classes, .* got a list of"),
    "class": (Maps(), dv.ClassShare([3]), r"classes of ClassShare must be a whole number from 0 to 2"),
    "box": (Maps(), dv.MeanLogit(region=dv.Box(0, 0, 13, 3)), "region must lie in the network's maps, 12 x 12, got"),
    "no detections": (layers(), dv.BoxScore([BOX], [1]), "BoxScore needs a network that returns boxes, labels and"),
    "unnamed maps": (Maps(), "out", r"shape \(1, 3, 12, 12\) for 1 images. Read them from its maps: output=MeanLogit"),
    "unnamed boxes": (Bright(), None, "must return one tensor of logits, .* Take the best scores of labels:"),
    "training": (nn.Linear(12, 2), dv.ClassShare(output="aux"), "'aux' is looked for in a tensor"),
}


@pytest.mark.parametrize(("network", "output", "message"), REFUSED.values(), ids=REFUSED)
def test_networks_that_return_something_else_are_refused_in_a_sentence(network, output, message):
    with pytest.raises(ValueError, match=message):
        dv.effect_map(dv.wrap(network, 3, task="multilabel", output=output), IMAGE, GRID)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *((lambda one=one: dv.wrap(layers(), 3, output=one), "output must be") for one in NOTHING),
        (lambda: dv.ClassShare([]), "classes must name different channels"),
        (lambda: dv.ClassShare(region=(0, 0, 3)), "region must be a Box of at least a pixel or None"),
        (lambda: dv.MeanLogit(output="a b"), "output must be a function .*got 'a b'"),
        (lambda: dv.BoxScore([], []), "boxes must be at least one Box"),
        (lambda: dv.BoxScore(None, []), "boxes must be at least one Box"),
        (lambda: dv.BoxScore([(0, 0, 4)], [1]), "boxes must be at least one Box"),
        (lambda: dv.BoxScore([BOX], [1, 2]), "boxes must be at least one Box .* with a label each"),
        (lambda: dv.BoxScore([BOX], [1], iou=2), r"iou must be a number in \[0, 1\]"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Second(nn.Module):
    """The logit of the second of two classes: four times the sum of the pixels but for an offset."""

    def __init__(self, shape=(-1, 1)) -> None:
        super().__init__()
        self.shape = shape
        self.linear = nn.Linear(4, 1)
        nn.init.constant_(self.linear.weight, 4.0)
        nn.init.constant_(self.linear.bias, -4.0)

    def forward(self, image):
        return self.linear(image.flatten(1)).reshape(self.shape)


FOUR = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).reshape(1, 1, 2, 2)
ILL = ["healthy", "ill"]
SINGLE = {
    "one logit": (Second(), ILL, None),
    "a vector": (Second(-1), ILL, None),
    "by number": (Second(), 1, None),
    "a sigmoid": (nn.Sequential(Second(), nn.Sigmoid()), ILL, "probability"),
    "a softmax": (nn.Sequential(Second(), nn.ConstantPad1d((1, 0), 0.0), nn.Softmax(1)), ILL, "probability"),
    "a function": (lambda image: (4 * image.sum((1, 2, 3)) - 4).sigmoid().numpy(), ILL, "probability"),
    "one label": (Second(), ["ill"], None),
    "one probability": (nn.Sequential(Second(), nn.Sigmoid()), ["ill"], "probability"),
}


@pytest.mark.parametrize(("network", "classes", "output"), SINGLE.values(), ids=SINGLE)
def test_a_single_output_is_the_logit_of_the_second_class(network, classes, output):
    classifier = dv.wrap(network, classes, mean=0, std=1, output=output)
    found = dv.effect_map(classifier, FOUR, dv.PixelGrid(2, 2), target=len(classifier.task.classes) - 1)
    assert found.control[0, -1] == pytest.approx(0.5)  # of the logit 4 - 4
    torch.testing.assert_close(found.map, 0.5 - torch.sigmoid(-4 * FOUR[0]), atol=1e-6, rtol=0)
    odds = dv.effect_map(
        classifier, FOUR, dv.PixelGrid(2, 2), target=len(classifier.task.classes) - 1, scale="log_odds"
    )
    torch.testing.assert_close(odds.map, 4 * FOUR[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("last", [nn.Identity(), nn.Sigmoid()])
def test_attacks_maps_and_detectors_of_a_single_output_are_those_of_both_classes(last):
    output = "probability" if isinstance(last, nn.Sigmoid) else None
    single = dv.wrap(nn.Sequential(Second(), last), ILL, 0, 1, output=output)
    both = dv.wrap(nn.Sequential(Second(), nn.ConstantPad1d((1, 0), 0.0)), ILL, 0, 1)
    image = torch.rand(24, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    batch = dv.Batch(image, torch.arange(24) % 2, torch.arange(24), torch.arange(24))
    for measure in (
        lambda classifier: dv.FGSM(eps=0.1)(batch, classifier, 0.1),
        lambda classifier: dv.component("attack", "apgd", {"eps": 0.1, "steps": 3})(batch, classifier, 0.1),
        lambda classifier: dv.Captum("IntegratedGradients")(batch, batch.label, classifier),
        lambda classifier: dv.component("detector", "max_softmax").read(batch, classifier),
        lambda classifier: fitted_scores(dv.PytorchOOD("SHE"), batch, classifier),
    ):
        torch.testing.assert_close(measure(single), measure(both), atol=1e-4, rtol=1e-4)


def fitted_scores(detector, batch, classifier):
    features = detector.read(batch, classifier)
    detector.fit(features, features[:0])
    return detector.score(features)


def test_probabilities_keep_their_log_odds_where_they_saturate():
    logits = torch.tensor([[0.0, 40.0, -40.0]])
    classifier = dv.wrap(Returning(nn.Identity(), lambda image: logits.softmax(1)), 3, 0, 1, output="probability")
    task = classifier.task
    torch.testing.assert_close(task.log_odds(classifier(FOUR)), task.log_odds(logits))
