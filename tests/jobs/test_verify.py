"""The command dovision-verify: a copied run agrees with its weights and data; what was edited or lacks is named."""

import math
import re
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from dovision.io.text_files import read_json, write_json
from dovision.jobs import hydra_main
from dovision.measurement.recomputation import Agreement, ImageShare, Remainder
from dovision.results.detection_tables import ADAPTIVE_STEPS, ATTACKS, READS, SCORES
from dovision.results.effect_sums import SUMS
from dovision.results.image_tables import MAPS_FILE, REFUTERS_FILE
from dovision.results.tables import EFFECTS, SAMPLES, read_groups, read_table, write_table
from made_runs import edit_config, seal

DETECTING = ("detector=[max_softmax,feature_squeezing]", "detection.val_images=24", "detection.test_images=12")
DETECTING += ("+attack@detection.attacks.fgsm=fgsm", "detection.attacks.fgsm.eps=[0.1]", "detection.adaptive.images=8")
DETECTING += ("detection.adaptive.detectors=[max_softmax]", "detection.adaptive.steps=2", "detection.adaptive.eps=0.1")
ALL = Remainder()  # the images were measured again
MAPS = ("explainer=[center_map,grad_cam]", "explanation.cells=4", "explanation.steps=2")


@pytest.fixture(scope="module")
def measured(fitted, tmp_path_factory, dovision_evaluate):
    """An output root with a run of everything, in three batches, and its classifier."""
    root = tmp_path_factory.mktemp("measured")
    shutil.copytree(fitted / "checkpoints", root / "checkpoints")
    words = (f"output_root={root}", "attack=pgd", "attack.eps=0.1", "attack.steps=2", "evaluation.batch_size=4")
    assert dovision_evaluate(*words, *MAPS, *DETECTING) == 0
    return root


@pytest.fixture
def copied(measured, tmp_path):
    """The same run in a copied output root, whose record names the checkpoint of another machine."""
    (run,) = shutil.copytree(measured, tmp_path / "copied").glob("evaluate/*")
    record = read_json(run / "run.json")
    names = record["checkpoint_files"]
    elsewhere = {name: path.replace(str(measured), "/other/outputs") for name, path in names.items()}
    seal(run, checkpoint_files=elsewhere)
    return run


def agreement(recorded, recomputed, remainder=ALL):
    compared = Agreement(recorded, 1e-5, 1e-3)
    compared.of_tables(recomputed, remainder)
    return compared


def edit(run, table, row, column, change):
    """Change a number of a table, and the digests with it."""
    rows = read_table(run / table)
    values = rows[column].to_pylist()
    values[row] = change(values[row])
    number = rows.schema.get_field_index(column)
    edited = rows.set_column(number, rows.schema.field(number), pa.array(values, rows.schema.field(number).type))
    write_table(run / table, rows.schema, [edited])
    seal(run)
    return {name: rows[name][row].as_py() for name in table.keys}


@pytest.fixture
def verified(run_command, capsys):
    """Runs the command; exit code and what it printed, with the rows of its table by their first word."""

    def run(*words):
        code = run_command(hydra_main.verify, *words)
        text = "\n".join(capsys.readouterr())
        return code, text, {line.split()[0]: line.split()[1:] for line in text.splitlines() if ".parquet " in line}

    return run


def test_all_rows_of_a_copied_run_are_measured_again_and_are_equal(copied, verified):
    before = {path: path.stat().st_mtime_ns for path in copied.parent.parent.rglob("*")}
    code, text, rows = verified(f"run={copied}", "share=1")
    assert code == 0, text
    assert "12 of 12 images measured again (share 1, seed " in text
    assert "rows forged in 5% of the batches are found with probability 1.00" in text
    for name in ("samples", "effects", "maps", "attacks", "scores", "adaptive", "reads/max_softmax"):
        count, *others = rows[f"{name}.parquet"]
        assert others == [count, "0", "0", "0.0e+00", "0"], name
    assert {path: path.stat().st_mtime_ns for path in copied.parent.parent.rglob("*")} == before  # nothing is written


