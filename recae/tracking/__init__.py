"""Tracked runs: everything kept of a training, in MLflow. The only importer of mlflow.

A sweep is one invocation of a recipe. Its runs, one per model and seed, lie below a parent run
named after the recipe when there are several. What a run needs in order to be found, compared and
resumed stands in its tags (`recae.*`); what it measured in metrics, and in full in artifacts.
What the store cannot take waits in an outbox, in the folder of the runs, until it is delivered.
A study of settings is a parent run with a run below it for every trial; these have no tag
`recae.sweep`, so no comparison ever takes them for results.

Importing this package imports MLflow, a second's work: import it inside functions.
"""

from __future__ import annotations

import os
import warnings

# Before MLflow is imported: nothing is told to anybody, no job runner is started, only warnings
# are printed, and a server that does not answer is given up in seconds, not minutes.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
# Links to every run that ends, with the password where the server's URL has one.
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

with warnings.catch_warnings():
    # MLflow warns of its own type hints when it is imported.
    warnings.simplefilter("ignore", UserWarning)
    from mlflow.models import set_model
    from mlflow.pyfunc.model import PythonModel, PythonModelContext

from recae.tracking.finding import (
    TrackedEvaluation,
    evaluations,
    evaluations_of,
    load_run_model,
    load_run_recipe,
)
from recae.tracking.listing import ListedRun, delete, listed, to_delete
from recae.tracking.outbox import Delivered, deliver, waiting
from recae.tracking.page import compare_url, open_page
from recae.tracking.registry import register, version_of
from recae.tracking.store import Store
from recae.tracking.studies import MlflowStudies
from recae.tracking.sweeps import MlflowTracker

__all__ = [
    "Delivered",
    "ListedRun",
    "MlflowStudies",
    "MlflowTracker",
    "PythonModel",
    "PythonModelContext",
    "Store",
    "TrackedEvaluation",
    "compare_url",
    "delete",
    "deliver",
    "evaluations",
    "evaluations_of",
    "listed",
    "load_run_model",
    "load_run_recipe",
    "open_page",
    "register",
    "set_model",
    "to_delete",
    "version_of",
    "waiting",
]
