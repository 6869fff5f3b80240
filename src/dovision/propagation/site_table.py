"""Table of a network's sites: name, layout, shape and units of each."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import NamedTuple

import torch

from dovision.interfaces import Classifier
from dovision.module_state import evaluating
from dovision.propagation.layouts import Probes, Seen
from dovision.propagation.sites import Site, find_site, site_names
from dovision.types import INPUT, Layout, Shape


class SiteRow(NamedTuple):
    """One line of the table."""

    site: str
    layout: str  # unknown, if nothing shows it
    shape: Shape  # of the value for one image, without the batch axis
    units: str  # kinds and counts, or the reason why the layout is not known


@torch.no_grad()
def site_table(classifier: Classifier, shape: Shape) -> list[SiteRow]:
    """All sites that run on images of a shape, (C, H, W), and put out one tensor.

    On the meta device nothing is computed. A module that runs several times has a row for each of its calls.
    """
    rows = [_row(INPUT, (1, *shape), Seen(Layout.NCHW, ""))]
    with evaluating(classifier):
        probes = Probes(classifier, shape)
        sites = [site for name in site_names(classifier) if (site := find_site(classifier, name)) is not None]
        heads = _head_shapes(classifier, [site for site in sites if site.layout is not None], shape)
        for site in sites:
            if site.layout is not None:
                seen = Seen(site.layout, "windows of the image on the batch axis")
                value = heads.get(site.name)
                if value is not None:
                    rows.append(_row(site.name, value, seen if value[0] == 1 else Seen(None, seen.reason)))
                continue
            calls = probes.plain.shapes.get(site.module, [])
            for call, value in enumerate(calls):
                if value is not None and len(value) > 1:
                    numbered = len(calls) > 1
                    name = f"{site.name}#{call}" if numbered else site.name
                    one = find_site(classifier, name) if numbered else site
                    assert one is not None
                    rows.append(_row(name, value, probes.layout(one)))
    return rows


def _head_shapes(classifier: Classifier, sites: list[Site], shape: Shape) -> dict[str, Shape]:
    """Shapes of the heads' values in one pass, those of an attention that runs several times by its first call."""
    shapes: dict[str, Shape] = {}
    with ExitStack() as taps:
        for site in sites:

            def note(value: torch.Tensor, name: str = site.name) -> None:
                shapes[name] = tuple(value.shape)

            taps.enter_context(site.tapped(note))
        classifier(torch.zeros(1, *shape, device=classifier.mean.device, dtype=classifier.mean.dtype))
    return shapes


def _row(name: str, value: Shape, seen: Seen) -> SiteRow:
    if seen.layout is None:
        return SiteRow(name, "unknown", value[1:], seen.reason.removeprefix("and "))
    shown = seen.layout.present(torch.empty(value, device="meta")).shape
    counts = {"channel": shown[1], "head": shown[1], "token": math.prod(shown[2:3]), "position": math.prod(shown[2:])}
    units = (f"{counts[kind]} {kind}{'s' * (counts[kind] != 1)}" for kind in seen.layout.units)
    return SiteRow(name, seen.layout.value, value[1:], ", ".join(units))
