"""The arithmetic of a dry run: what is timed, and what follows from it for a job and for a sweep."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from dovision.evaluation import detector_fits
from dovision.evaluation.detector_fits import Reads
from dovision.evaluation.fit_protocol import fit_protocol
from dovision.interfaces import Detector
from dovision.sweeps.costs import PER_RUN, Batches, Estimate, Pace, Work, estimate, fits_of_detectors, on_workers
from dovision.sweeps.dry_run import JobEstimate, table
from dovision.sweeps.jobs import Job
from dovision.sweeps.timing import Timer


class Clock:
    """Seconds that pass only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def done(samples: int, first: int, most: int, start: float, image: float) -> tuple[list[int], Pace]:
    """The sizes of the batches, and the pace, of one who sets up for `start` seconds and takes `image` for an image."""
    clock = Clock()
    batches = Batches(range(samples), first, most, clock)
    clock.now += start
    sizes = []
    for batch in batches:
        sizes.append(len(batch))
        clock.now += image * len(batch)
    return sizes, batches.pace


@pytest.mark.parametrize("image", [0.0001, 0.01, 0.2, 4.0])
def test_a_pace_is_what_an_image_takes_without_what_the_first_batch_has_set_up(image):
    sizes, pace = done(10**6, 1, 64, start=3.0, image=image)
    assert pace == pytest.approx(Pace(3.0, image), abs=1e-6)
    assert sizes[:2] == [1, 2]
    assert max(sizes) <= 64


def test_batches_grow_to_the_configured_size_and_end_after_two_seconds():
    assert done(10**6, 1, 16, 0.0, 0.01)[0] == [
        1,
        2,
        4,
        8,
        *[16] * 12,
    ]  # .02, .06, .14, .30, ... 2.06 s after the first
    assert done(10**6, 8, 8, 5.0, 0.1)[0] == [8, 8, 8, 8]
    assert done(10, 1, 16, 0.0, 0.01)[0] == [1, 2, 4, 3]


def paced(*images: float, most: int = 64) -> tuple[list[int], float]:
    """The sizes of the batches after the first one, of which an image takes so many seconds in turn, and the pace."""
    clock = Clock()
    batches, sizes = Batches(range(10**6), 1, most, clock), []
    for batch, image in zip(batches, (images[0], *images, *[images[-1]] * 9), strict=False):
        sizes.append(len(batch))
        clock.now += image * len(batch)
    return sizes[1:], batches.pace.image


def test_batches_grow_until_an_image_takes_no_less_in_a_larger_one():
    assert paced(0.105, 0.096, 0.078, 0.075, 0.072) == ([2, 4, 8, 16, 32], pytest.approx(0.072))
    assert paced(0.3, 0.3, 0.3) == ([2, 4, 8], pytest.approx(0.3))
    assert paced(0.3, 0.2, 0.1, most=8) == ([2, 4, 8], pytest.approx(0.1))  # no larger one comes
    assert paced(4.0, 2.0, 1.0) == ([2, 4, 8], pytest.approx(1.0))  # unsteady, but long enough


def test_what_follows_the_images_and_the_merge_of_shards_are_in_the_minutes():
    pace = Pace(6.0, 0.5, end=0.1, sums=0.2)
    assert estimate([Work("effects", "", 60)], lambda work: pace) == Estimate(0.7, 0.7)
    assert estimate([Work("effects", "", 60, blocks=2)], lambda work: pace).minutes == pytest.approx(1.1)
    of_shard = estimate([Work("effects", "", 60, merged_blocks=3)], lambda work: pace)
    assert of_shard == Estimate(0.7, 0.7, merge=pytest.approx(0.7))
    lines = told(("missing", of_shard), ("missing", of_shard), workers=2)
    assert "about 2.1 minutes on 2 workers, of them 1.4 to merge shards, " in lines[-1]


