"""Errors of models: the call, and what its message says."""

import pytest

import dovision as dv

AB = ["a", "b"]
COLOURED = (3, 64, 64)
CHEX, RSNA, RESNET = "densenet121-res224-chex", "densenet121-res224-rsna", "resnet50-res512-all"


def plain(make, height: int) -> dv.Classifier:
    return make((1, height, 28), "multiclass", AB, [0.5], [0.5])


def torchvision(name: str, weights: str | None, classes: list[str]) -> dv.Classifier:
    return dv.torchvision_model(name, weights, COLOURED, "multiclass", classes, None, None)


def timm(name: str, pretrained: bool) -> dv.Classifier:
    pytest.importorskip("timm")
    return dv.timm_model(name, pretrained, COLOURED, "multiclass", AB, None, None)


def xrv(
    name: str, *classes: str, shape=(1, 224, 224), pretrained: bool = False, task: str = "multilabel"
) -> dv.Classifier:
    pytest.importorskip("torchxrayvision")
    return dv.xrv_model(name, pretrained, shape, task, list(classes))


def resnet(blocks: int, stem_stride: int) -> dv.Classifier:
    return dv.small_resnet(16, COLOURED, "multiclass", AB, [0.5], [0.5], blocks, stem_stride)


def lite0() -> dv.Classifier:
    pytest.importorskip("timm")
    return dv.efficientnet_lite0(False, (2, 224, 224), "multiclass", AB)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plain(dv.small_cnn, 8), "height must be at least 28, got 8"),
        (lambda: plain(dv.authors_mnist_cnn, 9), "height must be at least 10, got 9"),
        (lambda: torchvision("resnet_18", None, AB), "model.name must be one of .* got 'resnet_18'. Did you mean"),
        (lambda: torchvision("resnet18", "imagenet", AB), "DEFAULT, IMAGENET1K_V1, got 'imagenet'"),
        (lambda: torchvision("resnet18", "DEFAULT", ["tench", "cat"]), "IMAGENET1K_V1 of resnet18, got"),
        (lambda: timm("resnet_18", False), r"timm.list_models\(\), got 'resnet_18'. Did you mean resnet18"),
        (lambda: timm("coatnet_0_224", True), "timm has no weights of coatnet_0_224.*model.pretrained=false"),
        (lambda: lite0(), "efficientnet_lite0 takes images of 1 or 3 channels"),
        (lambda: dv.chexnet(None, COLOURED, "multiclass", AB), "task must be multilabel, got 'multiclass'"),
        (
            lambda: dv.chexnet(None, (4, 64, 64), "multilabel", AB),
            r"chexnet takes images of 1 or 3 channels, got shape",
        ),
        (lambda: dv.chexnet(None, (1, 28, 64), "multilabel", AB), "height must be at least 32, got 28"),
        (lambda: xrv(CHEX, "Edema", shape=(3, 224, 224)), r"grey images of 224 x 224 pixels, got shape \[3, 224"),
        (lambda: xrv(CHEX, "Edema", shape=(1, 256, 256)), r"Set dataset.shape=\[1,224,224\]"),
        (lambda: xrv(RESNET, "Edema"), "grey images of 512 x 512"),
        (lambda: xrv("densenet121-chex", "Edema"), "Did you mean densenet121-res224-chex"),
        (lambda: xrv(CHEX, "Edema", task="multiclass"), "must be multilabel"),
        (lambda: xrv(RSNA, "cat", "dog"), "knows none of the classes cat, dog; it knows Pneumonia, Lung Opacity"),
        (lambda: xrv(CHEX, "Edema", "Hernia", "Fibrosis", pretrained=True), "no trained output for Hernia, Fibrosis: "),
        (lambda: xrv(CHEX, "Edema", "", pretrained=True), "no trained output for : .* model.new_head=true"),
        (
            lambda: xrv(RESNET, "Edema", "Lung Lesion", shape=(1, 512, 512), pretrained=True),
            "no trained output for Lung Lesion: .* model.new_head=true",
        ),
        (lambda: dv.chexnet("nowhere.pth", COLOURED, "multilabel", ["Mass"]), "there is no checkpoint nowhere.pth"),
        (lambda: resnet(0, 2), "model.blocks must be"),
        (lambda: resnet(1, 3), "model.stem_stride must"),
    ],
)
def test_it_is_refused(call, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        call()
