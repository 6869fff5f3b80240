"""The network of the authors' MNIST notebook, against a plain transcription of its description."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from dovision.models.authors_mnist_cnn import authors_mnist_cnn

DIGITS = [str(digit) for digit in range(10)]


def test_the_network_has_the_layers_of_the_notebook_and_normalises_as_it_does():
    torch.manual_seed(0)
    classifier = authors_mnist_cnn((1, 28, 28), "multiclass", DIGITS, [0.1307], [0.3081])
    layers = classifier.network
    sizes = [tuple(parameter.shape) for parameter in classifier.parameters() if parameter.ndim > 1]
    assert sizes == [(32, 1, 3, 3), (64, 32, 3, 3), (256, 1600), (10, 256)]
    image = torch.rand(2, 1, 28, 28)
    hidden = F.conv2d((image - 0.1307) / 0.3081, layers.conv1.weight, layers.conv1.bias)
    hidden = F.max_pool2d(hidden.relu(), 2)
    hidden = F.max_pool2d(F.conv2d(hidden, layers.conv2.weight, layers.conv2.bias).relu(), 2).reshape(2, 1600)
    hidden = F.linear(hidden, layers.linear1.weight, layers.linear1.bias).relu()
    torch.testing.assert_close(classifier(image), F.linear(hidden, layers.linear2.weight, layers.linear2.bias))
    assert torch.equal(classifier.train()(image), classifier.eval()(image))  # no dropout
