"""What a run keeps as files, there and back: recipe, evaluation, model."""

from __future__ import annotations

import filecmp
import json
import math
import tempfile
import warnings
from pathlib import Path
from typing import Any, Final

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import AnyType, Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema

import recae
from recae.errors import DataError
from recae.evaluation import Evaluation
from recae.ids import Ids
from recae.models import Recommender, load_model
from recae.running import Cost
from recae.tracking.answers import read_answers, write_answers
from recae.tracking.store import Store, as_default

_MODEL: Final = "model"
_RECIPE: Final = "recipe.json"
_EVALUATION: Final = "evaluation"
_SUMMARY, _BY_USER = "evaluation.json", "by_user.parquet"


def cost_of(run: Run) -> Cost:
    """What the fit of a finished run took."""
    found = run.data.metrics
    return Cost(found["fit_seconds"], found["peak_memory_mb"])


def write_recipe(recipe: dict[str, Any], folder: Path) -> None:
    """The resolved recipe as JSON."""
    (folder / _RECIPE).write_text(json.dumps(recipe, indent=1), "utf-8")


def read_recipe(client: MlflowClient, run: Run) -> dict[str, Any]:
    """The resolved recipe of a run."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(client.download_artifacts(run.info.run_id, _RECIPE, scratch))
        recipe: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return recipe


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Everything of an evaluation: a summary in JSON (NaN as null), the rest in Parquet."""
    folder = folder / _EVALUATION
    folder.mkdir()
    metrics = {k: v if math.isfinite(v) else None for k, v in evaluation.metrics.items()}
    summary = {"metrics": metrics, "counts": evaluation.counts, "protocol": evaluation.protocol}
    (folder / _SUMMARY).write_text(json.dumps(summary, indent=1, allow_nan=False), "utf-8")
    table = pd.DataFrame({"user": evaluation.users.values, **evaluation.by_user})
    table.to_parquet(folder / _BY_USER, index=False)
    if evaluation.answers is not None:
        write_answers(evaluation.answers, evaluation.users, folder)


def read_evaluation(client: MlflowClient, run: Run, *, answers: bool = True) -> Evaluation:
    """The evaluation of a run, equal to the one that was written.

    Without answers where they are not wanted, or an earlier version kept none. Raises DataError for
    a damaged one.
    """
    with tempfile.TemporaryDirectory() as scratch:
        wanted = [_EVALUATION] if answers else [f"{_EVALUATION}/{n}" for n in (_SUMMARY, _BY_USER)]
        # Of a folder this is the folder, of a file the file.
        paths = [Path(client.download_artifacts(run.info.run_id, w, scratch)) for w in wanted]
        try:
            return _evaluation(paths[0] if answers else paths[0].parent, answers=answers)
        except (KeyError, ValueError) as trouble:
            raise DataError(
                f"the evaluation of run {run.info.run_id} is damaged or of another version: "
                f"{trouble}; leave the run out, or train it again"
            ) from None


def _evaluation(folder: Path, *, answers: bool) -> Evaluation:
    summary = json.loads((folder / _SUMMARY).read_text("utf-8"))
    table = pd.read_parquet(folder / _BY_USER)
    users = Ids.of(table["user"])
    by_user = {name: table[name].to_numpy() for name in table.columns if name != "user"}
    metrics = {k: math.nan if v is None else v for k, v in summary["metrics"].items()}
    found = read_answers(users, folder) if answers else None
    return Evaluation(metrics, summary["counts"], summary["protocol"], users, by_user, found)


def log_model(
    client: MlflowClient, store: Store, run_id: str, model: Recommender, folder: Path
) -> None:
    """`model`, which is saved in `folder`, as a pyfunc: no pickle, safetensors and JSON inside."""
    run = client.get_run(run_id)
    # Made here: MLflow itself would put it into the default experiment.
    logged = client.create_logged_model(
        run.info.experiment_id, _MODEL, run_id, params=dict(run.data.params)
    )
    with as_default(store), warnings.catch_warnings():
        # It misses an input example, which would cost a prediction in a process of its own.
        warnings.filterwarnings("ignore", ".*An input example", UserWarning)
        Model.log(
            None,
            mlflow.pyfunc,
            run_id=run_id,
            model_id=logged.model_id,
            python_model=str(Path(recae.__file__).with_name("pyfunc.py")),
            artifacts={_MODEL: str(folder)},
            signature=_signature(model),
            pip_requirements=[f"recae=={recae.__version__}", f"mlflow=={mlflow.__version__}"],
        )


def read_model(store: Store, run: Run) -> Recommender:
    """The model of a run. Raises DataError for a damaged one."""
    uri = f"runs:/{run.info.run_id}/{_MODEL}"
    with as_default(store), tempfile.TemporaryDirectory() as scratch:
        folder = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=scratch)
        return load_model(saved_model(Path(folder)))


def logged_models(client: MlflowClient, run: Run) -> list[LoggedModel]:
    """The models of a run, newest first, those included whose files did not all arrive."""
    same = f"source_run_id = '{run.info.run_id}'"
    return list(client.search_logged_models([run.info.experiment_id], same))


def same_model(store: Store, model: LoggedModel, folder: Path) -> bool:
    """Whether all files of the saved model in `folder` stand in the store, and are the same."""
    uri = f"models:/{model.model_id}"
    with as_default(store), tempfile.TemporaryDirectory() as scratch:
        found = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=scratch)
        return not lacking_files(folder, saved_model(Path(found)))


def saved_model(logged: Path) -> Path:
    """Where in a logged model's folder the model itself is."""
    return logged / "artifacts" / _MODEL


def lacking_files(folder: Path, other: Path) -> list[Path]:
    """The files below `folder` that are not below `other`, or differ there."""
    ours = sorted(path for path in folder.rglob("*") if path.is_file())
    pairs = [(path, other / path.relative_to(folder)) for path in ours]
    return [a for a, b in pairs if not (b.is_file() and filecmp.cmp(a, b, shallow=False))]


def _signature(model: Recommender) -> ModelSignature:
    """Rows of lists in, rows of lists out; ids as the model has them. See `recae.pyfunc`."""
    ids = DataType.long if model.fitted.items.values.dtype.kind == "i" else DataType.string
    items, stars = ColSpec(Array(ids), "items"), ColSpec(Array(DataType.double), "stars")
    # MLflow refuses 5 where it was told of 5.0, and that is how JSON is written.
    given = ColSpec(Array(AnyType()), "stars")  # type: ignore[no-untyped-call]
    titles = [] if model.fitted.catalog is None else [ColSpec(Array(DataType.string), "titles")]
    perhaps = {"low": DataType.double, "high": DataType.double, "because": DataType.string}
    said = [ColSpec(Array(kind), name, required=False) for name, kind in perhaps.items()]
    return ModelSignature(
        inputs=Schema([items, given]),
        outputs=Schema([items, stars, *titles, *said]),
        params=ParamSchema(
            [
                ParamSpec("n", DataType.long, 10),
                ParamSpec("by", DataType.string, ""),
                ParamSpec("genres", DataType.string, [], shape=(-1,)),
                ParamSpec("first_year", DataType.long, 0),
                ParamSpec("last_year", DataType.long, 0),
                ParamSpec("include_seen", DataType.boolean, False),
                ParamSpec("diversity", DataType.double, 0.0),
                ParamSpec("popularity", DataType.double, 0.0),
                ParamSpec("explain", DataType.boolean, False),
            ]
        ),
    )