def test_each_run_takes_a_while_in_any_case_and_shards_share_that_of_the_merged_one():
    own = Estimate(2.0, 3.0, merge=0.5)
    assert own.with_runs(None) == Estimate(2.0 + PER_RUN / 60, 3.0 + PER_RUN / 60, merge=0.5)
    assert own.with_runs(4).merge == 0.5 + PER_RUN / 240
    unknown = Estimate(0.0, math.inf, ("effects",))
    assert unknown.with_runs(4) == unknown


def test_of_a_single_batch_all_is_the_images():
    assert done(1, 1, 16, 1.0, 2.0)[1] == Pace(0.0, 3.0)


def test_a_pace_of_nothing_is_refused():
    with pytest.raises(ValueError, match="a pace needs at least one batch, got none"):
        _ = Batches([], 1, 1).pace


def test_minutes_are_starts_and_images_of_all_that_is_known_and_the_rest_is_named():
    paces = {"a": Pace(6.0, 0.5), "b": Pace(0.0, 2.0), "c": None}
    parts = [Work("fit", "a", 108), Work("fit again", "a", 12), Work("effects", "b", 30)]
    assert estimate(parts, lambda work: paces[work.key]) == Estimate(2.2, 2.2)
    unknown = [Work("attack", "b", 1, "it stops early"), Work("maps", "c", 1)]
    found = estimate([*parts, *unknown], lambda work: paces[work.key])
    assert found == Estimate(2.2, math.inf, ("attack (it stops early)", "maps (it could not be timed)"))


def test_minutes_of_passes_that_may_be_more_are_bounded():
    parts = [Work("fit", "a", 10), Work("attack", "b", 3, "it stops early", 30)]
    paces = {"a": Pace(0.0, 6.0), "b": Pace(6.0, 2.0)}
    found = estimate(parts, lambda work: paces[work.key])
    assert found == Estimate((60 + 6 + 6) / 60, (60 + 6 + 60) / 60, ("attack (it stops early)",))


def test_workers_of_a_job_share_its_images_but_not_what_is_set_up_before_the_first_one():
    parts = [Work("reads", "a", 10, workers=2), Work("attack", "b", 4, "it stops early", 40, workers=4)]
    paces = {"a": Pace(6.0, 6.0), "b": Pace(0.0, 2.0)}
    found = estimate(parts, lambda work: paces[work.key])
    assert found[:2] == pytest.approx(((6 + 30 + 2) / 60, (6 + 30 + 20) / 60))


def test_work_whose_pace_cannot_be_known_is_not_timed():
    def timed(work: Work) -> Pace:
        raise AssertionError(work)

    assert not estimate([Work("attack", "a", 1, "it stops early")], timed).is_known


def test_workers_share_jobs_out_but_no_job():
    assert on_workers([1.0, 2.0, 3.0], 1) == 6
    assert on_workers([1.0, 2.0, 3.0], 2) == 3
    assert on_workers([1.0, 1.0, 4.0], 3) == 4
    assert on_workers([], 2) == 0


class Supervised(Detector):
    supervised = True

    def __init__(self) -> None:
        self.fits = [0]  # shared by copies

    def read_features(self, batch, classifier, with_autoencoder):
        raise NotImplementedError

    def fit_features(self, clean, attacked):
        self.fits[0] += 1

    def score_features(self, read):
        return read[:, 0]


class Unsupervised(Supervised):
    supervised = False


@pytest.mark.parametrize("controls", [False, True])
@pytest.mark.parametrize(
    "conditions", [["pgd"], ["random_sign", "pgd"], ["fgsm", "pgd"], ["random_sign", "fgsm", "pgd"]]
)
def test_detectors_are_fitted_as_often_as_is_foretold(conditions, controls, monkeypatch, tmp_path):
    import pandas as pd

    names = ["clean", *conditions]
    columns = ["attack", "eps", "success", "group"]
    facts = pd.DataFrame([(name, 0.1, True, group) for name in names for group in range(40)], columns=columns)
    monkeypatch.setattr(detector_fits, "_validation", lambda folder, name: Reads(facts, torch.rand(len(facts), 2)))
    detectors = {"supervised": Supervised(), "unsupervised": Unsupervised()}
    protocol = fit_protocol({name: [0.1] for name in conditions}, controls=controls)
    detector_fits.fit_detectors(tmp_path, detectors, (), protocol)
    supervised = {name: detector.supervised for name, detector in detectors.items()}
    foretold = fits_of_detectors(supervised, len(protocol.family), "random_sign" in conditions, controls)
    assert foretold == {name: detector.fits[0] for name, detector in detectors.items()}


