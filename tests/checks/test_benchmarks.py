"""A benchmark measures what its peer measures."""

from programs import ROOT, program


def test_some_cells_of_a_grid_have_the_effects_of_a_loop(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    (row,) = program("benchmarks/peers.py").grid_rows("squeezenet1_1", [14], 1, 1, ("plain loop",), 3, 1, (3,))
    assert row.difference < 1e-6 < row.largest_effect
