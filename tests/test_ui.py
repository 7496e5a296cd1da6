"""The tracking page in a browser: `recae ui` serves it, and nothing leaves the machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from recae.errors import RecaeError
from recae.running import run
from recae.tracking import MlflowTracker, Store, compare_url, evaluations, open_page
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
        yield browser.new_page(viewport={"width": 1400, "height": 900})
        browser.close()


@pytest.mark.slow
def test_runs_are_listed_and_compared_on_this_machine_alone(
    link: str, store: Store, page: Page, tmp_path: Path
) -> None:
    hosts: list[str | None] = []
    page.on("request", lambda request: hosts.append(urlsplit(request.url).hostname))
    page.goto(link)
    expect(page.get_by_role("link", name="tiny")).to_be_visible(timeout=60_000)
    page.get_by_role("gridcell").get_by_role("button").first.click()
    for name in ("autorec-dual", "bias"):
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
    page.screenshot(path=tmp_path / "runs.png")
    found = evaluations(store)
    page.goto(compare_url(found, link.partition("/#")[0]))
    expect(page.get_by_text("Comparing 2 Runs from 1 Experiment")).to_be_visible(timeout=60_000)
    for one in found:
        expect(page.get_by_role("link", name=one.run_id)).to_be_visible()
    page.screenshot(path=tmp_path / "comparison.png")
    assert len(hosts) > 20
    assert set(hosts) == {"127.0.0.1"}


@pytest.mark.slow
def test_a_port_in_use_and_a_sigterm(store: Store, tmp_path: Path) -> None:
    run(recipe(tmp_path, BIAS), tracker=MlflowTracker(store))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", PORT))
        other.listen()
        with opened(tmp_path, signal.SIGTERM, 143) as link:
            assert urlsplit(link).port != PORT


def test_a_server_has_a_page_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://somebody:secret@tracking.example")
    with pytest.raises(RecaeError, match=r"which has the page: https://tracking.example$"):
        open_page(Store())


def test_a_page_on_nothing_is_refused(store: Store) -> None:
    with pytest.raises(RecaeError, match="there are no tracked runs in recae-runs"):
        open_page(store)