def told(*minutes: tuple[str, Estimate], workers: int | None = 1) -> list[str]:
    jobs = [
        JobEstimate(Job(number, (), None), state, 0, 1, time, 1, None) for number, (state, time) in enumerate(minutes)
    ]
    return table(jobs, workers).splitlines()


def test_a_dry_run_never_says_zero_for_what_is_to_be_done():
    unknown = ("attack (it stops early)",)
    lines = told(
        *(("completed", Estimate(0.0, 0.0)), ("missing", Estimate(0.001, 0.001))),
        *(("missing", Estimate(0.25, math.inf, unknown)), ("missing", Estimate(0.0, math.inf, unknown))),
        *(("interrupted", Estimate(1.0, 3.0, unknown)), ("missing", Estimate(2.0, 2.5, unknown))),
    )
    assert [line.split()[4] for line in lines[1:7]] == ["0", "<0.01", "0.25+", "?", "<=3.0", "2.0-2.5"]
    assert "6 jobs, 5 to do" in lines[7]
    assert "at least 3.3 minutes, " in lines[7]
    assert lines[8] == "not known of 4 jobs: attack (it stops early)"
    assert "minutes unknown" in told(("missing", Estimate(0.0, math.inf, unknown)))[2]


def test_the_minutes_of_a_sweep_are_those_of_its_workers():
    jobs = (("missing", Estimate(2.0, 2.0)), ("missing", Estimate(4.0, 4.0)))
    assert "about 6.0 to 7.5 minutes, " in told(jobs[0], ("missing", Estimate(4.0, 5.5)))[-1]
    assert "about 4.0 to 5.5 minutes on 2 workers, " in told(jobs[0], ("missing", Estimate(4.0, 5.5)), workers=2)[-1]
    assert "about 6.0 minutes, " in told(*jobs)[-1]
    assert "about 4.0 minutes on 2 workers, " in told(*jobs, workers=2)[-1]
    assert "about 6.0 minutes of work for an unknown number of workers, " in told(*jobs, workers=None)[-1]


def test_the_memory_of_a_gpu_is_that_of_the_part_that_takes_most():
    paces = {"effects": Pace(0.0, 1.0, 10**9), "maps": Pace(0.0, 1.0, 3 * 10**9)}
    found = estimate([Work(name, "", 60) for name in paces], lambda work: paces[work.kind])
    assert found == Estimate(2.0, 2.0, gpu=3 * 10**9)
    header, line, total = told(("missing", found))
    assert "MB of RAM  MB of GPU  overrides" in header
    assert line.split()[7] == "3000"
    assert ", 3000 MB of a GPU. Nothing" in total
    assert "GPU" not in "".join(told(("missing", Estimate(2.0, 2.0))))


def test_the_peak_of_a_gpu_is_taken_while_a_batch_is_timed(monkeypatch):
    peaks = iter([2 * 10**9])
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for name in ("empty_cache", "reset_peak_memory_stats", "synchronize"):
        monkeypatch.setattr(f"torch.cuda.{name}", lambda: None)
    monkeypatch.setattr("torch.cuda.max_memory_reserved", lambda: next(peaks))
    settings = SimpleNamespace(seed=0, threads=1)
    timer = Timer()
    for _ in range(2):  # the second time it is known
        assert timer._pace(Work("effects", "", 1), settings, lambda: Pace(0.0, 1.0)) == Pace(0.0, 1.0, 2 * 10**9)


def test_shards_take_the_disk_of_the_run_that_is_merged_from_them_too():
    shard = JobEstimate(Job(0, (), None), "missing", 0, 1, Estimate(1.0, 1.0), 10**7, None, merged=10**7)
    assert "10 MB of effects and 10 in the run that is merged from shards. " in table([shard])
