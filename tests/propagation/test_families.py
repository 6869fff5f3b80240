"""The architectures that users bring: equal to the plain pass, and incremental where their operators are local."""

import pytest
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from dovision.functional.geometry import grid_cell
from dovision.propagation import Propagation
from dovision.propagation.incremental import Incremental

from .conftest import Painted, agreeing, batch_of, classifier_of, with_statistics

SIZE, CELLS = 128, 16
UNITS = (0, 88, 255)  # a corner, near the middle, the opposite corner

# The least factor by which the operations for each edit must shrink, of a small cell on a small image.
LOCAL = {
    "resnet18": 1.4,
    "mobilenet_v2": 1.4,
    "mobilenet_v3_large": 1.1,
    "efficientnet_b0": 1.01,
    "regnet_y_400mf": 1.01,
    "googlenet": 1.5,
    "inception_v3": 1.5,
    "squeezenet1_1": 1.3,
    "shufflenet_v2_x0_5": 1.3,
}
TIMM = {
    "resnet18d": 1.8,  # averages before its shortcuts, with windows cut at the border
    "convnext_atto": 1.1,
    "mobilenetv3_small_050": 1.01,
    "dla34": 1.3,
    "cspresnet50": 1.5,  # splits channels
    "dpn48b": 1.6,  # slices of channels
    "hrnet_w18_small": 1.2,  # adds maps that were enlarged
    "tf_efficientnet_lite0": 1.4,  # pads by the size of each map
    "resnetblur50": 1.4,  # blurs behind a mirrored border
}


def cells_of(units=UNITS):
    return Painted([[grid_cell((3, SIZE, SIZE), unit, CELLS, CELLS)] for unit in units])


def built(name):
    torch.manual_seed(0)
    if name in TIMM:
        return pytest.importorskip("timm").create_model(name, num_classes=5).eval()
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, weights=None, num_classes=5, **extra).eval()


def operations(run):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", [*LOCAL, *TIMM])
def test_an_edit_costs_less_and_changes_nothing(name):
    classifier, batch = classifier_of(with_statistics(built(name))), batch_of(1, 3, SIZE, SIZE)
    assert isinstance(agreeing(classifier, cells_of(), batch).engine, Incremental)
    full, spent = operations(lambda: classifier(batch.image)), 0
    for unit in UNITS:
        counts = []
        for units in ((unit,), (unit, unit)):  # each with a clean pass, whose operations are the engine's own
            own = Propagation(classifier, cells_of(units))
            own(batch)  # chooses the engine
            counts.append(operations(lambda own=own: own(batch)))
        spent += counts[1] - counts[0]
    assert full * len(UNITS) / spent >= {**LOCAL, **TIMM}[name]
