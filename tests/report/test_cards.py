"""Cards of findings: as many dots as images, and the image with its unit painted."""

import re

import pytest

from dovision.functional.intervals import withheld
from dovision.report.cards import card, curves, dot_strip
from dovision.results.finding import Finding, finer_text
from dovision.results.run_findings import run_findings
from dovision.results.run_record import read_run


def strip(subject, control):
    spread = {"subject": subject, "control": control, "axis": "change of P(a)", "names": ["tag", "elsewhere"]}
    return dot_strip(Finding("uses", "tag", "shown", "It uses the tag.", withheld(0.0, 1, ""), spread=spread))


def dots(svg, name):
    """How many dots the piles have: the dashes of 6 pixels of each line, and its first."""
    ends = re.findall(rf'y1="([\d.]+)" y2="([\d.]+)" class="dots {name}"', svg)
    return sum(1 + int(abs(float(end) - float(start)) / 6) for start, end in ends)


def test_a_strip_has_a_dot_an_image_or_several_and_the_control_below():
    svg = strip([-0.5, -0.5, -0.5, -0.2, 0.1], [0.0, 0.0])
    assert (dots(svg, "subject"), dots(svg, "control")) == (5, 2)
    assert "tag: -0.50" in svg
    assert "elsewhere: 0.00" in svg
    assert "change of P(a); a dot is an image" in svg
    svg = strip([-0.5] * 300, [])
    assert "a dot is 22 images" in svg
    assert dots(svg, "subject") == 14
    assert "elsewhere:" not in svg


def test_a_curve_begins_at_the_image_as_it_is_and_marks_the_cells_of_the_sentence():
    draws = [[0.9, 0.8], [0.7, 0.6]]
    svg = curves({"cells": [2, 8], "at": 0, "before": 1.0, "most": [0.5, 0.0], "least": [1.0, 1.0], "random": draws})
    lines = dict(re.findall(r'<polyline points="([^"]+)" class="(\w+)"', svg))
    looks = {look: points.split() for points, look in lines.items()}
    assert looks["subject"] == ["12.0,12.0", "251.0,67.0", "490.0,122.0"]
    assert looks["control"][1:] == ["251.0,34.0", "490.0,45.0"]
    assert svg.count('class="draw"') == 2
    assert '<line x1="251.0"' in svg


@pytest.mark.parametrize("name", ["uses", "attacked"])
def test_a_card_has_the_image_with_p_before_and_after(name, tmp_path, write_run):
    write_run(tmp_path, eps=(0.2,), images=20, grid=4, maps=20)
    run = read_run(tmp_path)
    finding = next(one for one in run_findings(run) if one.question == name)
    made = card(finding, run)
    first, middle, last = made.panels
    before, after = (finding.picture[which] for which in ("before", "after"))
    texts = finer_text(before, ".2f"), "", finer_text(after, ".2f")
    assert (first.probability, middle.probability, last.probability) == texts
    assert all("data:image/png;base64," in panel.svg for panel in made.panels)
    box = re.search(r'<rect x="(\d+)" y="(\d+)" width="8" height="8" fill="rgb\(0 0 0\)"', last.svg)
    assert (box is not None) == (name == "uses")
    assert middle.caption.startswith("evidence, up to" if name == "uses" else "what was added, ")
    assert card(finding).panels == ()
