from functools import partial

import pytest
import pytorch_lightning as pl
import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader

from dovision.attacks.gradient_ascent import PGD
from dovision.interfaces import Classifier
from dovision.training.image_classifier import FrozenBackbone, ImageClassifier
from dovision.types import Batch, Task
from made_trainer import quiet_trainer


class Bright(torch.utils.data.Dataset):
    """Bright images are of class 1, dark ones of class 0."""

    def __init__(self, images: int, multilabel: bool = False) -> None:
        self.images = images
        self.multilabel = multilabel

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> Batch:
        label = torch.tensor([index % 2, 1 - index % 2]).float() if self.multilabel else torch.tensor(index % 2)
        return Batch(torch.full((1, 4, 4), 0.2 + 0.6 * (index % 2)), label, torch.tensor(index), torch.tensor(index))


def linear(kind: str, classes: tuple[str, ...]) -> ImageClassifier:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, len(classes)))
    return ImageClassifier(Classifier(network, Task(kind, classes), [0.5], [0.5]), partial(torch.optim.Adam, lr=0.1))


class Labelled(Bright):
    """Bright images with the labels bright, unknown for every third image, and absent, which no image has."""

    def __getitem__(self, index: int) -> Batch:
        bright = torch.nan if index % 3 == 0 else float(index % 2)
        return super().__getitem__(index)._replace(label=torch.tensor([bright, 0.0]))


def test_each_label_that_can_be_scored_is_logged_by_name_and_alone_counts_in_the_mean():
    trainer, loader = quiet_trainer(max_epochs=3), DataLoader(Labelled(32), 8)
    trainer.fit(linear("multilabel", ("bright", "absent")), loader, loader)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert logged["val_auroc/bright"] == logged["val_score"] == 1
    assert "val_auroc/absent" not in logged
    assert 0 < logged["train_loss"] < 1


def test_the_thresholds_of_an_epoch_come_back_with_its_weights(tmp_path):
    module, loader = linear("multilabel", ("bright", "absent")), DataLoader(Labelled(32), 8)
    first = pl.callbacks.ModelCheckpoint(tmp_path, filename="first", save_top_k=1, monitor="epoch", mode="min")
    quiet_trainer(first, max_epochs=3, enable_checkpointing=True).fit(module, loader, loader)
    last = module.fitted_task.thresholds
    module.load_state_dict(torch.load(first.best_model_path, weights_only=True)["state_dict"])
    bright, absent = module.fitted_task.thresholds
    with torch.no_grad():
        expected = module(torch.full((1, 1, 4, 4), 0.8)).sigmoid()[0, 0]  # the lowest, and only, one of bright images
    assert bright == pytest.approx(expected.item(), abs=1e-6)
    assert bright != last[0]
    assert absent == 0.5


class Absent(Bright):
    def __getitem__(self, index: int) -> Batch:
        return super().__getitem__(index)._replace(label=torch.zeros(1))


def test_labels_of_one_value_alone_cannot_choose_an_epoch():
    module, loader = linear("multilabel", ("absent",)), DataLoader(Absent(8), 8)
    with pytest.raises(ValueError, match="both values of at least one label.* for each of absent. Use more validation"):
        quiet_trainer(max_epochs=1).fit(module, loader, loader)


def test_normalised_images_are_refused_with_the_remedy():
    classifier = Classifier(torch.nn.Flatten(), Task("multiclass", ("a", "b")), [0.0], [1.0])
    module = ImageClassifier(classifier)
    zeros = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"image must lie in \[0, 1\], got \[-2.00, 2.00\]. Normalise inside"):
        module.validation_step(Batch(torch.tensor([-2.0, 2.0]).reshape(1, 1, 1, 2), zeros, zeros, zeros), 0)


class Remembering(PGD):
    """Remembers the images that it has made, by the number of the sample that it was asked for."""

    def __init__(self):
        super().__init__(0.1, steps=1, step_size=0.01)
        self.made = {}

    def run(self, batch, classifier, eps):
        assert not classifier.training
        images = super().run(batch, classifier, eps)
        self.made |= {int(sample): image.clone() for sample, image in zip(batch.sample, images, strict=True)}
        return images


