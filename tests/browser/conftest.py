"""A real Chromium against a stand-in of the gateway's API that serves the real page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.cli.stub_gateway import Stub, serving

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def city() -> Iterator[Stub]:
    with serving() as stub:
        yield stub


@pytest.fixture
def page(chromium: Browser, city: Stub) -> Iterator[Page]:
    """The page at 1024 x 768, loaded; a test fails if the page's script failed or spoke of a problem."""
    context = chromium.new_context(viewport={"width": 1024, "height": 768}, locale="en-GB")
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    city.door = True
    opened.goto(city.url)
    opened.wait_for_selector("[data-department]")
    yield opened
    context.close()
    # The browser itself notes every refusal and every dead server; those are what some tests are about.
    assert [p for p in problems if not p.startswith("Failed to load resource")] == []
