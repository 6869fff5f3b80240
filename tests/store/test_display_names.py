"""Words for components and settings, in place of the spelling of the configuration."""

import pytest

from dovision.store.display_names import component_name, component_text, setting_text

BLACK = {"_target_": "dovision.interventions.fills.Constant", "value": 0.0}


def test_a_component_is_described_in_words_without_what_is_long_or_private():
    grid = {"_target_": "a.PixelGrid", "rows": 4, "columns": 6, "fill": BLACK, "root": "/home/me"}
    assert component_text(grid) == "4 x 6 cells, black"
    boxes = {"_target_": "a.RegionBox", "fill": {"_target_": "a.Mean"}, "seed": None, "classes": list("abcdefghij")}
    assert component_text(boxes | {"root": "/home/me", "controls": 2}) == "boxes of objects (fill mean, controls 2)"
    assert component_text({"_target_": "a.FGSM", "eps": ["4/255", 0.1]}) == "FGSM (epsilon 4/255, 0.1)"
    loss = {"_target_": "a.task_loss", "_partial_": True}
    assert component_text({"_target_": "a.PGD", "loss": loss, "norm": "linf"}) == "PGD (task loss, norm L-infinity)"
    assert component_text({"_target_": "a.Occlusion", "fill": 0.0, "batch_size": 16}) == "occlusion (fill 0.0)"
    assert component_text(BLACK | {"value": 0.25}) == "constant (value 0.25)"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pgd", "PGD"),
        ("RandomSign", "random-sign noise"),
        ("GradCam", "Grad-CAM"),
        ("SlidingWindow", "sliding window"),
        ("my_map", "my map"),
    ],
)
def test_a_component_without_a_name_of_its_own_has_its_words(name, text):
    assert component_name(name) == text


def test_a_setting_stands_with_its_value_unless_the_value_speaks_for_itself():
    assert setting_text("attack", "pgd") == "PGD"
    assert setting_text("attack.eps", "0.1, 8/255") == "epsilon 0.1, 8/255"
    assert setting_text("training.classifier.epochs", "3") == "epochs 3"
    assert setting_text("evaluation.only_with_boxes", "True") == "only with boxes yes"
