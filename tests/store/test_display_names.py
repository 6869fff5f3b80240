"""Words for components and settings, in place of the spelling of the configuration."""

import pytest

from dovision.store.display_names import component_name

BLACK = {"_target_": "dovision.interventions.fills.Constant", "value": 0.0}


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
