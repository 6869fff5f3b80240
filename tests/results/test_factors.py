"""Factors of a sweep, from the configurations of its jobs."""

import itertools

from dovision.results.factors import factor_text, factor_values


def job(rows=2, attack="PGD", seed=0, **more):
    kind = {"_target_": f"dovision.attacks.gradient_ascent.{attack}", "eps": [0.1]}
    kind |= {"steps": 10} if attack == "PGD" else {}
    grid = {"_target_": "dovision.interventions.pixel_grid.PixelGrid", "rows": rows, "columns": rows}
    return {"seed": seed, "attack": kind, "intervention": grid, "dataset": {"seed": seed, "size": 8}, **more}


def test_what_follows_from_other_settings_is_no_factor():
    levels = list(itertools.product((2, 4), ("FGSM", "PGD"), (0, 1)))
    overrides = [
        [f"intervention.rows={rows}", f"intervention.columns={rows}", f"attack={attack.lower()}", f"seed={seed}"]
        for rows, attack, seed in levels
    ]
    found = factor_values([job(*each) for each in levels], overrides)
    assert list(found) == ["intervention.rows", "attack", "seed"]
    assert factor_text(found.iloc[0]) == "grid 2 x 2, FGSM, seed 0"
    assert factor_text(found.iloc[-1].drop("seed")) == "grid 4 x 4, PGD"


def test_a_difference_that_nobody_typed_is_a_factor_unless_others_determine_it():
    jobs = [job(dataset={"seed": 0, "size": size, "area": size**2}) for size in (8, 16)]
    assert list(factor_values(jobs, [[], []])) == ["dataset.size"]


def test_what_changes_with_the_seed_is_a_factor_but_not_seeds_of_parts_nor_where_a_job_ran():
    jobs = [job(seed=0, epochs=10), job(seed=1, epochs=5)]
    assert list(factor_values(jobs, [["seed=0"], ["seed=1"]])) == ["epochs", "seed"]
    jobs = [job(seed=seed, attack_seed={"seed": seed}) for seed in (0, 1)]
    assert list(factor_values(jobs, [["seed=0"], ["seed=1"]])) == ["seed"]
    jobs = [job(threads=n, output_root=f"/{n}") for n in (1, 2)]
    assert factor_values(jobs, [["threads=1", "hydra.run.dir=/1"], ["threads=2"]]).empty
