import torch
import torch.nn.functional as F

from dovision.models.authors_mnist_cnn import authors_mnist_cnn
from dovision.models.small_resnet import SmallResNet, small_resnet

TASK = ("multiclass", [str(number) for number in range(10)], [0.5], [0.25])


def test_three_blocks_a_stage_and_a_stem_of_stride_1_are_resnet_20():
    network = small_resnet(16, (3, 32, 32), *TASK, blocks=3, stem_stride=1).network
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    layers = [module for module in convolutions if module.kernel_size == (3, 3)]
    assert len(layers) + 1 == 20  # and the linear one
    shortcuts = (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
    assert sum(parameter.numel() for parameter in network.parameters()) - shortcuts == 269_722  # the source: 0.27M


def test_one_block_a_stage_keeps_the_names_of_its_layers():
    assert "stage1.conv1.weight" in SmallResNet(3, 4, 2).state_dict()
    assert "stage1.0.conv1.weight" in SmallResNet(3, 4, 2, blocks=2).state_dict()


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
