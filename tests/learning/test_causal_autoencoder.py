from __future__ import annotations

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch.distributions import Bernoulli, Categorical, kl_divergence
from torch.utils.data import DataLoader, TensorDataset

from dovision.contracts import Batch, Classifier, Task
from dovision.learning.causal_autoencoder import CausalAutoencoder, divergence, variation_mismatch
from dovision.models.conv_autoencoder import ConvAutoencoder, insert

THREE = Task("multiclass", ("a", "b", "c"))
LABELS = Task("multilabel", ("a", "b", "c"))


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


def module_of(classifier, channels=(4, 3, 4), code=1, **weights):
    torch.manual_seed(1)
    autoencoder = ConvAutoencoder("2", channels, code=code, kernel_size=1)
    inserted = insert(classifier, autoencoder, (1, 8, 8))
    weights = {"shallow": 0.0, "deep": 1.0, "interpretability": 0.0, **weights}
    return CausalAutoencoder(classifier, inserted, partial(torch.optim.Adam, lr=0.01), **weights)


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
    modes = {name: child.training for name, child in module.inserted.network.named_modules()}
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
        + 2.0 * divergence(classifier(image), logits, THREE)
        + 5.0 * variation_mismatch(autoencoder.encoder[0](hidden), autoencoder.decoder[0](code))
    )
    zeros = torch.zeros(4, dtype=torch.int64)
    module.log = lambda *args, **kwargs: None
    torch.testing.assert_close(module.training_step(Batch(image, zeros, zeros, zeros), 0), expected)


def test_the_divergence_is_torchs_in_nats():
    torch.manual_seed(0)
    target, logits = torch.randn(2, 5, 3)
    categorical = kl_divergence(Categorical(logits=target), Categorical(logits=logits)).mean()
    torch.testing.assert_close(divergence(target, logits, THREE), categorical)
    independent = kl_divergence(Bernoulli(logits=target), Bernoulli(logits=logits)).sum(-1).mean()
    torch.testing.assert_close(divergence(target, logits, LABELS), independent)
    assert divergence(target, target, THREE) == 0


def test_the_mismatch_is_zero_for_maps_that_differ_by_a_constant_and_known_by_hand_otherwise():
    ramp = torch.arange(4.0).reshape(1, 1, 2, 2)  # 1 to the right, 2 downwards
    assert variation_mismatch(ramp, ramp + 7) == 0
    assert variation_mismatch(ramp, torch.zeros_like(ramp)) == 3


def test_feature_maps_that_do_not_match_are_refused(classifier):
    with pytest.raises(ValueError, match="interpretability must be 0 unless .* got 3 and 4"):
        module_of(classifier, interpretability=1.0)
