"""The tracking page in a browser: `recae ui` serves it, and nothing leaves the machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from playwright.sync_api import Page, expect, sync_playwright

from recae.errors import RecaeError
from recae.running import run
from recae.tracking import MlflowTracker, Store, compare_url, evaluations, open_page
from recae.tracking import page as page_module
from recae.tracking.views import save_view
from tests.test_tracking import AUTOREC, BIAS, recipe

QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update"]

PORT = 5010

# A shell that starts the tests in the background has them ignore Ctrl-C; a terminal does not.
OPEN = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from recae.tracking import Store, open_page
open_page(Store(), port={PORT}, open_browser=False)
"""

# As they stand on the screen: the grid moves columns without moving their elements.
HEADERS_ARE = """wanted => {
    const headers = [...document.querySelectorAll(".ag-header-cell[col-id]")];
    const left = header => header.getBoundingClientRect().x;
    const shown = headers.sort((a, b) => left(a) - left(b)).map(each => each.innerText.trim());
    const first = shown.indexOf(wanted[0]);
    return first > 0 && shown.slice(first, first + wanted.length).join() === wanted.join();
}"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return Store()


@pytest.fixture
def link(store: Store, tmp_path: Path) -> Iterator[str]:
    """The page on two runs, until the end of the test."""
    run(recipe(tmp_path, AUTOREC, BIAS), tracker=MlflowTracker(store))
    with opened(tmp_path, signal.SIGINT, 0) as link:
        yield link


@contextmanager
def opened(folder: Path, number: signal.Signals, returncode: int) -> Iterator[str]:
    """The page's link; afterwards the page gets the signal, and none of its processes is left."""
    page = subprocess.Popen([sys.executable, "-c", OPEN], stdout=subprocess.PIPE, text=True)
    assert page.stdout is not None
    with page.stdout:
        link = page.stdout.readline().strip()
        assert processes_with(str(folder)), "the server names the store it serves"
        yield link
        page.send_signal(number)
        assert page.wait(timeout=30) == returncode
    assert not processes_with(str(folder))


