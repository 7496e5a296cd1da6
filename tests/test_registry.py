"""Runs that are listed, deleted, and registered under a name; the same on the command line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from recae.errors import ComparisonError, RecaeError
from recae.nn.training import Progress
from recae.running import Listener, Plan, Report, run
from recae.tracking import (
    MlflowTracker,
    Store,
    delete,
    evaluations,
    listed,
    load_run_model,
    load_run_recipe,
    register,
    to_delete,
)
from tests.test_cli import Recae, good, recae
from tests.test_tracking import AUTOREC, BIAS, RefusedError, children, free_port, recipe, stop_at

__all__ = ["recae"]


@pytest.fixture
def report(store: Store, tmp_path: Path) -> Report:
    """Two models, two seeds, in the store."""
    return run(recipe(tmp_path, AUTOREC, BIAS, seeds=[0, 1]), tracker=MlflowTracker(store))


# --- listing


def test_runs_are_listed_below_their_parents(store: Store, report: Report, tmp_path: Path) -> None:
    unseen = recipe(tmp_path, BIAS, split={"kind": "unseen-users", "test": 0.2})
    run(unseen, tracker=MlflowTracker(store))
    alone, parent, *below = listed(store)
    assert (alone.name, alone.parent, alone.experiment) == ("bias", None, unseen.experiment)
    assert (parent.name, parent.model, parent.seed) == ("tiny", None, None)
    assert [one.name for one in below] == ["bias-1", "autorec-dual-1", "bias-0", "autorec-dual-0"]
    assert {one.parent for one in below} == {parent.run_id}
    outcome, one = report.outcomes[0], below[-1]
    assert (one.run_id, one.model, one.seed) == (outcome.run_id, "autorec-dual", 0)
    assert one.rmse == pytest.approx(outcome.evaluation.metrics["rmse"])
    assert one.ndcg == pytest.approx(outcome.evaluation.metrics["ndcg_at_10"])
    assert one.seconds == pytest.approx(outcome.cost.seconds)
    assert [run.name for run in listed(store, unseen.experiment)] == ["bias"]
    with pytest.raises(ComparisonError, match="no experiment 'none'"):
        listed(store, "none")


def test_runs_without_results_are_listed(store: Store, tmp_path: Path) -> None:
    tiny = recipe(tmp_path, AUTOREC)
    with pytest.raises(RefusedError):
        run(tiny, tracker=MlflowTracker(store), listener=stop_at(4, "autorec-dual"))
    (only,) = listed(store)
    assert (only.status, only.rmse, only.seconds) == ("FAILED", None, None)


# --- deleting


def test_a_parent_takes_its_children_along(store: Store, report: Report, tmp_path: Path) -> None:
    run(recipe(tmp_path, BIAS), tracker=MlflowTracker(store))
    chosen = to_delete(store, ["tiny", "bias-0"])
    assert sorted(one.name for one in chosen) == [
        "autorec-dual-0",
        "autorec-dual-1",
        "bias-0",
        "bias-1",
        "tiny",
    ]
    delete(store, chosen)
    assert [one.name for one in listed(store)] == ["bias"]
    assert [one.model for one in evaluations(store)] == ["bias"]
    with pytest.raises(ComparisonError, match="no run 'autorec-dual'"):
        evaluations(store, ["autorec-dual"])
    client = MlflowClient(store.uri)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    assert len(client.search_logged_models(ids)) == 1


def test_a_name_stands_for_the_newest_run(store: Store, report: Report, tmp_path: Path) -> None:
    again = run(recipe(tmp_path, BIAS, seeds=[0, 1]), tracker=MlflowTracker(store))
    (chosen,) = to_delete(store, ["bias-0"])
    assert chosen.run_id == again.outcomes[0].run_id
    (named,) = to_delete(store, [f"runs:/{report.outcomes[1].run_id}"])
    assert named.run_id == report.outcomes[1].run_id
    with pytest.raises(RecaeError, match="no run 'nobody' in recae-runs"):
        to_delete(store, ["bias-0", "nobody"])


def test_its_checkpoint_goes_with_a_run(store: Store, tmp_path: Path) -> None:
    tiny = recipe(tmp_path, AUTOREC)
    with pytest.raises(RefusedError):
        run(tiny, tracker=MlflowTracker(store), listener=stop_at(20, "autorec-dual"))
    file = store.checkpoint(children(store)[0].info.run_id)
    assert file.exists()
    delete(store, to_delete(store, ["autorec-dual"]))
    assert not file.exists()
    with pytest.raises(RecaeError, match="nothing to resume"):
        run(tiny, tracker=MlflowTracker(store, resume=True))


def test_what_is_in_use_is_not_deleted(store: Store, tmp_path: Path) -> None:
    def on_progress(plan: Plan, progress: Progress) -> None:
        with pytest.raises(RecaeError, match="'autorec-dual' is still going on"):
            to_delete(store, ["autorec-dual"])

    tiny = recipe(tmp_path, AUTOREC)
    run(tiny, tracker=MlflowTracker(store), listener=Listener(on_progress=on_progress))
    register(store, "autorec-dual", "films")
    with pytest.raises(RecaeError, match="'autorec-dual' is registered as films/1"):
        to_delete(store, ["autorec-dual"])


# --- registering


def test_a_registered_model_is_found_by_its_alias(store: Store, report: Report) -> None:
    assert register(store, "bias-0", "films", "champion") == 1
    assert register(store, "autorec-dual-1", "films") == 2
    assert register(store, "bias-0", "films") == 1, "a run is one version"
    history = report.split.test.history

    def check(name: str, place: int) -> None:
        outcome = report.outcomes[place]
        found = load_run_model(store, f"models:/films{name}")
        np.testing.assert_array_equal(found.predict(history), outcome.model.predict(history))

    check("@champion", 1)
    check("/1", 1)
    check("/2", 2)
    assert register(store, "autorec-dual-1", "films", "champion") == 2
    check("@champion", 2)
    assert load_run_recipe(store, "models:/films@champion")["seeds"] == [0, 1]
    version = MlflowClient(store.uri).get_model_version("films", "2")
    assert version.run_id == report.outcomes[2].run_id
    rmse = report.outcomes[2].evaluation.metrics["rmse"]
    assert float(version.tags["test/rmse"]) == pytest.approx(rmse, rel=1e-5)


def test_what_is_not_registered(store: Store, report: Report) -> None:
    register(store, "bias-0", "films")
    for name in ("films@nobody", "films/7", "films/x", "films", "other/1", "", "films/1/2", "@"):
        told = f"no model models:/{name} in recae-runs.* registered are films"
        with pytest.raises(ComparisonError, match=told):
            load_run_model(store, f"models:/{name}")


def test_what_cannot_be_registered(store: Store, report: Report) -> None:
    with pytest.raises(RecaeError, match="'bias' stands for 2 runs"):
        register(store, "bias", "films")
    with pytest.raises(RecaeError, match="no run 'nobody'"):
        register(store, "nobody", "films")
    with pytest.raises(RecaeError, match=r"^Version alias name 'v1' is reserved\.$"):
        register(store, "bias-0", "films", "v1")
    with pytest.raises(RecaeError, match="name"):
        register(store, "bias-0", "a/b")


# --- on the command line


def test_track(recae: Recae, store: Store, report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "autorec-dual-1" in good(recae("track", "list"))
    told = json.loads(good(recae("track", "list", "--json")))
    assert [one["name"] for one in told][:2] == ["tiny", "bias-1"]
    assert told[1]["rmse"] == pytest.approx(report.outcomes[3].evaluation.metrics["rmse"])
    out = good(recae("track", "register", "bias-0", "--name", "films", "--alias", "best"))
    assert out == "models:/films/1\nmodels:/films@best\n"
    for model in ("models:/films@best", f"runs:/{report.outcomes[1].run_id}"):
        assert json.loads(good(recae("recommend", model, "--rate", "3=5", "--json")))
        assert json.loads(good(recae("recommend", model, "--user", "3", "--json")))
    code, _, err = recae("recommend", "models:/films@none", "--rate", "3=5")
    assert code == 2
    assert err.startswith("recae: there is no model models:/films@none in recae-runs")
    monkeypatch.setattr(sys, "stdin", io.StringIO("no\n"))
    code, out, err = recae("track", "delete", "autorec-dual-0")
    assert code == 1
    assert "Delete them from recae-runs?" in out
    assert "autorec-dual-0" in good(recae("track", "list"))
    assert "deleted: 1;" in good(recae("track", "delete", "autorec-dual-0", "--yes"))
    assert "autorec-dual-0" not in good(recae("track", "list"))


def test_track_sync(
    recae: Recae, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert good(recae("track", "sync")) == "nothing waiting for recae-runs\n"
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address)
        run(recipe(tmp_path, BIAS), tracker=MlflowTracker(store))
        code, out, err = recae("track", "sync")
        assert (code, out) == (2, "")
        assert err == f"recae: the tracking store {address} cannot be used: it does not answer\n"
    code, out, err = recae("track", "sync")
    assert (code, out) == (2, "nothing waiting for recae-runs\n")
    assert err.startswith(f"recae: other runs in recae-runs/outbox were meant for {address}")
    code, _, err = recae("track", "list")
    assert "waiting in recae-runs/outbox: 1 (recae track sync)" in err
    out = good(recae("track", "sync", "--here"))
    assert out.startswith("bias: finished, ")
    assert good(recae("track", "list", "--json"))
