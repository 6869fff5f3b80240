import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import yaml

from dovision.identity import digests
from dovision.report.page import render_page
from dovision.report.report_figure import Catalogue
from dovision.results.run_record import read_sweep, survey

ATTACKED = ("attack=fgsm", "attack.eps=[0.1,16/255]")


def read(folder: Path, name: str) -> pd.DataFrame:
    return pq.read_table(folder / f"{name}.parquet").to_pandas()


def only_run(sweep: Path) -> Path:
    (run,) = read_sweep(sweep)
    return run.folder


def assert_equal_tables(first: Path, second: Path) -> None:
    for table in ("samples", "effects"):
        one, other = read(first, table), read(second, table)
        for column in one.columns:
            logs = "log" in column or column == "divergence"
            tolerance = 1e-5 if logs else 1e-6  # float32 numbers up to 10, and up to 1
            pd.testing.assert_series_equal(one[column], other[column], rtol=0, atol=tolerance)


def test_a_run_leaves_its_tables_and_says_all_about_itself(fitted):
    run = only_run(fitted / "evaluate")
    samples, effects = read(run, "samples"), read(run, "effects")
    assert sorted(samples["condition"].unique()) == ["clean", "eps=0.1", "eps=16/255"]
    assert (len(samples), len(effects)) == (12 * 3, 12 * 3 * 4 * 10)
    facts = json.loads((run / "run.json").read_text())
    assert facts["state"] == "completed"
    assert facts["forward_passes"] == 12 * 3 * 5
    assert set(facts) >= {
        "overrides", "seed", "versions", "git_commit", "device", "wall_seconds", "peak_memory_mb", "checkpoints",
        "dataset_fingerprint", "bad_files", "scores",
    }  # fmt: skip
    assert yaml.safe_load((run / ".hydra" / "config.yaml").read_text())["attack"]["eps"] == [0.1, "16/255"]
    assert set(json.loads((run / "summary.json").read_text())["conditions"]) == set(samples["condition"])
    logged = pd.read_csv(run / "csv" / "metrics.csv")
    assert {f"accuracy/{condition}" for condition in samples["condition"]} < set(logged)
    assert "epoch 1 of 1" in (run / "run.log").read_text()
    findings = json.loads((run / "findings.json").read_text())["findings"]
    pictures = [one["picture"] for one in findings if "nearest" in one["picture"]]
    assert [one["sample"] for one in pictures] == [one["nearest"] for one in pictures]


def brightness(batch, target, classifier):
    return batch.image.mean(1)


def brighter(batch, classifier, eps):
    return (batch.image + eps).clamp(0, 1)


def shaded(image, rows, columns):
    return image * (rows + columns) / 8


def darkness(batch, classifier):
    return 1 - batch.image.mean((1, 2, 3))


FOREIGN = {  # of libraries, and functions of a user, with settings
    "explainer.saliency": "captum.attr.Saliency, abs: false",
    "explainer.brightness": f"{__name__}.brightness",
    "detector.energy": "pytorch_ood.detector.EnergyBased, t: 2.0",
    "detector.darkness": f"{__name__}.darkness",
    "detection.attacks.brighter": f"{__name__}.brighter, eps: 0.1",
}


def test_classes_of_libraries_and_functions_are_components_of_a_command(copy, dovision_evaluate):
    words = [f"+{key}={{_target_: {value}, _partial_: true}}" for key, value in FOREIGN.items()]
    words += [f"intervention._target_={__name__}.shaded", "+intervention._partial_=true", "~intervention.fill"]
    words += ["attack._target_=foolbox.attacks.LinfPGD", "+attack._partial_=true"]
    words += ["+attack.eps=0.1", "+attack.steps=2", "detection.val_images=20"]
    assert dovision_evaluate(f"output_root={copy}", *words) == 0
    run = read_sweep(copy / "evaluate")[-1]
    assert set(run.summary["conditions"]) == {"clean", "eps=0.1"}
    assert {row["explainer"] for row in run.summary["maps"]} == {"saliency", "brightness"}
    assert {row["detector"] for row in run.summary["detection"]} == {"energy", "darkness"}
    assert read(run.folder, "effects")["unit"].unique().tolist() == ["shaded"]


def test_the_same_command_again_does_nothing_and_says_so(fitted, dovision_evaluate, capsys):
    def times():
        written = {path for path in fitted.rglob("*") if path.is_file()} - {fitted / digests.CACHE_FILE}
        return {path: path.stat().st_mtime_ns for path in written}

    before = times()
    assert dovision_evaluate(f"output_root={fitted}", *ATTACKED, "trust_checkpoint=true") == 0
    error = capsys.readouterr().err
    assert "already completed, nothing to do" in error
    assert "trust_checkpoint has no effect without checkpoint=FILE" in error
    assert times() == before