def test_a_share_of_the_batches_is_drawn_by_a_seed_that_is_printed(copied, verified):
    code, text, rows = verified(f"run={copied}", "share=0.01")
    assert code == 0, text
    # of detection one of six validation batches is drawn
    drawn = re.search(r"4 of 12 images measured again \(share 0.01, seed (\d+)\): rows .* with probability 0.17", text)
    assert drawn[1] not in verified(f"run={copied}", "share=0.01")[1]  # a chance of 2 ** -32
    assert rows["samples.parquet"][0] == "24"
    assert sum(map(int, rows["samples.parquet"][1:4])) == 8
    assert int(rows["scores.parquet"][1]) > 8  # all of what was read is scored again
    assert "not checked: maps/*.png, .hydra/*.yaml, csv/*, run.log, device, times and software in" in text


@pytest.mark.parametrize(("batches", "share"), [(3, 0.01), (40, 0.5), (1000, 0.01), (200, 1.0)])
def test_the_power_is_the_share_of_draws_that_meet_a_forgery(batches, share):
    images = torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 0, 1])

    def draw(seed):
        drawing = ImageShare(images, 4, share, seed)
        return drawing.drawn(range(4 * batches)), drawing.power

    assert draw(1) == draw(1)
    forged = {4 * number for number in range(math.ceil(0.05 * batches))}
    found = np.mean([not forged.isdisjoint(draw(seed)[0]) for seed in range(500)])
    assert draw(0)[1] == pytest.approx(found, abs=0.08)


def test_edited_rows_are_found_though_their_digests_fit(copied, verified):
    edited = {EFFECTS: "treated", MAPS_FILE: "deletion", SCORES: "score"}
    keys = {table: edit(copied, table, 4, column, lambda value: value + 0.01) for table, column in edited.items()}
    code, text, rows = verified(f"run={copied}", "share=1")
    assert code == 1
    assert "0 of them changed since" in text
    for table, column in edited.items():
        named = ", ".join(f"{name} {value}" for name, value in keys[table].items())
        assert rows[table.path][3] == "1"
        assert f"different: {table.path}: {named}: {column}" in text
    assert rows["samples.parquet"][3] == "0"
    tolerant, _, rows = verified(f"run={copied}", "share=1", "tolerance=0.02", "attacked_tolerance=0.02")
    assert (tolerant, rows["effects.parquet"][2:4]) == (0, ["1", "0"])


def test_sums_are_compared_of_groups_whose_images_were_all_measured_again(copied, tmp_path):
    recorded = shutil.copytree(copied, tmp_path / "recorded")
    group = edit(copied, SUMS, 0, "total", lambda total: total + 2**43)["group"]
    sample = int(read_groups(recorded).eq(group).idxmax())
    for left_out, different in (((), 1), ({sample}, 0)):
        rows = agreement(recorded, copied, Remainder(left_out)).rows
        assert next(row["different"] for row in rows if row["table"] == SUMS.path) == different


def test_the_next_class_is_another_whatever_the_tolerance(copied, tmp_path):
    recorded = shutil.copytree(copied, tmp_path / "recorded")
    for run, label in ((recorded, 10_001), (copied, 10_000)):
        edit(run, SAMPLES, 1, "prediction", lambda _, label=label: label)  # of an attacked image
    (copied / "boxes.parquet").unlink()  # which is not measured again
    assert "prediction 10001, recomputed 10000" in "\n".join(agreement(recorded, copied).sentences)


