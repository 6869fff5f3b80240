"""Factors of a sweep, from the configurations of its jobs."""

import itertools

from dovision.store.factors import factor_text, factor_values, flattened, natural, split
from dovision.store.run_record import Run, alike


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


def test_settings_of_the_command_line_that_go_together_are_both_factors():
    jobs = [job(rows, attack) for rows, attack in ((2, "FGSM"), (4, "PGD"))]
    typed = [["intervention.rows=2", "attack=fgsm"], ["intervention.rows=4", "attack=pgd"]]
    assert list(factor_values(jobs, typed)) == ["intervention.rows", "attack"]


def test_a_difference_that_nobody_typed_is_a_factor_unless_others_determine_it():
    jobs = [job(dataset={"seed": 0, "size": size, "area": size**2}) for size in (8, 16)]
    assert list(factor_values(jobs, [[], []])) == ["dataset.size"]


def test_the_seed_of_a_job_that_never_began_is_no_factor():
    typed = [[f"intervention.rows={rows}", f"intervention.columns={rows}"] for rows in (2, 4, 8)]
    assert list(factor_values([job(2), job(4), {}], typed)) == ["intervention.rows"]
    typed = [[*own, f"seed={seed}"] for seed, own in enumerate(typed)]
    assert list(factor_values([job(2), job(4, seed=1), {}], typed)) == ["intervention.rows", "seed"]


def test_what_changes_with_the_seed_is_a_factor_but_for_seeds_of_parts():
    jobs = [job(seed=0, epochs=10), job(seed=1, epochs=5)]
    assert list(factor_values(jobs, [["seed=0"], ["seed=1"]])) == ["epochs", "seed"]
    jobs = [job(seed=seed, attack_seed={"seed": seed}) for seed in (0, 1)]
    assert list(factor_values(jobs, [["seed=0"], ["seed=1"]])) == ["seed"]


def test_where_and_how_fast_a_job_ran_is_no_factor():
    jobs = [job(threads=n, output_root=f"/{n}") for n in (1, 2)]
    assert factor_values(jobs, [["threads=1", "hydra.run.dir=/1"], ["threads=2"]]).empty


def test_choices_that_the_configuration_does_not_name_are_factors():
    found = factor_values([job(), job()], [["experiment=demo"], []])
    assert found["experiment"].tolist() == ["demo", "-"]


def test_runs_whose_factors_read_alike_are_not_put_together():
    """Both are shown as "PGD"."""
    runs = [Run(None, "", "completed", {}, job(augmentation=name), {}) for name in ("pgd", "PGD", "PGD")]
    found = alike(runs, apart_from=["seed"])
    assert [len(group) for group in found.values()] == [1, 2]
    assert list(found) == ["augmentation pgd", "augmentation PGD"]


GRID = {
    "seed": 0,
    "do": {"_target_": "dovision.interventions.PixelGrid", "rows": 2},
    "none": None,
    "eps": [0.1, "8/255"],
}
CODE = {"seed": 0, "do": {"_target_": "dovision.interventions.Activation"}, "eps": []}


def test_nested_settings_have_dotted_names_and_parts_the_name_of_their_class():
    assert flattened(GRID) == {"seed": "0", "do": "PixelGrid", "do.rows": "2", "eps": "0.1, 8/255"}


def test_common_settings_are_those_of_every_record():
    common, differing = split([flattened(GRID), flattened(CODE)])
    assert common == {"seed": "0"}
    assert differing == ["do", "do.rows", "eps"]
    assert split([]) == ({}, [])
    assert split([flattened(CODE)]) == (flattened(CODE), [])


def test_numbers_are_sorted_as_numbers():
    texts = ["rows=16, eps=0.1", "rows=8, eps=0.2", "-", "rows=8, eps=0.05", "blur"]
    assert sorted(texts, key=natural) == ["-", "blur", "rows=8, eps=0.05", "rows=8, eps=0.2", "rows=16, eps=0.1"]
