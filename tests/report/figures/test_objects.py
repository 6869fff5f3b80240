"""Forest, true effects and fills."""

from dovision.report.figures.objects import Objects
from dovision.results.run_record import read_sweep

OBJECTS = Objects(0, most=16)
PULLED = (("nodule", "nodule"), ("opacity", "opacity"), ("tag", "nodule"), ("tag", "opacity"))


def test_a_run_of_counterfactuals_shows_true_effects_and_other_runs_have_no_objects(map_run, sweep):
    (report_figure,) = OBJECTS.of_run(*read_sweep(map_run))
    assert report_figure.name == "object_effects"
    assert "n = 12 groups, 18 to 24 objects" in report_figure.caption
    labels = [tick.get_text() for tick in report_figure.figure.axes[0].get_yticklabels()]
    assert set(labels[:4]) == {f"do(no {kind}) on {label}" for kind, label in PULLED}
    assert list(OBJECTS.of_run(read_sweep(sweep)[0])) == []


def test_a_run_of_boxes_shows_them_against_their_controls(painted_run):
    (report_figure,) = OBJECTS.of_run(*read_sweep(painted_run))
    assert report_figure.name == "box_against_control"
    assert "boxes of objects (fill mean, controls 2, seed 0)" in report_figure.caption
    assert "Holm-adjusted" in report_figure.caption
    left, right = report_figure.figure.axes
    names = [tick.get_text().partition(" (n = ")[0] for tick in left.get_yticklabels()]
    assert set(names) == {"nodule", "opacity", "tag on nodule", "tag on opacity", "rib on nodule", "rib on opacity"}
    drawn = right.lines[0].get_xdata()
    assert drawn.tolist() == sorted(report_figure.data["difference"])  # the strongest loss of evidence on top


def test_fills_are_compared_where_two_runs_painted(map_run, map_sweep):
    runs = read_sweep(map_sweep)
    (report_figure,) = OBJECTS.of_sweep(runs)
    assert report_figure.data["job"].nunique() == 2
    assert list(OBJECTS.of_sweep(read_sweep(map_run))) == []
