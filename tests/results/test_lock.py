"""A lock tells which figure changed, and why."""

import pytest

from dovision.results.lock import changes, lock


def locked(**changed):
    figures = {"a": {"a.csv": "1", "a.svg": "2"}, "b": {"b.csv": "3", "b.svg": "4"}}
    return {"code": "c", "style": "s", "versions": {"matplotlib": "3"}, "figures": figures} | changed


OTHER = {"a": {"a.csv": "1", "a.svg": "other"}, "b": {"b.csv": "3", "b.svg": "4"}}
DATA = {"a": {"a.csv": "other", "a.svg": "other"}, "b": {"b.csv": "3", "b.svg": "4"}}
CASES = [
    (locked(), {}),
    (locked(code="d", style="t"), {}),
    (locked(figures=DATA), {"a": "data"}),
    (locked(figures=OTHER, code="d"), {"a": "code"}),
    (locked(figures=OTHER, style="t"), {"a": "style"}),
    (locked(figures=OTHER, versions={"matplotlib": "4"}), {"a": "versions"}),
    (locked(figures=DATA, code="d", style="t"), {"a": "data and code and style"}),
    (locked(figures={"b": OTHER["b"], "c": {}}), {"a": "gone", "c": "new"}),
]


@pytest.mark.parametrize(("new", "told"), CASES)
def test_a_change_is_put_down_to_what_has_changed(new, told):
    assert changes(locked(), new) == told


def test_a_lock_holds_every_file_of_a_figure_and_of_no_other(tmp_path):
    for name in ("curve.csv", "curve.svg", "curve.pdf", "curves.svg", "other.csv"):
        (tmp_path / name).write_text(name)
    found = lock(tmp_path, ["curve"])
    assert list(found["figures"]["curve"]) == ["curve.csv", "curve.pdf", "curve.svg"]
    (tmp_path / "curve.csv").write_text("other")
    assert changes(found, lock(tmp_path, ["curve"])) == {"curve": "data"}
