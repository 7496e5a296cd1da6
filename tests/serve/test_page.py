"""The page in a browser: by keyboard, on a phone, in the dark, without eyes, and alone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from recae.serve.reloading import Served
from recae.serve.sources import Folder
from tests.serve.conftest import HTML, serving
from tests.test_ui import QUIET

pytestmark = pytest.mark.slow

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
TITLES = "() => [...document.querySelectorAll('#list .title')].map(each => each.textContent)"
OUTSIDE = """
() => [...document.querySelectorAll("body *")].filter(each =>
    !each.closest("svg, .unseen, .skip") &&
    each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML.slice(0, 80))
"""


@pytest.fixture(scope="module")
def port(folders: tuple[Path, Path]) -> Iterator[int]:
    with serving(*(Served(Folder(each), each.name) for each in folders)) as port:
        yield port


@pytest.fixture(params=["light", "dark"])
def page(port: int, request: pytest.FixtureRequest) -> Iterator[Page]:
    with opened(port, request.param) as page:
        yield page


@contextmanager
def opened(port: int, scheme: Literal["light", "dark"]) -> Iterator[Page]:
    """The page; afterwards nothing was said in the console, or asked of another machine."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on the path")
    heard: list[str] = []
    hosts: set[str | None] = set()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        page = browser.new_page(viewport=WIDE, color_scheme=scheme)
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("dialog", lambda dialog: (heard.append("a dialog"), dialog.dismiss()))
        page.on("request", lambda asked: hosts.add(urlsplit(asked.url).hostname))
        page.goto(f"http://127.0.0.1:{port}/")
        expect(page.locator("#status")).to_contain_text("10 recommendations", timeout=30_000)
        yield page
        assert page.context.cookies() == []
        browser.close()
    # A browser tells of refusals, which one test asks for.
    assert [each for each in heard if "status of 422" not in each] == []
    assert hosts == {"127.0.0.1"}


