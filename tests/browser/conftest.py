"""A real Chromium, without a screen.

Without one the tests are skipped, and say so; with DRIVEBUILD_TEST_BROWSER=required, as in `./quickstart test` and CI,
that is a failure instead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browser import DESK, Open, until

PATIENCE = 180_000
"""Milliseconds, for a browser on a busy machine."""
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Return the browser, driven by playwright."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        reason = f"NO BROWSER: none of {', '.join(NAMES)} is installed (apt-get install chromium)"
        if os.environ.get("DRIVEBUILD_TEST_BROWSER") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Root in a container has no sandbox of its own, and /dev/shm is small there; the pages are ours.
        words = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=path, args=words, timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any) -> Iterator[Open]:
    """Return a function that opens a page and watches it; at the end nothing must have been said or asked for."""
    said: list[str] = []
    asked: list[str] = []
    contexts: list[Any] = []

    def look(path: Path, **words: Any) -> Any:
        context = chromium.new_context(**{**DESK, **words})
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: said.append(f"error: {error}"))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(path.as_uri())
        until(tab, "document.documentElement.dataset.ready")
        assert asked == [path.as_uri()]
        return tab

    yield look
    for context in contexts:
        context.close()
    assert [text for text in said if not text.startswith("info: [bokeh")] == []
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
