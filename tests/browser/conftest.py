"""A real Chromium, without a screen.

Without one the tests are skipped, and say so; with DRIVEBUILD_TEST_BROWSER=required, as in `./quickstart test` and CI,
that is a failure instead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

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
        browser = playwright.chromium.launch(executable_path=path, args=words)
        yield browser
        browser.close()
