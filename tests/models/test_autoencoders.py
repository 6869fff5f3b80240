"""Autoencoders inside a classifier: convolutional ones, and sparse ones of the k largest latents, by hand."""

import pytest
import torch
from matplotlib import colormaps
from torch import nn

import dovision as dv
from dovision.models.conv_autoencoder import insert
from dovision.propagation import Propagation

SHAPE = (1, 28, 28)
RELU1 = dict(after="relu1", channels=32, expansion=4, k=3, dead_after=10)
MNIST = dict(after="relu1", channels=[32, 16, 64, 32], code=1, kernel_size=1)
THREE = dv.Task("multiclass", ("a", "b", "c"))


def sae(channels=6, expansion=4, k=3, dead_after=10, **more):
    torch.manual_seed(0)
    return dv.TopkSae("layer", channels, expansion, k, dead_after, **more)


def orthogonal(k=1, **more):
    """Two channels, whose atoms are the four unit vectors along the axes."""
    made = sae(2, 4, k, **more)
    atoms = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1], [1, 0], [0, 1], [-1, 0], [0, -1]])
    atoms[4:] *= 0.5  # never the largest
    with torch.no_grad():
        made.encoder.weight.copy_(atoms)
        made.decoder.weight.copy_(atoms.T)
    return made


def test_of_orthogonal_atoms_the_largest_is_chosen_and_the_rest_is_left_out():
    made = orthogonal()
    with torch.no_grad():
        made.decoder.bias.copy_(torch.tensor([1.0, 1.0]))
    activation = torch.tensor([[4.0, 2.0], [0.0, -5.0]])  # less the bias: (3, 1) and (-1, -6)
    assert made.encoder(activation).tolist() == [[3.0, *[0.0] * 7], [0.0, 0, 0, 6, 0, 0, 0, 0]]
    assert made(activation).tolist() == [[4.0, 1.0], [1.0, -5.0]]


def test_the_loss_is_the_share_of_the_variance_that_is_left():
    activation = torch.tensor([[3.0, 1.0], [-3.0, 1.0]])  # of the mean (0, 1): 9 + 9; left: 1 + 1
    losses = orthogonal().eval().losses(activation)
    assert {name: value.item() for name, value in losses.items()} == {
        "reconstruction": pytest.approx(2 / 18),
        "auxiliary": 0.0,
    }


def test_dead_latents_learn_what_the_others_leave():
    made = orthogonal(k_aux=1, auxiliary=0.5).eval()
    made.idle[1] = 10
    with torch.no_grad():
        made.encoder.weight[1] *= 0.5
    activation = torch.tensor([[3.0, 1.0], [-3.0, 1.0], [3.0, -1.0], [-3.0, -1.0]])  # left: (0, 1) twice, (0, -1) twice
    losses = made.losses(activation)
    assert losses["auxiliary"].item() == pytest.approx(0.5 * (0.25 + 0.25 + 1 + 1) / 40)  # half of (0, 1) is explained
    losses["auxiliary"].backward()
    assert made.encoder.weight.grad[1].any()
    assert not made.encoder.weight.grad[[0, *range(2, 8)]].any()


def test_a_latent_is_dead_once_it_was_inactive_on_so_many_images_of_the_fit():
    made = orthogonal(dead_after=4)
    made.started.fill_(True)
    activation = torch.tensor([[3.0, 1.0], [1.0, 3.0]])
    for _ in range(2):
        made.losses(activation)
    assert made.idle.tolist() == [0, 0, 4, 4, 4, 4, 4, 4]
    made.losses(-activation)
    assert made.idle.tolist() == [2, 2, 0, 0, 6, 6, 6, 6]
    made.eval().losses(activation)
    assert made.idle.tolist() == [2, 2, 0, 0, 6, 6, 6, 6]


@pytest.mark.parametrize("layout", ["NHWC", "NTC", "NCT"])
def test_every_layout_is_coded_as_channels_first_is(layout):
    activation = torch.randn(2, 6, 5, 1) if layout == "NTC" else torch.randn(2, 6, 5, 4)
    of_layout = {
        "NHWC": lambda value: value.movedim(1, -1),
        "NCT": lambda value: value.flatten(2),
        "NTC": lambda value: value.flatten(2).movedim(1, -1),
    }[layout]
    made, first = sae(layout=layout), sae()
    code, output = made.encoder(of_layout(activation)), made(of_layout(activation))
    torch.testing.assert_close(code, of_layout(first.encoder(activation)))
    torch.testing.assert_close(output, of_layout(first(activation)))
    assert output.shape == of_layout(activation).shape


def test_atoms_have_norm_1_from_the_start_and_after_each_step():
    made = sae()
    torch.testing.assert_close(made.decoder.weight.norm(dim=0), torch.ones(24))
    with torch.no_grad():
        made.decoder.weight.mul_(torch.linspace(0.1, 9, 24))
    made.after_step()
    torch.testing.assert_close(made.decoder.weight.norm(dim=0), torch.ones(24))


def test_the_bias_begins_as_the_mean_of_the_first_batch():
    made, activation = sae(), torch.randn(50, 6) + 3
    made.losses(activation)
    torch.testing.assert_close(made.decoder.bias.detach(), activation.mean(0))
    made.losses(activation + 1)
    torch.testing.assert_close(made.encoder.bias.detach(), activation.mean(0))


