"""Networks that are functions, ONNX files or a user's own: equal effects, and what is refused.

The calls themselves are in test_adapters.py.
"""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torchvision
from omegaconf import OmegaConf
from torch import nn

import dovision as dv
from dovision.config.component import Component
from dovision.config.inferred_settings import with_wrapped_network
from dovision.config.settings import example_photograph
from dovision.io import images
from dovision.models import checkpoint

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
GRID = dv.PixelGrid(2, 2)
SIDE = 64


@pytest.fixture(scope="module")
def photo():
    return dv.to_batch(images.decode(example_photograph().read_bytes()), SIDE)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = torchvision.models.resnet18(weights=None).eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    nn.init.normal_(made.fc.weight, 0, 0.2)
    return made


@pytest.fixture(scope="module")
def expected(network, photo):
    return dv.effect_map(dv.wrap(network, 1000, MEAN, STD), photo, GRID)


def assert_equal(classifier, photo, expected):
    measured = dv.effect_map(classifier, photo, GRID)
    assert expected.effect.abs().max() > 1e-3
    torch.testing.assert_close(measured.map, expected.map, rtol=0, atol=1e-5)


def test_an_onnx_file_by_a_users_function_and_by_the_checkpoint_of_it(monkeypatch, photo, expected, tmp_path, network):
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    pytest.importorskip("onnx", reason="onnx, which torch exports with, is not installed")
    path = tmp_path / "network.onnx"
    torch.onnx.export(network, (torch.zeros(2, 3, SIDE, SIDE),), str(path), dynamo=False)  # two images at a time
    module = ModuleType("mypackage")
    module.network = lambda path: dv.wrap(path, mean=MEAN, std=STD)
    monkeypatch.setitem(sys.modules, "mypackage", module)
    settings = {"_target_": "mypackage.network", "path": str(path)}
    classifier = Component("model", settings).make()
    assert_equal(classifier, photo, expected)
    checkpoint.save_checkpoint(tmp_path / "own.ckpt", classifier, settings, None, {})
    assert_equal(dv.load(tmp_path / "own.ckpt", trust_checkpoint=True), photo, expected)


