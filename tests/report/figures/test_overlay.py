"""Effects over images: on probability, or on log-odds where all effects on probability are small."""

import re

import pandas as pd
import pytest

from dovision.report.figures import overlay
from dovision.report.figures.overlay import Levels, Overlay
from dovision.results.run_record import Run, read_sweep
from dovision.results.tables import read_effects
from dovision.types import Task


def test_log_odds_lie_over_the_image_where_probability_is_saturated(sweep, monkeypatch):
    run = read_sweep(sweep)[0]
    (plain,) = Overlay(order=0, most=2).of_run(run)
    assert "log-odds" not in plain.caption
    assert plain.figure.axes[-1].get_ylabel() == "against ← minus the effect on the class → for"
    monkeypatch.setattr(overlay, "SMALL_ON_PROBABILITY", 1.0)
    (shown,) = Overlay(order=0, most=2).of_run(run)
    assert "in log-odds since its probability hardly moves" in shown.caption.short
    assert shown.figure.axes[-1].get_ylabel() == "against ← minus the effect on its log-odds → for"
    known = read_effects(run.folder, range(3))["log_odds_effect"].astype("float64")
    assert shown.data["effect"].isin(known).all()
    assert shown.data["effect"].abs().max() > 1


@pytest.mark.parametrize("kind", ["effects", "maps"])
def test_each_picture_names_its_class_with_the_probability_and_the_label(sweep, map_run, kind):
    (shown,) = Overlay(order=0, most=2).of_run(read_sweep(sweep if kind == "effects" else map_run)[0])
    notes = [axes.get_xlabel() for axes in shown.figure.axes[:-1] if axes.get_xlabel()]
    assert notes
    for note in notes:
        assert re.search(
            r"(^|\n)predicted: (\w+) \([01]\.\d+\) (✓\ntrue: (.*, )?\2(, .*)?|✗\ntrue: (?!\2\b).+?)(\nmap: zero)?$",
            note,
        )


@pytest.mark.parametrize(
    ("labels", "first"),
    [([0, 0, 1, 1], [12, 10, 11, 13]), ([1, 0, 1, 0], [10, 11, 12, 13]), ([0] * 4, [10, 11, 12, 13])],
)
def test_a_healthy_film_is_not_the_first(monkeypatch, labels, first):
    monkeypatch.setattr(overlay, "read_task", lambda folder: Task("multiclass", ("healthy", "disease")))
    samples = pd.DataFrame({"sample": range(10, 14), "label": labels})
    run = Run(None, "", "completed", {}, {}, {})
    assert overlay.findings_first(range(10, 14), samples, run) == first


def test_a_sweep_has_a_row_per_setting_and_a_column_per_condition_with_clean_images_once(tmp_path, write_run):
    for number, (attack, grid) in enumerate((("pgd", 2), ("fgsm", 2), ("pgd", 4))):
        write_run(tmp_path / str(number), [f"attack={attack}", f"intervention.rows={grid}"], grid=grid, images=12)
    runs = read_sweep(tmp_path)
    (drawn,) = Levels(order=0, most=4).of_sweep(runs)
    axes = drawn.figure.axes[:-1]
    assert [each.get_title("left") for each in axes[:3]] == ["clean", "epsilon 0.05", "epsilon 0.2"]
    assert [bool(each.images) for each in axes] == [True] * 3 + [False, True, True] + [True] * 3
    assert len({each.get_ylabel() for each in axes[::3]}) == 3
    assert drawn.figure.axes[-1].get_ylim()[1] == pytest.approx(drawn.data["effect"].abs().max(), rel=0.5)
