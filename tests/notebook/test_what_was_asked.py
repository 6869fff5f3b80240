"""Results of attacks and of maps show what was asked for, and no effects of a unit that nobody named."""

from __future__ import annotations

import matplotlib.text
import pytest

import dovision as dv


@pytest.fixture(scope="module")
def digits():
    classifier, batch = dv.example()
    return classifier, (batch.image, batch.label)


def test_an_attack_shows_clean_images_above_attacked_ones_and_its_success(digits):
    found = dv.attack(*digits, "fgsm", eps=["8/255", 0.3])
    assert [sentence.split(" on ")[0] for sentence in found.findings] == ["FGSM at Linf epsilon 0.3 succeeds"]
    figure = found.plot()
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["clean", "epsilon 8/255", "epsilon 0.3"]
    bold = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text() and text.get_weight() == "bold"]
    drawn = {axes.get_xlabel() for axes in figure.axes}
    assert bold
    assert {text.get_text() for text in bold} <= drawn
    assert not {"overlay", "gallery", "average_effects"} & {*found.figures}
    assert "FGSM at Linf epsilon 0.3 succeeds" in found._repr_html_()


def test_maps_are_evidence_and_have_no_effects_beside_them_unless_asked_for(digits):
    found = dv.explain(*digits, ["integrated_gradients", "brightness_map"])
    assert found.findings == []
    label = found.plot().axes[-1].get_ylabel()
    assert label == "against \N{LEFTWARDS ARROW} relative evidence \N{RIGHTWARDS ARROW} for"
    assert not {"gallery", "average_effects"} & {*found.figures}
    both = dv.explain(*digits, "center_map", intervention=dv.PixelGrid(2, 2))
    assert "average_effects" in both.figures
    assert any("painted black" in sentence for sentence in both.findings)


def test_images_with_labels_are_no_pair_of_splits(digits):
    with pytest.raises(ValueError, match=r"got images and labels\. Give each split as such a pair"):
        dv.detect(*digits, "max_softmax", "fgsm", eps=0.1)