@pytest.mark.parametrize("location", ["weights.bin", "{folder}/weights.bin", "../{folder.name}/weights.bin"])
def test_an_onnx_file_whose_weights_lie_outside_is_refused(monkeypatch, tmp_path, location):
    """They would be read from the working directory, be in no checkpoint, and change no identity."""
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    library = pytest.importorskip("onnx", reason="onnx, which writes the file, is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(torch.ones(SIDE, 2).numpy().tobytes())
    weights = library.TensorProto(name="w", data_type=1, dims=[SIDE, 2], data_location=1)
    weights.external_data.add(key="location", value=location.format(folder=tmp_path))
    ends = [library.helper.make_tensor_value_info(*end) for end in (("x", 1, ["b", SIDE]), ("y", 1, ["b", 2]))]
    graph = library.helper.make_graph(
        [library.helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weights]
    )
    model = library.helper.make_model(graph, opset_imports=[library.helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"a\.onnx must be an ONNX file with its weights inside"):
        dv.wrap("a.onnx")


def test_an_onnxruntime_that_reads_other_files_is_refused(monkeypatch, tmp_path):
    (tmp_path / "a.onnx").touch()
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(__version__="1.23.2"))
    with pytest.raises(ImportError, match=r"needs onnxruntime 1\.24, .* got 1\.23\.2"):
        dv.wrap(tmp_path / "a.onnx")


def test_a_function_of_a_users_package_that_returns_a_module(monkeypatch, network, photo, expected):
    module = ModuleType("mypackage")
    module.make_network = lambda width: network if width == 64 else 3
    monkeypatch.setitem(sys.modules, "mypackage", module)
    yaml = {"_target_": "mypackage.make_network", "width": 64, "mean": MEAN, "std": STD}
    classes = [str(number) for number in range(1000)]
    dataset = {"shape": [3, SIDE, SIDE], "task": "multiclass", "classes": classes}
    config = with_wrapped_network(OmegaConf.create({"model": yaml, "dataset": dataset}))
    model = Component("model", OmegaConf.to_container(config, resolve=True)["model"])
    assert_equal(model.make(), photo, expected)
    with pytest.raises(
        ValueError, match="model must be a function that returns a torch module, or a Classifier, got 3"
    ):
        model.make(network={"width": 1})


def squares(images):
    """Logits of three classes: the mean square of each channel."""
    return images.square().mean((2, 3))


def test_pictures_are_brought_to_a_network_as_its_preprocessing_says(tmp_path):
    picture = images.decode(example_photograph().read_bytes())
    picture.save(tmp_path / "photo.png")
    way = dv.Resize(size=80, interpolation="bicubic")
    by_command = dv.component(
        "dataset", "image_folder", {"root": str(tmp_path), "shape": [3, 64, 64], "resize": way._asdict()}
    )
    batch = dv.to_batch(picture, dv.Preprocessing(64, way))
    assert torch.equal(batch[0], by_command.split("test")[0].image)
    assert torch.equal(batch, dv.to_batch(picture, 64, resize=way))
    assert torch.equal(batch, dv.ImageData(picture, size=dv.Preprocessing(64, way)).images.image)
    assert not torch.equal(batch, dv.to_batch(picture, 64))


BATCH = dv.Batch(torch.rand(2, 3, 8, 8), torch.arange(2), torch.arange(2), torch.arange(2))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda box: dv.component("attack", "fgsm", {"eps": [0.1]})(BATCH, box), "gives logits alone, and no gradient"),
        (lambda box: dv.Captum("Saliency")(BATCH, BATCH.label, box), "gives logits alone, and no gradient"),
        (lambda box: dv.GradCAM()(BATCH, BATCH.label, box), "No layer of it gives a map of the image"),
        (lambda box: dv.effect_map(box, BATCH.image, dv.Activation(site="0")), "has no site '0'. Its sites are: input"),
        (lambda box: dv.AttentionRollout()(BATCH, BATCH.label, box), "no attention ran in the network"),
        (lambda _: dv.wrap(lambda image: None, 3)(BATCH.image), r"must return logits, shape \(B, K\), got NoneType"),
    ],
)
def test_what_needs_an_inside_refuses_a_callable_in_a_sentence(use, message):
    with pytest.raises(ValueError, match=message):
        use(dv.wrap(squares, 3))


def test_a_file_that_is_no_onnx_is_refused_at_once(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "net.pt").write_bytes(b"no network")
    with pytest.raises(ValueError, match=r"net\.pt must be an ONNX file with its weights inside, but: "):
        dv.wrap(tmp_path / "net.pt", 3)
    with pytest.raises(FileNotFoundError, match=r"must be an ONNX file that exists, but there is no .*none\.onnx"):
        dv.wrap(tmp_path / "none.onnx", 2)


@pytest.mark.parametrize("method", ["program", "module"])
def test_an_exported_program_gives_the_effects_of_its_network(method):
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    program = torch.export.export(made, (BATCH.image,), dynamic_shapes=({0: torch.export.Dim("images", min=1)},))
    classifier = dv.wrap(program if method == "program" else program.module(), 3, 0.5, 0.5)
    expected = dv.effect_map(dv.wrap(made, 3, 0.5, 0.5), BATCH.image, GRID)
    torch.testing.assert_close(dv.effect_map(classifier, BATCH.image, GRID).effect, expected.effect, rtol=0, atol=1e-6)
    assert method == "module" or "3" in dv.sites(classifier, (3, 8, 8))["site"].tolist()


def test_a_backbone_without_a_head_is_refused_with_the_reason():
    timm = pytest.importorskip("timm", reason="the extra timm is not installed")
    with pytest.raises(ValueError, match="got one of timm that outputs 512 features, not classes"):
        dv.wrap(timm.create_model("resnet10t", num_classes=0), 10)
