"""Uploads of numbers, figures, tables and weights of completed runs, through their loggers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger

from dovision.report.report_figure import Catalogue, ReportFigure
from dovision.report.wandb_logger import WandbLogger
from dovision.results.classifier_quality import OVERALL
from dovision.results.map_summary import LOGGED, whole_scores
from dovision.results.run_findings import run_findings
from dovision.results.run_record import Run, read_sweep
from dovision.results.tables import read_samples

SHOWING = (TensorBoardLogger, WandbLogger)  # loggers that show figures
TABLE_ROWS = 1000  # of a table that are sent
_COUNTS = ("images", "prevalence")  # of a class, which are no metrics
_MOST = 50  # classes up to which the numbers of each are sent


def log_run(loggers: Sequence[Logger], folder: Path) -> None:
    """Send a completed run's numbers to all loggers, and its figures to those that show them.

    Args:
        loggers: of its job.
        folder: the run directory.
    """
    (run,) = read_sweep(folder)
    numbers = quality(run) | map_scores(run)
    numbers |= {key: value for finding in run_findings(run) for key, value in finding.logged().items()}
    numbers = dict(sorted(numbers.items(), key=lambda item: " " in item[0]))  # those of a class come last
    for logger in loggers:
        logger.log_metrics(numbers, step=0)
    showing = [logger for logger in loggers if isinstance(logger, SHOWING)]
    figures = Catalogue().of_run(run) if showing else []
    for logger in showing:
        if isinstance(logger, WandbLogger):
            logger.ask(send_run, logger, run, figures)
        else:
            send_run(logger, run, figures)


def send_run(logger: Logger, run: Run, figures: Sequence[ReportFigure]) -> None:
    """Send figures, and to W&B the numbers behind them and behind tables, samples and weights, too."""
    pictures = [item for item in figures if item.figure is not None]
    if isinstance(logger, TensorBoardLogger):
        for item in pictures:
            logger.experiment.add_figure(f"figures/{item.name}", item.figure, global_step=0)
    elif isinstance(logger, WandbLogger):
        import wandb

        shown: dict[str, Any] = {"samples": wandb.Table(dataframe=read_samples(run.folder).head(TABLE_ROWS))}
        if logger.rest:
            shown["numbers"] = wandb.Table(columns=["number", "value"], data=[[*item] for item in logger.rest.items()])
        rows = [[one.question, one.text, one.verdict, *one.number[:3]] for one in run_findings(run)]
        shown["findings"] = wandb.Table(["question", "finding", "verdict", "number", "low", "high"], rows)
        shown |= {f"figures/{item.name}": wandb.Image(item.figure, caption=item.caption) for item in pictures}
        for item in figures:
            shown[f"tables/{item.name}"] = wandb.Table(dataframe=item.data.head(TABLE_ROWS), allow_mixed_types=True)
        logger.log_metrics(shown, step=0)
        if logger.artifacts:
            artifacts = {f"tables-{logger.version}": ("tables", sorted(run.folder.glob("*.parquet")))}
            for name, path in run.record["checkpoint_files"].items():
                artifacts[f"{name}-{run.record['checkpoints'][name]}"] = ("model", [Path(path)])
            for name, (category, paths) in artifacts.items():
                artifact = wandb.Artifact(name, type=category)
                for path in paths:
                    artifact.add_file(str(path), policy="immutable")  # not copied
                logger.experiment.log_artifact(artifact)


def quality(run: Run) -> dict[str, float]:
    """Classifier quality of a completed run, which its callbacks do not log, without undefined numbers.

    The numbers are named metric/condition, and those of a class "metric/condition class", by the metric of the whole.
    """
    interval_by_name: dict[str, Any] = {}
    for condition, numbers in run.summary["conditions"].items():
        interval_by_name |= {f"{metric}/{condition}": numbers[metric] for metric in OVERALL.values()}
        classes = numbers["classes"] if len(numbers["classes"]) <= _MOST else {}
        for name, of_class in classes.items():
            interval_by_name |= {
                f"{OVERALL.get(metric, metric)}/{condition} {name}": of_class[metric]
                for metric in of_class
                if metric not in _COUNTS
            }
    return {
        name: float(interval["estimate"])
        for name, interval in interval_by_name.items()
        if interval and interval["estimate"] is not None
    }


def map_scores(run: Run) -> dict[str, float]:
    """Mean map scores of a completed run by metric/explainer, without those already logged."""
    table = whole_scores(run.summary)
    rows = table[~table["metric"].isin(LOGGED)] if len(table) else table
    return {f"{row['metric']}/{row['explainer']}": float(row["mean"]) for row in rows.to_dict("records")}
