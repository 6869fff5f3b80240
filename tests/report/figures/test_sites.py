"""Objects at several sites."""

from dataclasses import replace

import pytest

from dovision.report.figures.sites import Sites
from dovision.store.run_record import read_sweep
from made_runs import write_map_run

ORIGIN = {"dataset_fingerprint": "films", "checkpoints": {"classifier": "one"}}
SITES = Sites(0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """True effects, and those of painted boxes, of one classifier."""
    folder = tmp_path_factory.mktemp("sites")
    write_map_run(folder / "true", ["intervention=counterfactual"], images=48)
    write_map_run(folder / "painted", ["intervention=region_box"], painted=True, images=48)
    return [replace(run, record={**run.record, **ORIGIN}) for run in read_sweep(folder)]


def test_each_kind_of_object_has_its_unit_beside_its_true_effect(runs):
    table, scatter = SITES.of_sweep(runs)
    assert (table.name, scatter.name) == ("sites", "tag_at_sites")
    assert table.table["intervention"].tolist() == ["boxes of objects at input"] * len(table.data)
    assert set(table.data["kind"]) == {"nodule", "opacity", "tag", "rib"}
    own = table.data.set_index(["class", "kind"]).loc[("opacity", "opacity")]
    assert (own["unit"], own["units"]) == ("opacity", 1)
    assert own["measured"] == pytest.approx(own["true"], abs=0.1)
    assert "n = 24 images, those of half of the patients." in table.caption
    assert set(scatter.data["site"]) == {"boxes of objects at input"}
    assert scatter.data["has_tag"].all()


def test_runs_of_other_classifiers_or_without_true_effects_have_none(runs):
    (true,) = [run for run in runs if "counterfactual" in run.label]
    (painted,) = [run for run in runs if run is not true]
    other = replace(painted, record={**painted.record, "checkpoints": {"classifier": "two"}})
    assert list(SITES.of_sweep([true, other])) == []
    assert list(SITES.of_sweep([painted])) == []
