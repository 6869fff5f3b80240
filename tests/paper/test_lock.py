"""A lock names the figure that changed, and why."""

import pytest

from paper.lock import changes, lock, read_lock, write_lock

MADE_BY = {"code": "c", "style": "s", "versions": {"matplotlib": "3"}}


def entry(name, numbers="1", picture="2", **changed):
    return {**MADE_BY, **changed, "files": {f"{name}.csv": numbers, f"{name}.svg": picture}}


LOCKED = {"a": entry("a"), "b": entry("b")}
CASES = [
    (entry("a"), {}),
    (entry("a", code="d", style="t"), {}),
    (entry("a", numbers="other", picture="other"), {"a": "data"}),
    (entry("a", picture="other", code="d"), {"a": "code"}),
    (entry("a", picture="other", style="t"), {"a": "style"}),
    (entry("a", picture="other", versions={"matplotlib": "4"}), {"a": "versions"}),
    (entry("a", numbers="other", picture="other", code="d", style="t"), {"a": "data and code and style"}),
    (entry("a", picture="other"), {"a": "settings"}),
]


@pytest.mark.parametrize(("new", "why"), CASES)
def test_a_change_is_put_down_to_what_has_changed(new, why):
    assert changes(LOCKED, {"a": new, "b": entry("b")}) == why


def test_a_lock_holds_every_file_of_a_figure_and_of_no_other(tmp_path):
    for name in ("curve.csv", "curve.svg", "curve.pdf", "curves.svg", "other.csv"):
        (tmp_path / name).write_text(name)
    found = lock(tmp_path, ["curve"])
    assert list(found["curve"]["files"]) == ["curve.csv", "curve.pdf", "curve.svg"]
    write_lock(tmp_path / "figures.lock", found)
    assert read_lock(tmp_path / "figures.lock") == found
    (tmp_path / "curve.csv").write_text("other")
    assert changes(found, lock(tmp_path, ["curve"])) == {"curve": "data"}
