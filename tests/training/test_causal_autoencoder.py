from __future__ import annotations

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from dovision.functional.effects import divergence
from dovision.interfaces import Classifier
from dovision.models.conv_autoencoder import ConvAutoencoder, insert
from dovision.training.autoencoder_loss import AutoencoderLoss, AutoencoderLossAsCoded, variation_mismatch
from dovision.training.autoencoder_module import CausalAutoencoder
from dovision.types import Batch, Task

THREE = Task("multiclass", ("a", "b", "c"))


@pytest.fixture
def classifier():
    """With batch-norm and dropout, which a careless training would move."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(inplace=True),
        torch.nn.Dropout(0.5),
        torch.nn.ReLU(inplace=True),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 6 * 6, 3),
    )
    classifier = Classifier(network, THREE, [0.5], [0.5])
    for _ in range(5):
        classifier(torch.rand(8, 1, 8, 8))  # gives the batch-norm statistics of its own
    return classifier.eval()


def module_of(classifier, channels=(4, 3, 4), code=1, zeroed_channel=None, kind=AutoencoderLoss, **weights):
    torch.manual_seed(1)
    autoencoder = ConvAutoencoder("2", channels, code=code, kernel_size=1)
    with_autoencoder = insert(classifier, autoencoder, (1, 8, 8))
    loss = kind(**{"shallow": 0.0, "deep": 1.0, "interpretability": 0.0, **weights})
    return CausalAutoencoder(classifier, with_autoencoder, partial(torch.optim.Adam, lr=0.01), loss, zeroed_channel)


def fit(module, epochs=1, **trainer):
    torch.manual_seed(2)
    image, zeros = torch.rand(32, 1, 8, 8), torch.zeros(32, dtype=torch.int64)
    loader = DataLoader(TensorDataset(image, zeros, zeros, zeros), batch_size=8, collate_fn=stacked)
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **trainer,
    )  # fmt: skip
    trainer.fit(module, loader, loader)
    return trainer


def stacked(rows):
    return Batch(*(torch.stack(field) for field in zip(*rows, strict=True)))


@pytest.mark.parametrize("weights", [{}, {"shallow": 2.0, "deep": 3.0}])
def test_training_leaves_parameters_and_buffers_of_the_classifier_bit_identical(classifier, weights):
    module = module_of(classifier, **weights)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    fit(module)
    moved = {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(".autoencoder." in name or name.startswith("autoencoder.") for name in moved)


def test_training_brings_the_answers_back(classifier):
    module = module_of(classifier)
    image = torch.rand(16, 1, 8, 8)
    before = module.terms(image)["deep"].item()
    fit(module, epochs=20)
    assert module.terms(image)["deep"].item() < before / 3


def test_dropout_and_batch_norm_stay_in_eval_mode_while_the_autoencoder_trains(classifier):
    module = module_of(classifier).train()
    assert module.autoencoder.training
    modes = {name: child.training for name, child in module.with_autoencoder.network.named_modules()}
    assert not any(training for name, training in modes.items() if ".autoencoder" not in name)


def test_the_loss_is_the_weighted_sum_of_its_terms(classifier):
    module = module_of(classifier, channels=(4, 3, 2, 3, 4), code=2, shallow=3.0, deep=2.0, interpretability=5.0)
    image = torch.rand(4, 1, 8, 8)
    hidden = classifier.network[2](classifier.network[1](classifier.network[0]((image - 0.5) / 0.5)))
    autoencoder = module.autoencoder
    code = autoencoder.encoder(hidden)
    back = autoencoder.decoder(code)
    logits = classifier.network[3:](back.clone())
    expected = (
        3.0 * (back - hidden).abs().mean()
        + 2.0 * divergence(classifier(image), logits, THREE).sum(-1).mean()
        + 5.0 * variation_mismatch(autoencoder.encoder[0](hidden), autoencoder.decoder[0](code))
    )
    zeros = torch.zeros(4, dtype=torch.int64)
    module.log = lambda *args, **kwargs: None
    torch.testing.assert_close(module.training_step(Batch(image, zeros, zeros, zeros), 0), expected)


def test_a_zeroed_channel_is_silent_all_through_the_fit_and_only_then(classifier):
    module = module_of(classifier, zeroed_channel=1)
    image = torch.rand(4, 1, 8, 8)
    autoencoder = module.autoencoder
    hidden = classifier.network[:3]((image - 0.5) / 0.5)
    code = autoencoder.encoder(hidden)
    assert (code[:, 1] != 0).any()
    silenced = code.clone()
    silenced[:, 1] = 0
    expected = divergence(classifier(image), classifier.network[3:](autoencoder.decoder(silenced)), THREE)
    torch.testing.assert_close(module.terms(image)["deep"], expected.sum(-1).mean())
    assert torch.equal(autoencoder.encoder(hidden), code)  # no longer zeroed
    before = {name: value.clone() for name, value in autoencoder.state_dict().items()}
    fit(module)
    weight = autoencoder.encoder[0][0].weight
    assert torch.equal(weight[1], before["encoder.0.0.weight"][1])
    assert not torch.equal(weight[0], before["encoder.0.0.weight"][0])


def test_a_channel_that_the_code_lacks_is_refused(classifier):
    with pytest.raises(ValueError, match=r"zeroed_channel must lie in \[0, 2\], the channels there are, got 3"):
        module_of(classifier, zeroed_channel=3)


def test_as_coded_the_loss_is_the_variation_twice_and_the_reconstruction_trains_nothing(classifier):
    weights = {"shallow": 2.0, "deep": 3.0, "interpretability": 5.0}
    shape = {"channels": (4, 3, 2, 3, 4), "code": 2, "zeroed_channel": 1}
    module = module_of(classifier, kind=AutoencoderLossAsCoded, **shape, **weights)
    image, zeros = torch.rand(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64)
    module.log = lambda *args, **kwargs: None
    loss = module.training_step(Batch(image, zeros, zeros, zeros), 0)
    hidden = classifier.network[:3]((image - 0.5) / 0.5)
    first = module.autoencoder.encoder[0](hidden)
    code = module.autoencoder.encoder(hidden)
    code = torch.stack([code[:, 0], torch.zeros_like(code[:, 1])], 1)
    last = module.autoencoder.decoder[0](code)
    vertical = [(x[:, :, 1:] - x[:, :, :-1]).abs() for x in (first, last)]
    variation = torch.norm(vertical[1] - vertical[0], 1) / 6
    shallow = (module.autoencoder.decoder(code) - hidden).abs().mean()
    torch.testing.assert_close(loss, (5 + 3) * variation + 2 * shallow)
    loss.backward()
    last_layer = module.autoencoder.decoder[1][0].weight  # only the reconstruction would move it
    assert last_layer.grad is None or not last_layer.grad.any()


def test_feature_maps_that_do_not_match_are_refused(classifier):
    with pytest.raises(ValueError, match="interpretability must be 0 unless .* got 3 and 4"):
        module_of(classifier, interpretability=1.0)
