from __future__ import annotations

import pytest
import torch

from dovision.models.conv_autoencoder import ConvAutoencoder, insert
from dovision.models.small_cnn import small_cnn

SHAPE = (1, 28, 28)
MNIST = dict(after="relu1", channels=[32, 16, 64, 32], code=1, kernel_size=1)
CHEST = dict(after="features.transition1", channels=[128, 32, 16, 32, 128], code=2, kernel_size=3)


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return small_cnn(SHAPE, "multiclass", [str(k) for k in range(10)], [0.5], [0.5]).eval()


def test_the_inserted_classifier_is_prefix_then_autoencoder_then_suffix(classifier):
    autoencoder = ConvAutoencoder(**MNIST)
    with_autoencoder = insert(classifier, autoencoder, SHAPE)
    image = torch.rand(2, *SHAPE)
    network = classifier.network
    hidden = network.relu1(network.conv1((image - 0.5) / 0.5))
    hidden = network.pool(network.relu2(network.conv2(autoencoder(hidden))))
    expected = network.linear2(network.relu3(network.linear1(network.flatten(hidden))))
    torch.testing.assert_close(with_autoencoder(image), expected)


def test_an_identity_in_the_autoencoders_place_leaves_the_answers_as_they_are(classifier):
    autoencoder = ConvAutoencoder("relu1", [32, 32, 32], code=1, kernel_size=1)
    with torch.no_grad():
        for layer in (autoencoder.encoder[0][0], autoencoder.decoder[0][0]):
            layer.weight.copy_(torch.eye(32)[..., None, None])
            layer.bias.zero_()
    image = torch.rand(2, *SHAPE)
    torch.testing.assert_close(insert(classifier, autoencoder, SHAPE)(image), classifier(image))


def test_insertion_leaves_the_classifier_as_it_is(classifier):
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    insert(classifier, ConvAutoencoder(**MNIST), SHAPE)
    assert classifier.sites == {}
    assert list(classifier.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.state_dict().items())


@pytest.mark.parametrize("settings", [MNIST, CHEST])
def test_without_activation_the_autoencoder_is_linear_and_its_code_takes_both_signs(settings):
    torch.manual_seed(0)
    linear = ConvAutoencoder(**settings, activation="none")
    a, b = torch.randn(2, 1, settings["channels"][0], 5, 5)
    zero = linear(torch.zeros_like(a))
    torch.testing.assert_close(linear(a + b) - zero, linear(a) + linear(b) - 2 * zero, atol=1e-5, rtol=1e-4)
    assert (linear.encoder(a) < 0).any()
    assert not (ConvAutoencoder(**settings).encoder(a) < 0).any()
