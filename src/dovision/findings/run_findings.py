"""The findings of a run, of whichever kind it is."""

from __future__ import annotations

from itertools import islice

from dovision.findings.detection_findings import detection_findings
from dovision.findings.effect_findings import effect_findings
from dovision.findings.finding import Finding
from dovision.findings.map_findings import map_findings
from dovision.store.run_record import Run

MOST = 3  # sentences of a kind of measurement


def run_findings(run: Run) -> list[Finding]:
    """Write one to three sentences on each kind of measurement of a completed run.

    Detectors come first, then maps, then effects, of which a run with detectors or maps shows one.
    """
    special = [*islice(detection_findings(run), MOST), *islice(map_findings(run), MOST)]
    return [*special, *islice(effect_findings(run), 1 if special else MOST)]
