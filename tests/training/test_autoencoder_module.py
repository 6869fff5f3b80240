"""Fits of causal and of sparse autoencoders inside a classifier that stays as it is."""

from functools import partial

import pytest
import torch
from sklearn.metrics import r2_score
from torch.utils.data import DataLoader, TensorDataset

import dovision as dv
from dovision.functional.effects import divergence
from dovision.jobs.hydra_main import evaluate, train
from dovision.models.conv_autoencoder import insert
from dovision.results.run_record import read_sweep
from dovision.results.tables import read_effects
from dovision.training.autoencoder_loss import AutoencoderLoss
from dovision.training.autoencoder_module import CausalAutoencoder, ReconstructionQuality, SparseAutoencoder
from made_trainer import quiet_trainer
from paper.loss_as_coded import AutoencoderLossAsCoded

DIGITS = ("dataset=digits", "dataset.test_fraction=0.75", "training.classifier.epochs=1")
DIGITS += ("autoencoder=topk_sae", "autoencoder.after=pool", "autoencoder.channels=64", "autoencoder.expansion=4")
DIGITS += ("training.autoencoder.epochs=2", "training.autoencoder.batch_size=64")
THREE = dv.Task("multiclass", ("a", "b", "c"))
IMAGES = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def classifier():
    """With batch-norm and dropout, which a careless training would move."""
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(inplace=True), torch.nn.Dropout(0.5)]
    layers += [torch.nn.ReLU(inplace=True), torch.nn.Flatten(), torch.nn.Linear(4 * 6 * 6, 3)]
    network = torch.nn.Sequential(*layers)
    classifier = dv.Classifier(network, THREE, [0.5], [0.5])
    for _ in range(5):
        classifier(torch.rand(8, 1, 8, 8))  # gives the batch-norm statistics of its own
    return classifier.eval()


def module_of(classifier, channels=(4, 3, 4), code=1, zeroed_channel=None, **weights):
    torch.manual_seed(1)
    autoencoder = dv.ConvAutoencoder("2", channels, code=code, kernel_size=1)
    with_autoencoder = insert(classifier, autoencoder, (1, 8, 8))
    loss = AutoencoderLoss(**{"shallow": 0.0, "deep": 1.0, "interpretability": 0.0, **weights})
    return CausalAutoencoder(classifier, with_autoencoder, partial(torch.optim.Adam, lr=0.01), loss, zeroed_channel)


def sparse_module_of(classifier):
    torch.manual_seed(1)
    autoencoder = dv.TopkSae("2", 4, expansion=4, k=2, dead_after=64)
    with_autoencoder = insert(classifier, autoencoder, (1, 8, 8))
    return SparseAutoencoder(classifier, with_autoencoder, partial(torch.optim.Adam, lr=0.01))


def fit(module, epochs=1):
    torch.manual_seed(2)
    zeros = torch.zeros(32, dtype=torch.int64)
    loader = DataLoader(TensorDataset(IMAGES, zeros, zeros, zeros), batch_size=8, collate_fn=stacked)
    trainer = quiet_trainer(max_epochs=epochs)
    trainer.fit(module, loader, loader)
    return trainer


def stacked(rows):
    return dv.Batch(*(torch.stack(field) for field in zip(*rows, strict=True)))


MODULES = {"deep": module_of, "both terms": partial(module_of, shallow=2.0, deep=3.0), "sparse": sparse_module_of}


@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
def test_training_leaves_parameters_buffers_and_modes_of_the_classifier_as_they_are(make, classifier):
    module = make(classifier)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    fit(module)
    moved = {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(".autoencoder." in name or name.startswith("autoencoder.") for name in moved)
    assert module.train().autoencoder.training
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
        + 5.0 * module.loss.variation(autoencoder.encoder[0](hidden), autoencoder.decoder[0](code))
    )
    zeros = torch.zeros(4, dtype=torch.int64)
    module.log = lambda *args, **kwargs: None
    torch.testing.assert_close(module.training_step(dv.Batch(image, zeros, zeros, zeros), 0), expected)


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