def test_tables_depend_on_the_number_of_workers_in_no_byte(fitted, copy, dovision_evaluate):
    assert dovision_evaluate(f"output_root={copy}", *ATTACKED, "num_workers=2") == 0
    first, second = only_run(fitted / "evaluate"), only_run(copy / "evaluate")
    assert first.name == second.name
    for table in ("samples.parquet", "effects.parquet"):
        assert (first / table).read_bytes() == (second / table).read_bytes()


def test_batch_size_and_chunk_are_part_of_a_run_whose_tables_they_change_by_rounding(fitted, copy, dovision_evaluate):
    assert dovision_evaluate(f"output_root={copy}", *ATTACKED, "evaluation.batch_size=5", "evaluation.chunk=3") == 0
    first, second = only_run(fitted / "evaluate"), only_run(copy / "evaluate")
    assert first.name != second.name
    assert_equal_tables(first, second)


def test_latent_effects_are_measured_against_the_network_with_its_autoencoder(copy, dovision_evaluate):
    assert dovision_evaluate(f"output_root={copy}", "intervention=activation", "name=with_autoencoder") == 0
    assert dovision_evaluate(
        f"output_root={copy}", "intervention=activation", "name=plain", "evaluation.reference=without_autoencoder"
    ) == 0  # fmt: skip
    with_autoencoder, plain = (read(only_run(copy / name), "effects") for name in ("with_autoencoder", "plain"))
    assert list(with_autoencoder["unit"].unique()) == [f"c{channel}" for channel in range(16)]
    assert with_autoencoder["top"].isna().all()
    assert with_autoencoder["treated"].equals(plain["treated"])
    assert not with_autoencoder["control"].equals(plain["control"])
    assert len(list((copy / "checkpoints").glob("autoencoder-*/autoencoder.ckpt"))) == 1


def test_an_output_folder_that_cannot_be_written_is_named(dovision_evaluate, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert dovision_evaluate(f"output_root={tmp_path / 'file'}") == 1
    error = capsys.readouterr().err
    assert re.search(f"{tmp_path / 'file'}.* cannot be used: Not a directory. .* output_root=", error)
    assert "Traceback" not in error


def test_two_devices_give_the_bytes_of_one(fitted, copy, dovision_evaluate):
    overrides = yaml.safe_load((only_run(fitted / "evaluate") / ".hydra" / "overrides.yaml").read_text())
    kept = [override for override in overrides if not override.startswith("output_root")]
    kept += ["evaluation.images=75", "evaluation.batch_size=16", "threads=1"]  # of five batches one has three
    kept += ["evaluation.rows=named", "explainer=[center_map]", "explanation.cells=4", "explanation.steps=2"]
    assert dovision_evaluate(*kept, f"output_root={copy}", "name=one") == 0
    devices = ["trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp"]
    program = Path(sys.executable).with_name("dovision-evaluate")
    command = [program, *kept, f"output_root={copy}", "name=two", *devices]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = only_run(copy / "one"), only_run(copy / "two")
    for table in ("samples.parquet", "effects.parquet", "effect_sums.parquet", "maps.parquet", "summary.json"):
        assert (first / table).read_bytes() == (second / table).read_bytes(), table
    assert not list(second.glob("*.part*"))
    assert json.loads((second / "run.json").read_text())["forward_passes"] == 75 * 3 * 5


def test_tags_are_in_the_record_and_on_the_page_and_make_no_other_run(copy, dovision_evaluate, page_of, capsys):
    for tags in ("[thesis,first try]", "[]"):
        assert dovision_evaluate(f"output_root={copy}", f"tags={tags}") == 0
    assert "already completed" in capsys.readouterr().err
    run = only_run(copy / "evaluate")
    assert json.loads((run / "run.json").read_text())["tags"] == ["thesis", "first try"]
    text = page_of(copy / "evaluate").read_text()
    assert "<li>Tag: thesis</li>\n<li>Tag: first try</li>" in text


def test_the_page_shows_what_is_kept_and_says_what_is_not(copy, dovision_evaluate):
    overrides = [f"output_root={copy}", "attack=fgsm", "attack.eps=0.1", "evaluation.rows=named,none"]
    assert dovision_evaluate(*overrides, "-m") == 0
    named, none = survey(copy / "evaluate")
    drawn = [{figure.name: figure for figure in Catalogue().of_run(run)} for run in (named, none)]
    assert set(drawn[0]) - set(drawn[1]) == {"average_effect_maps", "overlay"}
    assert "average_effects" in drawn[1]
    page = render_page("kept", [named, none], pd.DataFrame(), [], [])
    assert "Image by image, effects are those of labels and predictions alone." in page
    assert "Image by image, there are no effects." in page
