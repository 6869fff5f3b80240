"""Schemas of run.json and summary.json, and the digest by which an edited run.json is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, ValidationError, create_model

from dovision.io.text_files import read_json

SUMMARY = "summary.json"
RunState = Literal["running", "completed", "partial", "failed", "skipped", "interrupted"]
STATES: tuple[str, ...] = get_args(RunState)
RECORD_FORMAT = 2  # of run.json and summary.json; raised whenever a key changes its name or meaning
DIGEST = "digest"  # of the other facts of a run record
DIGESTS = "digests"  # of the files of a completed run
QUALITY = (  # metrics of the classifier
    "accuracy",
    "balanced_accuracy",
    "classifier_auroc",
    "sensitivity",
    "specificity",
    "calibration_error",
)
METRICS = (*QUALITY, "success_rate", "success_8bit", "robust_accuracy", "mean_abs_expected_effect", "auroc")
CONDITION_METRICS = (*METRICS, "auroc_paired", "auroc_twins", "mean_expected_logit_effect")  # of a condition


class Record(BaseModel):
    """Base of records: plain types, no nan or infinity; unknown entries are allowed."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, frozen=True)


class Failure(Record):
    """Exception that ended a run."""

    type: str
    message: str
    traceback: str


class FileDigest(Record):
    """Size and hash of a file of a completed run."""

    bytes: NonNegativeInt
    sha256: str


class ComparedMean(Record):
    """Mean of a run's table rows with its interval; None if rows are missing or too few."""

    estimate: float | None
    low: float | None
    high: float | None
    clusters: NonNegativeInt


class ComparedNumber(Record):
    """Published number, and the run's own."""

    meaning: str
    reported: float
    here: ComparedMean


class Comparison(Record):
    """Published numbers of a source beside the run's own."""

    source: str
    numbers: dict[str, ComparedNumber]


class RunRecord(Record):
    """Content of run.json: state and origin of a run. Entries are added while the run goes on."""

    state: RunState
    overrides: list[str] = []
    seed: NonNegativeInt = 0
    tags: list[str] = []
    group: str | None = None  # of dashboards, which all jobs of a sweep and its report share
    started: str | None = None
    reason: str | None = None  # of a partial, interrupted or skipped run
    limits: dict[str, bool | int | float] | None = None  # of the trainer, by which it is partial
    exception: Failure | None = None
    versions: dict[str, str] = {}
    git_commit: str | None = None
    measurement: NonNegativeInt | None = None  # raised when numbers change
    device: str | None = None
    instructions: str | None = None  # of the processor, that torch has chosen
    threads: NonNegativeInt | None = None
    torch: str | None = None
    settings: str | None = None  # hash of all that is configured and can change the numbers
    components: dict[str, str] = {}  # from outside dovision: version and a hash of their files
    files: dict[str, str] = {}  # hashes of files that the configuration names
    wall_seconds: NonNegativeFloat | None = None
    peak_memory_mb: NonNegativeInt | None = None
    forward_passes: NonNegativeInt | None = None
    skipped_edits: NonNegativeInt | None = None  # that changed nothing, and took no pass
    chunk_limit: NonNegativeInt | None = None  # pairs a pass since memory ran out
    images: NonNegativeInt | None = None  # test images that were measured
    images_without_units: NonNegativeInt | None = None  # since their masks are empty
    digests: dict[str, FileDigest] = {}  # of each file that is read of the run, by its path in the directory
    dead_gradients: NonNegativeFloat | None = None
    queries: dict[str, NonNegativeFloat] = {}
    dataset_fingerprint: str | None = None
    dataset: dict[str, Any] = {}
    bad_files: list[str] = []
    checkpoints: dict[str, str] = {}  # hashes of the weights of each network
    checkpoint_files: dict[str, str] = {}
    foreign_weights: dict[str, str] = {}  # hashes of the file of another program, and of the mapping of its names
    scores: dict[str, dict[str, Any]] = {}
    model: dict[str, Any] | None = None  # the component of the classifier that was measured, as its checkpoint has it
    seconds_per_map: dict[str, NonNegativeFloat] = {}
    passes_per_map: dict[str, NonNegativeFloat] = {}
    detector_costs: dict[str, dict[str, NonNegativeFloat]] = {}
    condition_queries: dict[str, dict[str, NonNegativeFloat]] = {}
    condition_dead_gradients: NonNegativeFloat | None = None
    failed_attacks: dict[str, str] = {}  # that detection leaves out, with their errors
    reported: Comparison | None = None


class HeadlineNumber(ComparedMean):
    """Headline number with its interval, or the reason for none; of a class, None with too few images."""

    method: str
    reason: str
    median: float | None = None  # of sizes over images, as the next; not of earlier versions
    least: float | None = None
    most: float | None = None


class _Condition(Record):
    """Images of one condition, clean or attacked at one epsilon, and the quality of the classifier class by class."""

    eps: NonNegativeFloat
    images: NonNegativeInt
    notes: list[str]
    classes: dict[str, dict[str, HeadlineNumber]]


_OF_CONDITION: Any = dict.fromkeys(CONDITION_METRICS, (HeadlineNumber | None, ...))  # None if undefined
ConditionSummary = create_model("ConditionSummary", __base__=_Condition, **_OF_CONDITION)


class Summary(Record):
    """Content of summary.json: headline numbers of a completed run."""

    interval: str
    labels: dict[str, NonNegativeInt]  # images by class
    conditions: dict[str, ConditionSummary] = Field(min_length=1)  # type: ignore[valid-type]
    maps: list[dict[str, Any]] = []
    object_effects: list[dict[str, Any]] = []
    contrasts: list[dict[str, Any]] = []
    mask_contrasts: list[dict[str, Any]] = []
    interchange: list[dict[str, Any]] = []
    refutations: list[dict[str, Any]] = []
    detection: list[dict[str, Any]] = []


def read_summary(folder: Path) -> dict[str, Any]:
    """Read a run directory's summary.json.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or not as the schema says; the error names it.
    """
    path = folder / SUMMARY
    return validated(Summary, read_json(path), path)


def validated(schema: type[Record], content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return a file's content if it matches the schema.

    Raises:
        ValueError: it is not; the error names the file, the first wrong place, and what was got there.
    """
    try:
        schema.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        got = "" if first["type"] == "missing" else f", got {str(first['input'])[:60]!r}"
        raise ValueError(
            f"{path} must hold what its run wrote, but {where} is wrong ({first['msg']}{got}). Run the job again."
        ) from error
    return dict(content)


def with_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    """Add format and digest to a run record; `verified` detects edits by it."""
    digested = {"format": RECORD_FORMAT, **{name: value for name, value in record.items() if name != DIGEST}}
    return {**digested, DIGEST: _digest(digested)}


def verified(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return a run record if it matches its digest.

    Raises:
        ValueError: their digest differs, or the file is of another format; the error names it and the remedy.
    """
    digested = {name: value for name, value in content.items() if name != DIGEST}
    if content.get(DIGEST) != _digest(digested):
        raise ValueError(f"{path} must hold what its run wrote, got content of another digest. Run the job again.")
    if (got := digested.pop("format", 1)) != RECORD_FORMAT:
        raise ValueError(
            f"{path} must be of record format {RECORD_FORMAT}, got {got}. Run the job again, or read it with the "
            "version of dovision that wrote it."
        )
    return digested


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()[:16]
