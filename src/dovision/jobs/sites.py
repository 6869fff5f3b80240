"""The command dovision-sites: list the sites of a network, with the layout, the shape and the units of each."""

from __future__ import annotations

import pandas as pd

from dovision.config.settings import SitesSettings
from dovision.jobs.job import Job
from dovision.jobs.meta_networks import meta_classifier, with_autoencoder
from dovision.propagation.site_table import site_table


def list_sites(job: Job) -> None:
    """Print a row for each site of the model, or of the model with its autoencoder."""
    settings: SitesSettings = job.settings
    classifier = meta_classifier(settings)
    if settings.autoencoder is not None:
        classifier = with_autoencoder(settings, classifier)
    rows = site_table(classifier, tuple(settings.dataset["shape"]))
    table = pd.DataFrame(rows).assign(shape=["x".join(map(str, row.shape)) for row in rows])
    left = {name: f"{{:<{table[name].str.len().max()}}}".format for name in table}
    text = table.to_string(index=False, formatters=left, justify="left")
    print("\n".join(line.rstrip() for line in text.splitlines()))
