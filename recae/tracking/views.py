"""The view in which the page opens an experiment: columns, order and charts that matter.

MLflow's page keeps its saved views in tags of the experiment, under keys that links name. Such a
view is listed on the page by its name, and a page that does not know it opens in its own.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.entities import Experiment

from recae.tracking.store import search

_NAME: Final = "recae"
_TAG: Final = f"mlflow.sharedViewState.{_NAME}"
_METRICS: Final = (
    "test/rmse",
    "test/mae",
    "test/ndcg_at_*",
    "loss",
    "fit_seconds",
    "peak_memory_mb",
)
"""Columns of metrics; the first one is what runs are sorted by."""
_PARAMS: Final = ("kind", "seed", "k")
_CURVES: Final = ("val/rmse", "train/rmse")
_BARS: Final = ("test/rmse", "test/ndcg_at_*")
_LOOKED_AT: Final = 200
"""Runs, the newest ones, of which it is seen what an experiment measures."""
_DEFAULTS: Final[dict[str, Any]] = {
    "searchFilter": "",
    "orderByKey": "attributes.start_time",
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "runsExpanded": {},
    "runsPinned": [],
    "runsHidden": [],
    "runsVisibilityMap": {},
    "viewMaximized": False,
    "runListHidden": False,
    "groupBy": None,
    "groupsExpanded": {},
    "autoRefreshEnabled": True,
    "useGroupedValuesInCharts": True,
    "hideEmptyCharts": True,
    "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0},
}
"""The page's own, written out: its older versions take a view for the whole of their state."""


def save_view(client: MlflowClient, experiment: Experiment) -> str:
    """Keep the view with the experiment, unless it is there; its key in links.

    Raises what MLflow raises where it cannot be kept.
    """
    runs = islice(search(client, "", [experiment]), _LOOKED_AT)
    view = _saved(experiment, _view({name for run in runs for name in run.data.metrics}))
    if experiment.tags.get(_TAG) != view:
        client.set_experiment_tag(experiment.experiment_id, _TAG, view)
    return _NAME


def _saved(experiment: Experiment, view: dict[str, Any]) -> str:
    """The view as a tag: inside for a page that lists views, and beside for one that does not."""
    about = {"name": _NAME, "createdAt": experiment.creation_time, "state": json.dumps(view)}
    return json.dumps(view | about)


def _view(measured: Collection[str]) -> dict[str, Any]:
    """The page's state for an experiment whose runs have the metrics `measured`.

    Sorted by a metric, the runs of all sweeps stand in one list; by time, those of a sweep would
    be folded away below their parent.
    """
    metrics = _those(_METRICS, measured)
    columns = [f"metrics.`{name}`" for name in metrics]
    columns += [f"params.`{name}`" for name in _PARAMS] + ["attributes.`Models`"]
    view = _DEFAULTS | {
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {"params.`seed`": 60, "params.`k`": 60},
        "runsHiddenMode": "FIRST_20_RUNS",
    }
    if metrics:
        view |= {"orderByKey": columns[0], "orderByAsc": "ndcg" not in metrics[0]}
    charts = [_chart("LINE", name) for name in _those(_CURVES, measured)]
    charts += [_chart("BAR", name) for name in _those(_BARS, measured)]
    if charts:
        section = {"uuid": _NAME, "name": "What matters", "display": True, "isReordered": True}
        view |= {
            "compareRunCharts": charts,
            "compareRunSections": [section],
            "isAccordionReordered": True,
        }
    return view


def _those(patterns: Collection[str], names: Collection[str]) -> list[str]:
    """Names that fit a pattern, in the order of the patterns."""
    return [name for each in patterns for name in sorted(names) if fnmatchcase(name, each)]


def _chart(kind: str, metric: str) -> dict[str, Any]:
    """A card of the page: lines by step, not smoothed, or bars by run."""
    return {
        "uuid": f"{_NAME}-{metric}",
        "type": kind,
        "metricKey": metric,
        "metricSectionId": _NAME,
        "runsCountToCompare": 20,
        "xAxisKey": "step",
        "lineSmoothness": 0,
    }
