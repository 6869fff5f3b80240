"""Hugging Face's networks against the library itself, from folders alone: no test looks for the hub."""

import json
import shutil

import pytest
import torch
from torch.nn.functional import linear

import dovision as dv
from dovision.config.component import Component
from dovision.models import checkpoint
from dovision.models.hf_model import geometry, hf_model
from dovision.propagation import Propagation
from dovision.propagation.site_table import site_table
from dovision.training.foreign import check_order, unread
from made_hf import LABELS, MEAN, NETWORKS, STD, save_network

transformers = pytest.importorskip("transformers")
SHAPE = (3, 32, 32)
IMAGES = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(3))


def made(source, classes=LABELS, **arguments):
    settings = {"pretrained": True, "shape": SHAPE, "task": "multiclass", "classes": classes} | arguments
    return hf_model(str(source), **settings).eval()


def normalised(image=IMAGES):
    return (image - torch.tensor(MEAN).reshape(3, 1, 1)) / torch.tensor(STD).reshape(3, 1, 1)


@pytest.mark.parametrize("kind", NETWORKS)
@torch.no_grad()
def test_it_is_the_librarys_network_on_what_its_image_processor_gives(tmp_path, kind):
    network = save_network(tmp_path, kind)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    pixels = (IMAGES * 255).round()
    inputs = processor(list(pixels.to(torch.uint8)), do_resize=False, return_tensors="pt")
    expected = network(**inputs).logits
    assert expected.std() > 1e-3
    torch.testing.assert_close(made(tmp_path)(pixels / 255), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_labels_are_those_of_the_outputs_in_whatever_order_their_file_has_them(tmp_path):
    expected = save_network(tmp_path)(normalised()).logits
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    config["id2label"] = dict(reversed(config["id2label"].items()))
    file.write_text(json.dumps(config))
    torch.testing.assert_close(made(tmp_path, ("owl", "cat"))(IMAGES), expected[:, [2, 0]])
    for classifier in (
        made(tmp_path, classes=None, task=None),
        dv.wrap(transformers.AutoModelForImageClassification.from_pretrained(tmp_path)),
    ):
        assert classifier.task.classes == LABELS
        torch.testing.assert_close(classifier.eval()(IMAGES), expected)


@pytest.mark.parametrize("classes", [("cat", "doge"), ("normal", "ill", "other")])
def test_a_head_of_other_classes_is_refused(tmp_path, classes):
    save_network(tmp_path)
    with pytest.raises(
        ValueError, match=r"each class once among its 3 labels, got 0 of '(doge'. Did you mean dog|nor)"
    ):
        made(tmp_path, classes)


@pytest.mark.parametrize("count", [2, 3])
def test_a_new_head_is_random_and_the_rest_is_not(tmp_path, count):
    own = save_network(tmp_path).state_dict()
    found = made(tmp_path, tuple("xyz"[:count]), new_head=True).network.state_dict()
    unlike = {name for name, tensor in found.items() if not torch.equal(tensor, own[name])}
    assert "classifier.weight" in unlike
    assert unlike <= {"classifier.weight", "classifier.bias"}
    assert len(found["classifier.weight"]) == count


def test_weights_without_a_head_are_refused_unless_it_is_new(tmp_path):
    save_network(tmp_path).vit.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"must be those of a classifier, but classifier.bias, .* model.new_head=true"):
        made(tmp_path)
    assert made(tmp_path, ("a", "b"), new_head=True)(IMAGES).shape == (2, 2)


@pytest.mark.parametrize("kind", ["vit", "swin", "resnet"])
@torch.no_grad()
def test_a_checkpoint_rebuilds_it_without_the_folder(tmp_path, kind):
    folder = tmp_path / "network"
    save_network(folder, kind)
    classifier = made(folder, ("owl", "cat"))
    settings = {
        **{"_target_": "dovision.models.hf_model.hf_model", "source": str(folder), "revision": "main"},
        **{"pretrained": True, "new_head": False, "mean": None, "std": None},
        **{"shape": list(SHAPE), "task": "multiclass", "classes": ["owl", "cat"]},
    }
    checkpoint.save_checkpoint(tmp_path / "own.ckpt", classifier, settings, None, {})
    shutil.rmtree(folder)
    assert torch.equal(dv.load(tmp_path / "own.ckpt")(IMAGES), classifier(IMAGES))


def test_what_may_name_code_is_neither_kept_nor_taken(tmp_path):
    save_network(tmp_path)
    own = {"auto_map": {"AutoModelForImageClassification": "evil.Evil"}, "attn_implementation": "someone/kernel"}
    classifier = made(tmp_path)
    config = {**classifier.arguments["config"], **own}
    assert not {"auto_map", "_attn_implementation", "attn_implementation"} & set(classifier.arguments["config"])
    rebuilt = made(None, pretrained=False, config=config, mean=[0.5], std=[0.5])
    assert "auto_map" not in rebuilt.arguments["config"]