@pytest.mark.parametrize(
    "table", [SAMPLES, EFFECTS, MAPS_FILE, ATTACKS, READS.named("max_softmax"), SCORES, ADAPTIVE_STEPS]
)
def test_a_drawn_image_without_a_recomputed_row_is_found(copied, tmp_path, table):
    """Of a share, too, and of adaptive attacks, whose images are the first ones alone; and one of another image."""
    recomputed = shutil.copytree(copied, tmp_path / "recomputed")
    rows, scored = read_table(recomputed / table), table == SCORES  # all images are
    left_out = set(range(24)) - {4, 5}
    remainder = Remainder(*[left_out] * 3, range(8, 12) if scored else left_out)
    of_share = rows if scored else rows.filter(pc.is_in(rows["sample"], pa.array([4, 5])))
    lost = pc.equal(of_share["sample"], 5)
    for left, different in ((of_share, 0), (of_share.filter(pc.invert(lost)), pc.sum(lost).as_py())):
        write_table(recomputed / table, rows.schema, [left])
        found = agreement(copied, recomputed, remainder)
        (counts,) = (row for row in found.rows if row["table"] == table.path)
        assert (counts["equal"], counts["different"]) == (left.num_rows, different)
    assert any("sample 5" in line and "not among the recomputed rows" in line for line in found.sentences)
    write_table(recomputed / table, rows.schema, [of_share])
    edit(copied, table, 0, "sample", lambda _: 99)
    sentences = agreement(copied, recomputed, remainder).sentences
    assert any("sample 99" in sentence and "not among the recomputed rows" in sentence for sentence in sentences)


def with_another_class(run):
    rows = read_table(run / SAMPLES)
    metadata = {key: value.replace(b'"3"', b'"8"') for key, value in rows.schema.metadata.items()}
    write_table(run / SAMPLES, rows.schema.with_metadata(metadata), [rows.replace_schema_metadata(metadata)])


def with_another_column(run):
    rows = read_table(run / SAMPLES)
    rows = rows.append_column("dose", pa.array([1.0] * len(rows)))
    write_table(run / SAMPLES, rows.schema, [rows])


def with_a_row_twice(run):
    rows = read_table(run / EFFECTS)
    write_table(run / EFFECTS, rows.schema, [pa.concat_tables([rows, rows.slice(4, 1)])])


def with_another_number(run):
    rows = pd.read_parquet(run / "detection.parquet")
    edited = pa.Table.from_pandas(rows.assign(auroc=0.99)).replace_schema_metadata(SAMPLES.schema().metadata)
    write_table(run / "detection.parquet", edited.schema, [edited])


def rewritten(name, change):
    """A forger who changes what a JSON file of the run holds."""

    def forge(run):
        content = read_json(run / name)
        change(content)
        write_json(run / name, content)

    return forge


@pytest.mark.parametrize(
    ("forge", "sentence"),
    [
        (
            rewritten("findings.json", lambda it: it["findings"][0].update(text="A heart.")),
            "text: value A heart., recom",
        ),
        (with_another_class, "samples.parquet: its metadata, such as the names of classes, differ"),
        (with_another_column, "samples.parquet: sample 0, condition clean: dose 1.0, recomputed None"),
        (with_a_row_twice, "class 4: not among the recomputed rows"),
        (with_another_number, "detection.parquet: key 0: auroc 0.99, recomputed"),
        (
            rewritten("summary.json", lambda it: it["conditions"].update({"eps=0.2": it["conditions"]["clean"]})),
            "conditions.eps=0.2.accuracy.clusters: not",
        ),
        (rewritten("summary.json", lambda it: it["conditions"].pop("eps=0.1")), "eps=0.1.accuracy.clusters: missing"),
    ],
)
def test_what_a_forger_adds_or_takes_away_is_named(copied, tmp_path, forge, sentence):
    recomputed = shutil.copytree(copied, tmp_path / "recomputed")
    forge(copied)
    found = agreement(copied, recomputed)
    found.of_derived(tmp_path, True, None)
    assert sentence in "\n".join(found.sentences)


