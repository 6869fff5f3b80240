"""Classes, mean, std and size of images, as the libraries' own preprocessing has them."""

import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision.transforms import Normalize

import dovision as dv
from dovision.models._from_function import from_function

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")
TIMM = (
    *("resnet18", "resnet10t", "mobilenetv3_small_050", "vit_tiny_patch16_224", "tf_efficientnet_lite0"),
    *("inception_v3", "test_convnext", "levit_128s", "beit_base_patch16_224", "test_vit2", "mixer_s32_224"),
    "vit_base_patch16_clip_224.openai_ft_in1k",
)
TORCHVISION = (
    *("ResNet18_Weights.IMAGENET1K_V1", "ResNet50_Weights.IMAGENET1K_V2", "SqueezeNet1_1_Weights.DEFAULT"),
    *("MobileNet_V3_Small_Weights.DEFAULT", "ShuffleNet_V2_X0_5_Weights.DEFAULT", "MNASNet0_5_Weights.DEFAULT"),
    *("EfficientNet_B0_Weights.DEFAULT", "DenseNet121_Weights.DEFAULT", "ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1"),
)
TRANSFORMERS = (  # configuration, its sizes, and an image processor that is often beside its weights
    ("ViT", {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}, "ViT"),
    ("DeiT", {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}, "DeiT"),
    ("Beit", {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}, "Beit"),
    ("Dinov2", {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}, "Bit"),
    ("ResNet", {"hidden_sizes": [8], "depths": [1], "embedding_size": 8}, "ConvNext"),
    ("ConvNext", {"hidden_sizes": [8] * 4, "depths": [1] * 4}, "ConvNext"),
    ("MobileNetV2", {"depth_multiplier": 0.35}, "MobileNetV2"),
    ("PoolFormer", {"hidden_sizes": [8] * 4, "depths": [1] * 4}, "PoolFormer"),
    ("Swin", {"embed_dim": 8, "depths": [1], "num_heads": [1]}, "ViT"),
)


def assert_prepared(classifier, transform, caplog):
    """Assert that the network sees an even picture as the library's transform gives it, and nothing is warned of."""
    picture = Image.new("RGB", (320, 300), (40, 120, 220))
    image = (dv.to_batch(picture, classifier.preprocessing)[0] - classifier.mean) / classifier.std
    torch.testing.assert_close(image, transform(picture), rtol=0, atol=1e-5)
    assert not caplog.records


@pytest.mark.parametrize("name", TIMM)
def test_a_network_of_timm(name, caplog):
    network = timm.create_model(name, **({"depth": 1} if "base_patch16" in name else {}))
    classifier = dv.wrap(network)
    config = timm.data.resolve_model_data_config(network)
    assert_prepared(classifier, timm.data.create_transform(**config), caplog)
    info = timm.data.ImageNetInfo()
    described = [info.index_to_description(number) for number in (0, 999)]
    assert [classifier.task.classes[number] for number in (0, 999)] == [text.split(",")[0] for text in described]
    torch.testing.assert_close(dv.wrap(network, 1000).mean, classifier.mean)


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_network_of_torchvision(name, caplog):
    weights = torchvision.models.get_weight(name)
    architecture = next(
        choice for choice in torchvision.models.list_models() if weights in torchvision.models.get_model_weights(choice)
    )
    settings = {"image_size": 384} if "SWAG" in name else {}
    classifier = dv.wrap(torchvision.models.get_model(architecture, **settings), weights=weights)
    assert_prepared(classifier, weights.transforms(), caplog)
    assert [classifier.task.classes[number] for number in (0, 999)] == ["tench", "toilet tissue"]


@pytest.mark.parametrize(("kind", "sizes", "processor"), TRANSFORMERS, ids=[kind for kind, _, _ in TRANSFORMERS])
def test_a_network_of_transformers(kind, sizes, processor, caplog):
    config = getattr(transformers, f"{kind}Config")(id2label={0: "cat", 1: "dog", 2: "owl"}, **sizes)
    network = getattr(transformers, f"{kind}ForImageClassification")(config)
    own = getattr(transformers, f"{processor}ImageProcessor")()
    classifier = dv.wrap(network, processor=own)
    assert_prepared(classifier, lambda picture: own(picture, return_tensors="pt")["pixel_values"][0], caplog)
    assert classifier.task.classes == ("cat", "dog", "owl")


def test_a_network_of_timm_with_a_head_and_channels_of_its_own():
    classifier = dv.wrap(timm.create_model("resnet10t", num_classes=5, in_chans=1))
    assert classifier.task.classes == tuple("01234")
    assert classifier.mean.flatten().tolist() == pytest.approx([0.449])
    with torch.no_grad():
        assert classifier.eval()(torch.rand(2, 1, 32, 32)).shape == (2, 5)
    single = dv.wrap(timm.create_model("resnet10t", num_classes=1), ["disease"], task="multilabel")
    assert single.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_what_is_not_known_is_said_once_by_its_keys(caplog):
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    config = transformers.ViTConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, image_size=64)
    with_size = dv.wrap(transformers.ViTForImageClassification(config))
    assert with_size.preprocessing == dv.Preprocessing(64)
    dv.wrap(network, 2)
    dv.wrap(network, 2, mean=[0.5])
    dv.wrap(network.forward, 2)
    dv.wrap(network, 2, mean=[0.0], std=[1.0])
    names = [f"mean= and std= of {network}" for network in ("ViTFor", "Sequential", "BlackBox")]
    names.insert(2, "std= of Sequential")
    for mean in (None, 0, 0.5):
        dv.wrap(nn.Sequential(Normalize([0.5], [0.5]), network), 2, mean, None if mean is None else 1)
    names.append("Sequential normalises images twice: by mean and std, and inside.")
    assert [record.message[: len(name)] for record, name in zip(caplog.records, names, strict=True)] == names


def test_a_function_of_a_users_yaml_is_normalised_by_its_weights():
    network = timm.create_model("test_vit2")
    classifier = from_function(network, (3, 64, 64), "multiclass", [str(number) for number in range(1000)])
    assert classifier.mean.flatten().tolist() == pytest.approx(list(network.pretrained_cfg["mean"]))
