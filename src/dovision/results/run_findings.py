"""The findings of a run, of whichever kind it is, in the order in which a reader asks, and their file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from dovision.functional.estimates import MIN_IMAGES
from dovision.io.text_files import read_json, write_json
from dovision.results.detection_findings import detection_findings
from dovision.results.detection_summary import DETECTION, read_detection
from dovision.results.detection_tables import ADAPTIVE_ATTACKS
from dovision.results.effect_findings import attack_findings, fill_of, use_findings
from dovision.results.finding import NOTHING, Finding, finding
from dovision.results.headline_effects import Subject, subjects
from dovision.results.image_tables import MAPS_FILE, OTHER_FILL, read_maps
from dovision.results.map_findings import RANDOM_MAP, at_chance, map_findings
from dovision.results.run_files import FINDINGS
from dovision.results.run_record import Run
from dovision.results.sentences import LIMITS, QUESTIONS, USES
from dovision.results.tables import CLEAN, has_rows
from dovision.results.thumbnails import pictured_samples

MOST = 3  # findings of a kind of measurement


def run_findings(run: Run) -> list[Finding]:
    """Findings of a completed run, from its findings.json, or else from its tables.

    What the network uses, what the attack changed, which method is better, and last what the run cannot show.
    """
    if (run.folder / FINDINGS).is_file():
        return [Finding.from_dict(fields) for fields in read_json(run.folder / FINDINGS)["findings"]]
    return _findings_of_tables(run, subjects(run.folder))


def _findings_of_tables(run: Run, used: Sequence[Subject]) -> list[Finding]:
    uses, attacked = [*islice(use_findings(run, used), MOST)], [*islice(attack_findings(run, used), MOST)]
    better = [*islice(detection_findings(run), MOST), *map_findings(run)]
    better = [one for one in better if one.question != LIMITS]
    return [*uses, *attacked, *better, *limit_findings(run, [*uses, *attacked])]


def write_findings(run: Run, folder: Path, save: Callable[[int], None] | None = None) -> None:
    """Write findings.json of a completed run into a folder, which is its own or one to compare with.

    Args:
        run: whose tables are read.
        folder: of the file.
        save: called with each sample whose clean image shows a finding best and has no picture yet, which it saves.
    """
    used = subjects(run.folder)
    findings = _findings_of_tables(run, used)
    nearest = {one.picture["nearest"] for one in findings if "nearest" in one.picture} - pictured_samples(run.folder)
    if save and nearest:
        for sample in sorted(nearest):
            save(sample)
        findings = _findings_of_tables(run, used)  # with their pictures
    write_json(folder / FINDINGS, {"findings": [one.to_dict() for one in findings]})


def by_question(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Findings by their question, in its order."""
    of_questions = {text: [one for one in findings if one.question == key] for key, text in QUESTIONS.items()}
    return {text: of_question for text, of_question in of_questions.items() if of_question}


def limit_findings(run: Run, effects: Sequence[Finding]) -> Iterator[Finding]:
    """Findings on what a run cannot say.

    Args:
        run: a completed one.
        effects: the findings of `use_findings` and `attack_findings`.
    """
    images, labels = run.summary["conditions"][CLEAN]["images"], run.summary["labels"]
    if (chance := at_chance(run)) is not None:
        yield chance
    refuters = {row["refuter"] for row in run.summary.get("refutations", []) if row["passed"] is not None}
    has_uses = any(one.question == USES and one.number.n >= MIN_IMAGES for one in effects)
    fill, has_maps = fill_of(run), (run.folder / MAPS_FILE).is_file()
    has_detection = (run.folder / DETECTION).is_file()
    limits = {
        "labels": not labels,
        "average": labels and images < MIN_IMAGES,
        "rows": not has_rows(run.folder),
        "fill": fill and effects and OTHER_FILL not in refuters,
        "refuter": not fill and has_uses and not refuters,
        "noise": len(run.summary["conditions"]) > 1 and not has_detection,
        "adaptive": has_detection and not read_detection(run.folder)["attack"].isin(ADAPTIVE_ATTACKS).any(),
        "random map": has_maps and chance is None and RANDOM_MAP not in {*read_maps(run.folder)["explainer"]},
    }
    for name in (name for name, is_missing in limits.items() if is_missing):
        result = finding(LIMITS, "limit", name, fill, NOTHING)
        yield result._replace(name=f"limit_{name}".replace(" ", "_"))