def test_a_summary_that_does_not_follow_from_its_tables_is_found(copied, verified):
    summary = read_json(copied / "summary.json")
    summary["conditions"]["clean"]["accuracy"]["estimate"] += 0.01
    write_json(copied / "summary.json", summary)
    seal(copied, images=1000)
    code, text, _ = verified(f"run={copied}", "share=0.01")
    assert code == 1
    assert re.search(r"summary.json +\d+ +\d+ +0 +1 1.0e-02 +0\n", text)
    assert "different: summary.json: key conditions.clean.accuracy.estimate: value " in text
    assert "4 of 12 images measured again" in text  # by the settings and the data, whatever the record has


@pytest.mark.parametrize("damaged", [b"PAR1xxx", b""])
def test_a_damaged_table_is_named(copied, verified, damaged):
    (copied / EFFECTS).write_bytes(damaged)
    code, text, _ = verified(f"run={copied}", "share=0.01")
    assert code == 1
    assert f"{copied / EFFECTS} must be a parquet table, got a damaged file" in text
    (copied / EFFECTS).unlink()
    code, text, _ = verified(f"run={copied}", "share=0.01")
    assert code == 1
    assert "different: effects.parquet: missing" in text


def test_a_table_of_which_nothing_is_checked_has_the_last_line_and_a_code_of_its_own(copied, verified):
    schema = REFUTERS_FILE.schema()
    write_table(copied / REFUTERS_FILE, schema, [pa.Table.from_pylist([{"sample": 0}], schema=schema)])
    seal(copied)
    code, text, _ = verified(f"run={copied}", "share=0.01")
    assert code == 2, text
    assert re.search(r"\nnot checked: (?=.*refuters\.parquet)(?=.*maps/)", text)


def test_a_file_with_another_digest_is_named_first(copied, verified):
    with (copied / "summary.json").open("a") as file:
        file.write(" ")
    code, text, _ = verified(f"run={copied}", "share=0.01")
    assert code == 1
    assert re.search(r"1 of them changed since\n  summary.json has [\d,]+ of [\d,]+ bytes", text)


def test_weights_and_data_that_lack_are_named_with_what_to_do(copied, verified):
    (file,) = copied.parents[1].glob("checkpoints/classifier-*/classifier.ckpt")
    file.rename(file.with_name("hidden"))
    code, text, _ = verified(f"run={copied}")
    assert code == 1
    assert "the weights of the classifier (" in text
    assert "Copy that folder of the output root beside the folder of the run" in text
    torch.save({"other": 1}, file)
    assert "the weights of the classifier (" in verified(f"run={copied}")[1]
    file.with_name("hidden").replace(file)
    seal(copied, dataset_fingerprint="0" * 64)
    code, text, _ = verified(f"run={copied}")
    assert code == 1
    assert re.search(r"the data must be those that the run has measured, got others \(\w{12}, recorded 0{12}\)", text)
    assert f"dovision-verify run={copied} root=FOLDER" in text


def test_no_code_of_the_run_is_trusted(copied, verified, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("from dovision.interventions.pixel_grid import PixelGrid as Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    edit_config(copied, lambda config: config["intervention"].update(_target_="mine.Mine"))
    seal(copied)
    code, text, _ = verified(f"run={copied}")
    assert code == 1
    assert "intervention._target_" in text
    assert "which is none of dovision's components" in text
    assert f"dovision-verify run={copied} trust_checkpoint=true" in text
    seal(copied, dataset_fingerprint="0" * 64)
    assert "the data must be those" in verified(f"run={copied}", "trust_checkpoint=true")[1]  # the next check


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run=nowhere"], "run must be a folder that dovision-evaluate wrote, got nowhere"),
        (["run=nowhere", "share=0"], "share: Input should be"),
        ([], "run must be given"),
    ],
)
def test_what_cannot_be_verified_is_refused_in_a_line(verified, words, message):
    code, text, _ = verified(*words)
    assert code == 1
    assert message in text
    assert "Traceback" not in text
