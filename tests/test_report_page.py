"""The report in a browser: still, whole, readable on a phone, in the dark, and without eyes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.test_report import kept, page
from tests.test_ui import QUIET

__all__ = ["kept", "page"]

OUTSIDE = """
() => [...document.querySelectorAll("body *")].filter(each => !each.closest(".wide") &&
    each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML.slice(0, 80))
"""
NAMELESS = """
() => [...document.querySelectorAll("table")].flatMap(table => [
    ...[...table.querySelectorAll("th")].filter(th => !th.scope),
    ...[...table.querySelectorAll("tr")].filter(tr => !tr.querySelector("th"))
]).map(each => each.outerHTML.slice(0, 80))
"""
CONTRAST = """
() => {
    const light = text => {
        const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = each => {
        for (; each; each = each.parentElement) {
            const colour = getComputedStyle(each).backgroundColor;
            if (colour !== "rgba(0, 0, 0, 0)") return colour;
        }
    };
    return [...document.querySelectorAll("body *")]
        .filter(each => [...each.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
        .map(each => {
            const [a, b] = [light(getComputedStyle(each).color), light(behind(each))];
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        }).reduce((a, b) => Math.min(a, b));
}
"""


@pytest.fixture(params=["light", "dark"])
def shown(page: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    """The report, opened from a file; afterwards nothing was said or asked for."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on the path")
    path = tmp_path / "report.html"
    path.write_text(page, "utf-8")
    heard: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        size = {"width": 1280, "height": 900}
        opened = browser.new_page(viewport=size, color_scheme=request.param)
        opened.on("console", lambda message: heard.append(message.text))
        opened.on("pageerror", lambda error: heard.append(str(error)))
        opened.on("request", lambda request: heard.append(request.url))
        opened.goto(path.as_uri())
        yield opened
        browser.close()
    assert [each for each in heard if not each.startswith("data:")] == [path.as_uri()]


@pytest.mark.slow
def test_the_page_fits_and_can_be_read(shown: Page) -> None:
    for width in (1280, 390):
        shown.set_viewport_size({"width": width, "height": 844})
        assert shown.evaluate("document.documentElement.scrollWidth") == width
        assert shown.evaluate(OUTSIDE) == []
    assert shown.evaluate(CONTRAST) >= 4.5
    assert shown.evaluate("[...document.images].every(each => each.naturalWidth > 0)")


@pytest.mark.slow
def test_the_page_makes_sense_without_eyes(shown: Page) -> None:
    assert shown.evaluate("document.documentElement.lang") == "en"
    assert shown.locator("main").count() == shown.locator("h1").count() == 1
    assert shown.evaluate(NAMELESS) == []
    labels = [each.get_attribute("aria-label") for each in shown.get_by_role("region").all()]
    assert all(labels)
    assert len(set(labels)) == len(labels)
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.getAttribute('aria-label')") == "Verdicts"
    shown.get_by_text("the numbers").first.click()
    assert shown.get_by_role("region", name="RMSE by activity, numbers").is_visible()


@pytest.mark.slow
def test_axe_finds_nothing(shown: Page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    shown.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    for width in (1280, 390):
        shown.set_viewport_size({"width": width, "height": 844})
        found = axe.Axe().run(shown)
        assert found.violations_count == 0, found.generate_report()
