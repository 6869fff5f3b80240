"""Attacks side by side."""

from __future__ import annotations

import pytest

from dovision.report.figures.epsilon import Epsilon
from dovision.results.run_record import read_sweep
from dovision.results.tables import read_samples


def spread(runs):
    """The figures of the spread of effects."""
    return [drawn for drawn in Epsilon(order=0).of_sweep(runs) if drawn.name == "effect_spread"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, write_run):
    """Two attacks on two grids, and a grid with one attack alone."""
    folder = tmp_path_factory.mktemp("attacks")
    for number, (attack, grid) in enumerate((("pgd", 2), ("fgsm", 2), ("pgd", 4), ("fgsm", 4), ("pgd", 3))):
        write_run(folder / str(number), [f"attack={attack}", f"intervention.rows={grid}"], grid=grid, images=12, maps=0)
    runs = read_sweep(folder)
    for run in runs:
        if "attack=fgsm" in run.overrides:
            run.config["attack"]["_target_"] = "dovision.attacks.gradient_ascent.FGSM"
    return runs


def test_a_panel_for_all_else_and_a_line_an_attack(runs):
    (report_figure,) = spread(runs)
    rows = report_figure.data
    assert list(dict.fromkeys(rows["panel"])) == ["grid 2 x 2", "grid 4 x 4"]
    assert set(rows["attack"]) == {"PGD", "FGSM"}
    assert [axes.get_title("left") for axes in report_figure.figure.axes] == ["grid 2 x 2", "grid 4 x 4"]
    assert "n = 12 images." in report_figure.caption


def test_the_quantiles_are_those_of_all_images_of_a_condition(runs):
    rows = spread(runs)[0].data
    own = rows[(rows["panel"] == "grid 4 x 4") & (rows["attack"] == "PGD") & (rows["eps"] == 0.2)].iloc[0]
    samples = read_samples(runs[2].folder)
    values = samples.loc[samples["eps"] == 0.2, "mean_abs_expected_effect"]
    assert own["median"] == pytest.approx(values.median())
    assert own[["low", "lower", "upper", "high"]].isna().all()  # of 12 images a point alone


@pytest.mark.slow
def test_no_run_is_left_out_where_epsilons_or_steps_of_one_attack_are_swept(tmp_path, write_run):
    asked = [("pgd", "attack.eps=0.1", 0.1, 5), ("pgd", "attack.eps=0.2", 0.2, 5), ("fgsm", "attack.eps=0.2", 0.2, 5)]
    asked.append(("pgd", "attack.eps=0.2", 0.2, 40))
    for number, (attack, override, eps, steps) in enumerate(asked):
        overrides = [f"attack={attack}", override, f"++attack.steps={steps}"]
        write_run(tmp_path / str(number), overrides, eps=(eps,), grid=2, images=12, maps=0)
    runs = read_sweep(tmp_path)
    for run in runs:
        if "attack=fgsm" in run.overrides:
            run.config["attack"]["_target_"] = "dovision.attacks.gradient_ascent.FGSM"
        run.config["attack"]["steps"] = int(run.overrides[-1].rpartition("=")[2])
    rows = spread(runs)[0].data
    drawn = set(zip(rows["attack"], rows["eps"], strict=True))
    few, many = "PGD (PGD, steps 5)", "PGD (PGD, steps 40)"
    assert drawn == {(few, 0.0), (few, 0.1), (few, 0.2), ("FGSM", 0.0), ("FGSM", 0.2), (many, 0.0), (many, 0.2)}