def test_the_metrics_are_those_of_all_positions_of_the_validation_images(classifier):
    module = sparse_module_of(classifier)
    logged = fit(module).callback_metrics
    assert module.best_by[0] in module.logged
    assert set(module.logged) == set(logged)
    hidden = classifier.network[:3]((IMAGES - 0.5) / 0.5)
    code = module.autoencoder.encoder(hidden)
    output = module.autoencoder.decoder(code)
    variance = (hidden - hidden.mean((0, 2, 3), keepdim=True)).square().sum()
    expected = {
        "explained_variance": 1 - (hidden - output).square().sum() / variance,
        "l0": (code > 0).float().sum(1).mean(),
        "dead_share": (code == 0).all(3).all(2).all(0).float().mean(),
        "kl": divergence(classifier(IMAGES), classifier.network[3:](output.clone()), THREE).sum(-1).mean(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(logged[f"val_{name}"], value, msg=name)
    torch.testing.assert_close(module.autoencoder.activity, code.mean((0, 2, 3)))


def test_the_quality_of_a_reconstruction_is_that_of_all_batches_of_two_devices():
    random = torch.Generator().manual_seed(0)
    activation, output = torch.randn(2, 12, 2, generator=random)
    code = torch.rand(12, 3, generator=random).clamp(min=0.9) - 0.9
    code[:, 2] = 0
    parts = [ReconstructionQuality(2, 3), ReconstructionQuality(2, 3)]
    for part, rows in zip(parts, (slice(0, 5), slice(5, 12)), strict=True):
        part.update(activation[rows], output[rows], code[rows])
    parts[0].merge_state(parts[1])
    explained = r2_score(activation.double().numpy(), output.double().numpy(), multioutput="variance_weighted")
    active, dead = (code != 0).sum(1).double().mean().item(), (code == 0).all(0).double().mean().item()
    assert parts[0].compute().tolist() == pytest.approx([explained, active, dead])


def test_effects_of_the_most_active_latents_are_measured_with_the_fitted_one(run_command, capsys, tmp_path):
    assert run_command(train, *DIGITS, f"output_root={tmp_path}") == 0
    own = ("intervention=activation", "intervention.unit=latent", "intervention.choose=4", "evaluation.images=4")
    assert run_command(evaluate, *DIGITS, *own, f"output_root={tmp_path}") == 0
    assert capsys.readouterr().err.count("found the fitted autoencoder") == 1
    (run,) = read_sweep(tmp_path / "evaluate")
    latents = [f"z{number}" for number in range(4)]
    effects = read_effects(run.folder, range(4))
    assert list(dict.fromkeys(effects["unit"])) == latents


def test_the_mismatch_is_zero_for_maps_that_differ_by_a_constant_and_known_by_hand_otherwise():
    ramp = torch.arange(4.0).reshape(1, 1, 2, 2)  # 1 to the right, 2 downwards
    variation = AutoencoderLoss(1.0, 1.0, 1.0).variation
    assert variation(ramp, ramp + 7) == 0
    assert variation(ramp, torch.zeros_like(ramp)) == 3


def test_as_coded_the_weight_of_the_deep_term_is_added_to_that_of_interpretability():
    weights = {"shallow": 2.0, "deep": 3.0, "interpretability": 5.0}
    meant, coded = AutoencoderLoss(**weights), AutoencoderLossAsCoded(**weights)
    assert meant.weights == weights
    assert coded.weights == {"shallow": 2.0, "deep": 0.0, "interpretability": 8.0}


def test_as_coded_the_reconstruction_has_the_same_value_and_gives_the_autoencoder_no_gradient():
    activation, output = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4, requires_grad=True)
    meant = AutoencoderLoss(1.0, 1.0, 1.0).reconstruction(output, activation)
    coded = AutoencoderLossAsCoded(1.0, 1.0, 1.0).reconstruction(output, activation)
    assert torch.equal(meant, coded)
    assert meant.requires_grad
    assert not coded.requires_grad


def test_as_coded_the_variation_is_that_of_vertical_neighbours_without_sign_summed_and_divided_by_the_height():
    ramp = torch.arange(4.0).reshape(1, 1, 2, 2)  # 2 downwards, in two columns
    coded = AutoencoderLossAsCoded(1.0, 1.0, 1.0)
    assert coded.variation(ramp, torch.zeros_like(ramp)) == 2 * 2 / 2
    assert coded.variation(ramp, -ramp) == 0
    assert coded.variation(ramp.expand(3, 1, 2, 2), torch.zeros(3, 1, 2, 2)) == 3 * 2 * 2 / 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: module_of(c, zeroed_channel=3), r"zeroed_channel must be a whole number from 0 to 2, got 3"),
        (lambda c: module_of(c, interpretability=1.0), "interpretability must be 0 unless .* got 3 and 4"),
        (lambda _: AutoencoderLoss(0.0, 0.0, 0.0), "must not all be 0"),
        (lambda _: AutoencoderLoss(0.0, -1.0, 0.0), "deep must be at least 0, got -1"),
        (lambda _: AutoencoderLossAsCoded(1.0, 0.0, 0.0), "interpretability or deep must be above 0"),
    ],
)
def test_what_fits_nothing_is_refused(call, message, classifier):
    with pytest.raises(ValueError, match=message):
        call(classifier)