def attacked_fit(batch_size: int, epochs: int = 2) -> tuple[ImageClassifier, Remembering]:
    module = linear("multiclass", ("dark", "bright"))
    module.attack = attack = Remembering()
    module.optimizer = partial(torch.optim.SGD, lr=0.0)
    quiet_trainer(max_epochs=epochs).fit(module, DataLoader(Bright(8), batch_size), DataLoader(Bright(8), 8))
    return module, attack


def test_adversarial_training_draws_from_epoch_and_sample_alone():
    (module, few), (_, many) = attacked_fit(2), attacked_fit(8)
    assert module.classifier.training or all(parameter.requires_grad for parameter in module.classifier.parameters())
    assert sorted(few.made) == sorted(many.made) == [*range(8), *range(2**32, 2**32 + 8)]
    for sample, image in few.made.items():
        torch.testing.assert_close(image, many.made[sample], rtol=0, atol=1e-6)
    assert not torch.equal(few.made[0], few.made[2**32])


def test_an_attack_of_several_epsilons_is_refused_in_training():
    classifier = linear("multiclass", ("dark", "bright")).classifier
    with pytest.raises(ValueError, match=r"training\.classifier\.attack must have one eps, got \[0\.1, 0\.2\]\."):
        ImageClassifier(classifier, attack=PGD([0.1, 0.2], steps=1))


THREE = Task("multiclass", ("a", "b", "c"))


def classifier_of(*last: nn.Module) -> Classifier:
    """A network with batch-norm and dropout, of which one layer is fixed and one is in eval mode from the start."""
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 4, 1), nn.Flatten()
    classifier = Classifier(nn.Sequential(*layers, *last), THREE, [0.5], [0.5])
    classifier.network[3].requires_grad_(False)
    classifier.network[2].eval()
    return classifier


def state(classifier):
    modes = [module.training for module in classifier.modules()]
    return modes, [parameter.requires_grad for parameter in classifier.parameters()]


def test_only_the_last_layer_is_fitted_and_all_is_put_back():
    classifier = classifier_of(nn.Linear(4 * 6 * 6, 3))
    before, backbone = state(classifier), FrozenBackbone(classifier)
    backbone.freeze()
    backbone.freeze()  # in the second epoch
    assert [name for name, parameter in classifier.named_parameters() if parameter.requires_grad] == [
        "network.5.weight",
        "network.5.bias",
    ]
    assert classifier.network[5].training
    assert not classifier.network[1].training
    backbone.release()
    backbone.release()
    assert state(classifier) == before


def test_neither_weights_nor_running_statistics_move_while_it_is_frozen():
    classifier = classifier_of(nn.Linear(4 * 6 * 6, 3))
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=0.1, weight_decay=0.1)
    image, label = torch.rand(8, 1, 8, 8), torch.arange(8) % 3

    def moved() -> set[str]:
        before = {name: value.clone() for name, value in classifier.state_dict().items()}
        optimizer.zero_grad()
        THREE.loss(classifier(image), label).mean().backward()
        optimizer.step()
        return {name for name, value in classifier.state_dict().items() if not torch.equal(value, before[name])}

    moved()  # leaves gradients
    backbone = FrozenBackbone(classifier)
    backbone.freeze()
    assert moved() == {"network.5.weight", "network.5.bias"}
    backbone.release()
    assert moved() > {"network.0.weight", "network.1.running_mean", "network.5.weight"}


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "densenet121", "vit_b_16", "convnext_tiny", "squeezenet1_0"])
def test_the_last_layer_of_torchvisions_networks_gives_their_logits(name):
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None, num_classes=3)
        FrozenBackbone(Classifier(network, THREE, [0.5], [0.5])).freeze()
    fitted = {name.rpartition(".")[0] for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert len(fitted) == 1


@pytest.mark.parametrize(("last", "got"), [([nn.Linear(144, 3), nn.BatchNorm1d(7)], "BatchNorm1d"), ([], "Conv2d")])
def test_a_network_that_does_not_end_in_its_logits_is_refused(last, got):
    with pytest.raises(
        ValueError, match=f"frozen_epochs needs a network whose .* gives the 3 logits, got {got}. Set it"
    ):
        FrozenBackbone(classifier_of(*last))