def rate(page: Page, typed: str, stars: int) -> None:
    """By keyboard alone: so many half stars."""
    page.get_by_role("combobox", name="Search a title").focus()
    page.keyboard.type(typed)
    expect(page.locator("#found [role=option]").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    for _ in range(stars):
        page.keyboard.press("ArrowRight")


def test_the_list_follows_ratings_given_by_keyboard(page: Page) -> None:
    before = page.evaluate(TITLES)
    search = page.get_by_role("combobox", name="Search a title")
    search.focus()
    page.keyboard.type("heat")
    expect(search).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowDown")
    chosen = page.locator("#found [aria-selected=true]")
    expect(chosen).to_have_count(1)
    assert search.get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    page.keyboard.press("Escape")
    expect(search).to_have_attribute("aria-expanded", "false")
    search.fill("")
    rate(page, "alien", 9)
    slider = page.get_by_role("slider", name="Stars for Alien (1979)")
    expect(slider).to_be_focused()
    expect(slider).to_have_attribute("aria-valuetext", "4.5 of 5 stars")
    expect(page.locator("#status")).to_have_text("10 recommendations")
    expect(page.locator("#list .title").first).not_to_have_text(before[0])
    assert "Alien 1979" not in page.evaluate(TITLES)
    because = page.locator(".because").first
    expect(because).to_have_text(re.compile(r"^because you gave Alien 4\.5: \+\d\.\d\d$"))
    assert page.locator("#status").get_attribute("role") == "status"
    rated = page.evaluate(TITLES)
    page.reload()
    expect(page.locator("#status")).to_have_text("10 recommendations")
    assert page.evaluate(TITLES) == rated
    page.get_by_role("button", name="Clear all").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("nothing is rated")
    assert page.evaluate(TITLES) == before


def test_a_title_is_shown_as_text(page: Page) -> None:
    rate(page, "bold", 10)
    name = HTML.removesuffix(" (1999)")
    expect(page.locator("#rated .name")).to_have_text(f"{name} 1999")
    expect(page.locator(".because").first).to_contain_text(f"because you gave {name} 5")
    assert page.locator("main img").count() == page.locator("main b").count() == 0


def test_rules_change_the_list(page: Page) -> None:
    before = page.evaluate(TITLES)
    page.locator("summary").click()
    page.get_by_role("checkbox", name="Comedy").check()
    expect(page.locator("#list .what .quiet").nth(9)).to_have_text("Comedy")
    page.get_by_label("Years from").fill("2039")
    expect(page.locator("#status")).to_contain_text("Nothing is left to recommend")
    page.get_by_role("button", name="No filters").click()
    expect(page.locator("#list .title")).to_have_text(before)
    page.get_by_label("Fame").focus()
    page.keyboard.press("End")
    expect(page.locator("#list .title").first).to_contain_text("Bold")
    page.get_by_label("Show").select_option("5")
    expect(page.locator("#status")).to_contain_text("5 recommendations")


def test_two_models_side_by_side(page: Page) -> None:
    rate(page, "alien", 9)
    page.get_by_role("tab", name="One list").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Compare two models")).to_be_focused()
    lists = page.get_by_role("list", name=re.compile("Recommendations of"))
    expect(lists).to_have_count(2)
    expect(page.locator("#list")).to_be_hidden()
    both = page.locator(".side").first.locator(".both").count()
    expect(page.locator("#status")).to_have_text(f"10 recommendations each, {both} of them in both")
    assert page.locator(".side").last.locator(".both").count() == both
    assert page.locator(".side").first.locator(".only").count() == 10 - both


def test_proposals_follow_from_answers(page: Page) -> None:
    heading = page.get_by_role("heading", name="Most telling to rate next")
    expect(heading).to_be_visible()
    proposed = page.locator("#known .name")
    expect(proposed).to_have_count(6)
    first = proposed.all_text_contents()
    page.locator("#known input").first.focus()
    page.keyboard.press("End")
    expect(page.locator("#rated .name")).to_have_text([first[0]])
    expect(page.locator("#rated input")).to_be_focused()
    expect(proposed).to_have_count(6)
    second = proposed.all_text_contents()
    assert first[0] not in second
    # What is proposed again stays in its place.
    stayed = [each for each in first if each in second]
    assert second[: len(stayed)] == stayed
    seen = {first[0], *second}
    others = page.get_by_role("button", name="Others")
    for _ in range(5):
        before = proposed.all_text_contents()
        others.press("Enter")
        expect(proposed).not_to_have_text(before)
        expect(others).to_be_focused()
        shown = proposed.all_text_contents()
        assert not seen & set(shown)
        seen |= set(shown)
    # After all 40 have been seen they come again, but never what is rated.
    for _ in range(2):
        before = proposed.all_text_contents()
        others.press("Enter")
        expect(proposed).not_to_have_text(before)
        assert first[0] not in proposed.all_text_contents()
    assert set(proposed.all_text_contents()) <= seen
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_what_waits_for_its_stars_is_not_proposed(page: Page) -> None:
    first = page.locator("#known .name").all_text_contents()
    page.get_by_role("combobox", name="Search a title").fill(first[0])
    page.locator("#found [role=option]").first.click()
    expect(page.locator("#rated .name")).to_have_text([first[0]])
    page.get_by_role("button", name="Others").click()
    expect(page.locator("#known .name").first).not_to_have_text(first[1])
    for _ in range(8):
        assert first[0] not in page.locator("#known .name").all_text_contents()
        with page.expect_response("**/api/questions"):
            page.get_by_role("button", name="Others").click()


def test_a_model_without_codes_proposes_what_is_well_known(folders: tuple[Path, Path]) -> None:
    with serving(Served(Folder(folders[1]), "popular")) as port, opened(port, "light") as page:
        expect(page.get_by_role("heading", name="Well known, to you too?")).to_be_visible()
        proposed = page.locator("#known .name")
        expect(proposed).to_have_count(6)
        first = proposed.all_text_contents()
        page.locator("#known input").first.press("End")
        expect(page.locator("#rated .name")).to_have_text([first[0]])
        expect(proposed).to_have_count(6)
        assert proposed.all_text_contents()[:5] == first[1:]


def test_a_server_that_is_gone_is_told(page: Page) -> None:
    page.route("**/api/recommend", lambda route: route.fulfill(status=422, json={"error": "No."}))
    page.get_by_label("Fame").press("ArrowRight")
    expect(page.get_by_role("alert")).to_contain_text("No.")
    page.unroute("**/api/recommend")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text("10 recommendations")


def test_the_map_is_said_in_words(page: Page) -> None:
    rate(page, "alien", 9)
    drawn = page.get_by_role("img", name=re.compile("Map of 40 titles. Closest to you on it: "))
    expect(drawn).to_be_visible()
    expect(page.locator("#plot .you")).to_have_count(1)
    expect(page.locator("#plot .theirs")).to_have_count(10)


def test_axe_finds_nothing_and_a_phone_need_not_scroll_sideways(page: Page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    rate(page, "bold", 9)
    rate(page, "film", 3)
    page.locator("summary").click()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (background == "rgb(18, 24, 26)") == dark
    for size in (WIDE, PHONE):
        page.set_viewport_size(size)
        for tab in ("Compare two models", "One list"):
            page.get_by_role("tab", name=tab).click()
            expect(page.locator("[aria-busy]")).to_have_count(0)
            assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
            assert page.evaluate(OUTSIDE) == []
            found = axe.Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
    page.goto(page.url + "docs")
    expect(page.get_by_role("heading", name="/api/recommend")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
