"""Names of classes that a dataset finds in its files are names, and nothing else."""

import sys
from types import ModuleType

import pytest
from omegaconf import OmegaConf

import dovision as dv
from dovision.config.inferred_settings import inferred_settings, with_inferred_settings
from dovision.models.checkpoint import save_checkpoint
from dovision.types import Preprocessing, Resize


@pytest.mark.parametrize("name", ["${oc.env:SECRET}", "a-${seed}", "${"])
def test_a_class_that_refers_to_another_value_is_refused(monkeypatch, name):
    class Folders:
        @classmethod
        def found_classes(cls, settings):
            return ["healthy", name]

    module = ModuleType("other_folders")
    module.Folders = Folders
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("SECRET", "hunter2")
    config = OmegaConf.create({"dataset": {"_target_": f"{module.__name__}.Folders", "classes": None}})
    with pytest.raises(ValueError, match="dataset: a class must have a name without") as refused:
        with_inferred_settings(config)
    assert "hunter2" not in str(refused.value)


LITE0 = {"_target_": "dovision.models.efficientnet_lite0.efficientnet_lite0", "pretrained": True, "new_head": False}
RESNET = {"_target_": "dovision.models.torchvision_model.torchvision_model", "name": "resnet50", "new_head": False}
OWN = {"mode": "cover", "size": 256, "interpolation": "bicubic"}


@pytest.mark.parametrize(
    ("model", "dataset", "expected"),
    [
        (LITE0, {"shape": [3, None, None]}, {"shape": [3, 224, 224], "resize": OWN}),
        (LITE0, {"shape": [3, 224, 224]}, {"resize": OWN}),
        (LITE0, {"shape": [3, 224, 224], "resize": "cover"}, {}),
        (LITE0, {"shape": [3, 112, 112]}, {}),
        ({**LITE0, "new_head": True}, {"shape": [3, 224, 224]}, {}),
        ({**LITE0, "pretrained": False}, {"shape": [3, 224, 224]}, {}),
        (
            {**RESNET, "weights": "IMAGENET1K_V2"},
            {"shape": [3, None, None]},
            {"shape": [3, 224, 224], "resize": {"mode": "cover", "size": 232, "interpolation": "bilinear"}},
        ),
        ({**RESNET, "weights": "best.pth"}, {"shape": [3, 224, 224]}, {}),
    ],
)
def test_images_are_brought_to_the_shape_as_those_that_the_weights_were_trained_on(model, dataset, expected):
    pictures = {"_target_": "dovision.datasets.image_folder.ImageFolder", "root": "nowhere", "resize": None, **dataset}
    assert inferred_settings(pictures, OmegaConf.create(model)) == expected


@pytest.mark.parametrize("resize", [Resize(size=256, interpolation="bicubic"), Resize()])
def test_images_are_brought_to_a_checkpoint_as_those_that_it_was_fitted_to(tmp_path, resize):
    target = {"_target_": "dovision.models.small_cnn.small_cnn", "shape": [3, 32, 32], "task": "multiclass"}
    model = {**target, "classes": ["a", "b"], "mean": [0.5], "std": [0.5]}
    classifier = dv.small_cnn(**{name: value for name, value in model.items() if name != "_target_"})
    classifier.preprocessing = Preprocessing(32, resize)
    save_checkpoint(tmp_path / "fitted.ckpt", classifier, model, None, {})
    assert dv.load(tmp_path / "fitted.ckpt").preprocessing == classifier.preprocessing
    pictures = {"_target_": "dovision.datasets.image_folder.ImageFolder", "root": "x"}
    pictures |= {"shape": [3, None, None], "resize": None}
    found = inferred_settings(pictures, OmegaConf.create({**LITE0, "new_head": True}), str(tmp_path / "fitted.ckpt"))
    assert found == {"shape": [3, 32, 32], "resize": resize._asdict()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet50.a1_in1k", (224, "cover", 235, "bicubic")),  # its crop is .95: 224 / .95 = 235.8
        ("convnext_tiny.fb_in22k_ft_in1k_384", (384, "stretch", None, "bicubic")),
        ("efficientnet_b3.ra2_in1k", (288, "cover", 329, "bicubic")),
    ],
)
def test_the_preprocessing_of_timms_weights_is_that_of_its_data_config(name, expected):
    pytest.importorskip("timm", reason="the extra timm is not installed")
    from dovision.models.timm_model import timm_model

    found = timm_model.preprocessing({"name": name, "pretrained": True})
    assert (found.pixels, found.resize.mode, found.resize.size, found.resize.interpolation) == expected