def test_after_the_fit_the_most_active_latent_is_the_first_and_the_function_stays():
    made, activation = sae(), torch.randn(50, 6)
    code, output = made.encoder(activation), made(activation)
    activity = code.mean(0).detach()
    made.after_validation(activity)
    made.after_fit()
    assert torch.equal(made.activity, activity.sort(descending=True).values)
    torch.testing.assert_close(made.encoder(activation), code[:, activity.argsort(descending=True, stable=True)])
    torch.testing.assert_close(made(activation), output)


@pytest.mark.parametrize("made", [lambda: dv.TopkSae(**RELU1), lambda: dv.ConvAutoencoder(**MNIST)])
def test_the_inserted_classifier_is_prefix_then_autoencoder_then_suffix(made):
    torch.manual_seed(0)
    classifier = dv.small_cnn(SHAPE, "multiclass", [str(k) for k in range(10)], [0.5], [0.5]).eval()
    made = made()
    with_autoencoder = insert(classifier, made, SHAPE)
    image = torch.rand(2, *SHAPE)
    network = classifier.network
    hidden = made(network.relu1(network.conv1((image - 0.5) / 0.5)))
    hidden = network.pool(network.relu2(network.conv2(hidden)))
    expected = network.linear2(network.relu3(network.linear1(network.flatten(hidden))))
    torch.testing.assert_close(with_autoencoder(image), expected)
    assert with_autoencoder.network.get_submodule(with_autoencoder.sites[dv.CODE]) is made.encoder


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 6, 4, 4)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 3)

    def forward(self, image):
        return self.head(self.norm(self.patches(image).flatten(2).movedim(1, 2)).mean(1))


@torch.no_grad()
def test_the_effect_of_a_latent_of_tokens_is_that_of_leaving_it_out():
    torch.manual_seed(0)
    classifier = dv.Classifier(Tokens(), THREE, [0.5], [0.5]).eval()
    image = torch.rand(2, 1, 8, 8)
    tokens = classifier.network.norm(classifier.network.patches((image - 0.5) / 0.5).flatten(2).movedim(1, 2))
    made = dv.TopkSae("norm", 6, 4, 3, 10, layout="NTC")
    number = torch.arange(2)
    batch, passes = dv.Batch(image, number, number, number), []
    with_autoencoder = insert(classifier, made, (1, 8, 8)).eval()
    outcome = Propagation(with_autoencoder, dv.Activation(dv.CODE, unit="latent"))(batch, passes.append)
    code = made.encoder(tokens)  # (2, 4, 24)
    active = (code != 0).any(1)
    for latent in range(24):
        left = code.clone()
        left[..., latent] = 0
        expected = classifier.network.head(made.decoder(left).mean(1))
        torch.testing.assert_close(outcome.treated[:, latent], expected)
    assert torch.equal((outcome.treated != outcome.control.unsqueeze(1)).any(-1), active)
    assert outcome.skipped == (~active).sum() > 0
    assert sum(passes) == 2 + active.sum()


def test_code_output_and_loss_are_those_of_overcomplete(monkeypatch):
    monkeypatch.setattr("matplotlib.cm.get_cmap", colormaps.__getitem__, raising=False)  # which Overcomplete still uses
    overcomplete = pytest.importorskip("overcomplete.sae", reason="Overcomplete is not installed")
    losses = pytest.importorskip("overcomplete.sae.losses")
    made, activation = sae(k=12, k_aux=12, auxiliary=0.1).eval(), torch.rand(50, 6)
    with torch.no_grad():
        made.encoder.weight[:12] = 10 * (1 + torch.rand(12, 6))  # always the largest, so that the rest is dead
    made.idle[12:] = 10
    oracle = overcomplete.TopKSAE(6, 24, top_k=12, encoder_module=_OvercompleteEncoder(made.encoder.weight))
    with torch.no_grad():
        oracle.dictionary._weights.copy_(made.decoder.weight.T)
        latents, code, output = oracle(activation)
        torch.testing.assert_close(made.encoder(activation), code)
        torch.testing.assert_close(made(activation), output)
        expected = losses.top_k_auxiliary_loss(activation, output, latents, code, oracle.get_dictionary())
        variance = (activation - activation.mean(0)).square().sum() / activation.numel()
        torch.testing.assert_close(variance * sum(made.losses(activation).values()), expected)


class _OvercompleteEncoder(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, activation):
        latents = activation @ self.weight.T
        return latents, latents.relu()


CHEST = dict(after="features.transition1", channels=[128, 32, 16, 32, 128], code=2, kernel_size=3)


@pytest.mark.parametrize("settings", [MNIST, CHEST])
def test_without_activation_the_autoencoder_is_linear_and_its_code_takes_both_signs(settings):
    torch.manual_seed(0)
    linear = dv.ConvAutoencoder(**settings, activation="none")
    a, b = torch.randn(2, 1, settings["channels"][0], 5, 5)
    zero = linear(torch.zeros_like(a))
    torch.testing.assert_close(linear(a + b) - zero, linear(a) + linear(b) - 2 * zero, atol=1e-5, rtol=1e-4)
    assert (linear.encoder(a) < 0).any()
    assert not (dv.ConvAutoencoder(**settings).encoder(a) < 0).any()