def processes_with(text: str) -> list[str]:
    """Command lines of living processes that mention `text`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if text in command:
            found.append(command)
    return found


@pytest.fixture
def page() -> Iterator[Page]:
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        pytest.skip("there is no Chromium on the path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=QUIET)
        yield browser.new_page(viewport={"width": 2000, "height": 1000})
        browser.close()


# --- the view


class _Writes(MlflowClient):
    """A client that counts what it writes."""

    count = 0

    def set_experiment_tag(self, *args: Any, **kwargs: Any) -> None:
        self.count += 1
        super().set_experiment_tag(*args, **kwargs)


def kept(client: MlflowClient) -> dict[str, Any]:
    """The view of the first experiment, as newer pages and older ones read it."""
    saved = json.loads(client.get_experiment("1").tags["mlflow.sharedViewState.recae"])
    view: dict[str, Any] = json.loads(saved["state"])
    assert {"name": "recae"} | view == {key: saved[key] for key in ("name", *view)}
    return view


def test_the_view_of_an_experiment_is_written_when_it_changes(store: Store, tmp_path: Path) -> None:
    run(recipe(tmp_path, {"kind": "popular"}), tracker=MlflowTracker(store))
    client = _Writes(store.uri)
    for _ in range(2):
        assert save_view(client, client.get_experiment("1")) == "recae"
    assert client.count == 1
    ranked = kept(client)
    assert ranked["selectedColumns"][0] == ranked["orderByKey"] == "metrics.`test/ndcg_at_10`"
    assert not ranked["orderByAsc"], "the best one is the highest"
    assert [chart["metricKey"] for chart in ranked["compareRunCharts"]] == ["test/ndcg_at_10"]
    run(recipe(tmp_path, BIAS), tracker=MlflowTracker(store))
    save_view(client, client.get_experiment("1"))
    assert client.count == 2
    assert kept(client)["orderByKey"] == "metrics.`test/rmse`"
    assert kept(client)["orderByAsc"]


def test_what_measured_nothing_is_shown_by_time(store: Store) -> None:
    client = store.open(create=True)
    client.create_run(client.create_experiment("failed"))
    save_view(client, client.get_experiment("1"))
    assert kept(client)["orderByKey"] == "attributes.start_time"
    assert "compareRunCharts" not in kept(client)


# --- what is seen


@pytest.mark.slow
def test_runs_are_listed_with_what_matters_on_this_machine_alone(
    link: str, page: Page, tmp_path: Path
) -> None:
    hosts: list[str | None] = []
    page.on("request", lambda request: hosts.append(urlsplit(request.url).hostname))
    page.goto(link)
    for name in ("autorec-dual", "bias", "tiny"):
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible(timeout=60_000)
    columns = ["test/rmse", "test/mae", "test/ndcg_at_10", "fit_seconds", "peak_memory_mb"]
    columns += ["kind", "seed", "k", "Models"]
    page.wait_for_function(HEADERS_ARE, arg=columns, timeout=60_000)
    expect(page.get_by_text("Sort: test/rmse")).to_be_visible()
    expect(page.get_by_role("button", name="recae", exact=True)).to_be_visible()
    page.screenshot(path=tmp_path / "runs.png")
    assert len(hosts) > 20
    assert set(hosts) == {"127.0.0.1"}


@pytest.mark.slow
def test_the_error_of_validation_is_drawn_by_step(link: str, page: Page, tmp_path: Path) -> None:
    page.goto(f"{link}&compareRunsMode=CHART")
    expect(page.get_by_text("What matters", exact=True)).to_be_visible(timeout=60_000)
    cards = page.get_by_test_id("experiment-view-compare-runs-card")
    for number, name in enumerate(("val/rmse", "train/rmse", "test/rmse", "test/ndcg_at_10")):
        expect(cards.nth(number)).to_contain_text(name)
    curve = cards.first
    expect(curve.locator(".scatterlayer path.point")).to_have_count(20)
    expect(curve.locator(".xtitle")).to_have_text("Step")
    expect(cards.nth(2).locator(".barlayer .point")).to_have_count(2)
    page.screenshot(path=tmp_path / "charts.png")


@pytest.mark.slow
def test_two_runs_side_by_side_and_the_page_of_a_model(
    link: str, store: Store, page: Page, tmp_path: Path
) -> None:
    found = evaluations(store)
    base = link.partition("/#")[0]
    page.goto(compare_url(found, base))
    expect(page.get_by_text("Comparing 2 Runs from 1 Experiment")).to_be_visible(timeout=60_000)
    for one in found:
        expect(page.get_by_role("link", name=one.run_id)).to_be_visible()
        expect(page.get_by_role("cell", name=one.name, exact=True).first).to_be_visible()
    page.screenshot(path=tmp_path / "comparison.png")
    autorec = next(one for one in found if one.name == "autorec-dual")
    models = MlflowClient(store.uri).search_logged_models([autorec.experiment_id])
    (model,) = (each for each in models if each.source_run_id == autorec.run_id)
    page.goto(
        link.partition("/runs?")[0] + f"/models/{model.model_id}?workflowType=machine_learning"
    )
    for text in ("test/rmse", str(autorec.evaluation.metrics["rmse"]), "activation", "tanh"):
        expect(page.get_by_text(text, exact=True).first).to_be_visible(timeout=60_000)
    page.screenshot(path=tmp_path / "model.png")


# --- what is served


@pytest.mark.slow
def test_a_port_in_use_and_a_sigterm(store: Store, tmp_path: Path) -> None:
    run(recipe(tmp_path, BIAS), tracker=MlflowTracker(store))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", PORT))
        other.listen()
        with opened(tmp_path, signal.SIGTERM, 143) as link:
            assert urlsplit(link).port != PORT


@pytest.mark.slow
def test_the_page_of_a_server_is_opened(
    link: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    base = link.partition("/#")[0]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", base.replace("//", "//somebody:secret@"))
    other = recipe(tmp_path, BIAS, split={"kind": "unseen-users"})
    run(other, tracker=MlflowTracker(Store()))
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    open_page(Store())
    open_page(Store(), "ratings.csv random")
    monkeypatch.setattr(page_module, "save_view", refuse)
    open_page(Store())
    newest, named, plain = opened
    assert capsys.readouterr().out.endswith("\n".join(opened) + "\n")
    assert named == link
    assert newest == link.replace("experiments/1/", "experiments/2/")
    assert plain == newest.removesuffix("&viewStateShareKey=recae")
    assert caplog.messages == ["the page opens without its columns: you may only read"]


def refuse(*_: object) -> str:
    raise MlflowException("you may only read")


def test_a_server_of_another_kind_has_another_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks://somewhere")
    with pytest.raises(RecaeError, match=r"which has the page: databricks://somewhere$"):
        open_page(Store())


def test_a_page_on_nothing_is_refused(store: Store) -> None:
    with pytest.raises(RecaeError, match="there are no tracked runs in recae-runs"):
        open_page(store)


def test_an_experiment_that_is_not_there_is_refused(store: Store, tmp_path: Path) -> None:
    run(recipe(tmp_path, BIAS), tracker=MlflowTracker(store))
    with pytest.raises(RecaeError, match="no tracked runs of an experiment 'other' in recae-runs"):
        open_page(store, "other")