def test_a_hub_that_cannot_be_read_says_what_to_do(monkeypatch):
    def refuse(*_, **__):
        raise OSError("connection to https://huggingface.co refused.\nCheck your internet connection.")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", refuse)
    with pytest.raises(
        ConnectionError, match=r"of google/vit-base .*connection to https://hug.* refused\)\. Fetch .* --local-dir"
    ):
        made("google/vit-base")


def test_images_of_other_channels_are_refused(tmp_path):
    save_network(tmp_path)
    assert made(tmp_path, shape=(1, 32, 32))(IMAGES[:, :1]).shape == (2, 3)
    with pytest.raises(ValueError, match=r"vit takes images of 1 or 3 channels, got shape \[2, 32, 32\]"):
        made(tmp_path, shape=(2, 32, 32))


@pytest.mark.parametrize(
    ("facts", "mean", "std"),
    [
        ({"do_normalize": False}, [0.0], [1.0]),
        ({"do_normalize": False, "do_rescale": False}, [0.0], [1 / 255]),
        ({"image_mean": [127.5], "image_std": [51.0], "do_rescale": False}, [0.5], [0.2]),
    ],
    ids=["scaled", "as bytes", "bytes normalised"],
)
def test_mean_and_std_are_those_of_the_image_processor(tmp_path, facts, mean, std):
    save_network(tmp_path, **facts)
    classifier = made(tmp_path)
    assert classifier.mean.flatten().tolist() == pytest.approx(mean)
    assert classifier.std.flatten().tolist() == pytest.approx(std)


@pytest.mark.parametrize("kind", ["vit", "deit", "beit", "dinov2"])
@torch.no_grad()
def test_heads_are_those_before_the_output_projection(tmp_path, kind):
    save_network(tmp_path, kind)
    classifier = made(tmp_path)
    name = next(each for each, _ in classifier.network.named_modules() if each.endswith("0.attention"))
    rows = {row.site: row for row in site_table(classifier, SHAPE)}
    assert (rows[f"{name}.heads"].layout, rows[f"{name}.heads"].units.split(",")[0]) == ("NHTC", "2 heads")
    outcome = dv.effect_map(classifier, IMAGES, dv.Activation(f"{name}.heads", "head"))
    projection = classifier.network.get_submodule(f"{name}.o_proj")
    for head in range(2):

        def zero_head(module, inputs, output, head=head):
            columns = torch.arange(16) // 8 != head
            return linear(inputs[0] * columns, module.weight, module.bias)

        with projection.register_forward_hook(zero_head):
            expected = classifier(IMAGES).softmax(-1)
        assert (expected - outcome.control).abs().max() > 1e-5
        torch.testing.assert_close(outcome.control + outcome.effect[:, head], expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_dropped_tokens_are_those_of_the_embedding(tmp_path):
    network = save_network(tmp_path)
    outcome = Propagation(made(tmp_path), dv.TokenDrop(2, 2))(dv.Batch(IMAGES, *torch.arange(2).expand(3, 2)))
    stays = [0, *(1 + patch for patch in range(16) if patch not in (0, 1, 4, 5))]
    tokens = network.vit.embeddings(normalised())[:, stays]
    for layer in network.vit.layers:
        tokens = layer(tokens)
    expected = network.classifier(network.vit.layernorm(tokens)[:, 0])
    torch.testing.assert_close(outcome.treated[:, 0], expected)


def test_a_file_of_its_weights_is_read_by_the_names_of_its_labels(tmp_path):
    network = save_network(tmp_path)
    settings = {"_target_": "dovision.models.hf_model.hf_model", "source": str(tmp_path), "pretrained": True}
    settings |= {"shape": [3, 32, 32], "task": "multiclass", "classes": ["owl", "cat"], "mean": None, "std": None}
    model = Component("model", settings)
    classifier = unread(model)
    check_order(model, classifier)
    classifier.network.load_state_dict(network.state_dict())
    image = torch.rand(2, 3, 32, 32)
    expected = network((image - classifier.mean) / classifier.std).logits[:, [2, 0]]
    torch.testing.assert_close(classifier.eval()(image), expected)


def test_a_processor_without_a_size_has_no_preprocessing():
    assert geometry(transformers.ViTImageProcessor(do_resize=False)) is None


def test_a_wrapped_network_of_trained_weights_without_its_processor_is_refused_unless_its_scale_is_given(tmp_path):
    save_network(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    network = transformers.AutoModelForImageClassification.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"mean and std of .* must be known, .* Give processor=.*, or mean and std\."):
        dv.wrap(network)
    assert dv.wrap(network, mean=MEAN, std=STD).task.classes == LABELS


def test_a_wrapped_network_runs_no_code_beside_its_weights(tmp_path, monkeypatch):
    save_network(tmp_path)
    network = transformers.AutoModelForImageClassification.from_pretrained(tmp_path)
    config = {"image_processor_type": "Evil", "auto_map": {"AutoImageProcessor": "evil.Evil"}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'canary')!r}).touch()\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # what the library asks where it is not told
    with pytest.raises(ValueError, match=r"mean and std of .* must be known"):
        dv.wrap(network)
    assert not (tmp_path / "canary").exists()
