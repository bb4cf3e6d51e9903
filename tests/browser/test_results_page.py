"""The results page in a real browser: silent, offline, usable, on a desk and on a phone, by day, by night, on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.browser import DESK, PHONE, PLOTS, Open, plots, until
from support.cli import drivebuild
from support.training import run_folder, step_line, training

HOSTILE = "</script><img src=http://localhost:9/x onerror=window.hit=1>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page about two whole trainings."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [
        run_folder(
            folder, "streampetr", "train-8p", training("streampetr", 24, slower=slower), name=f"2026112{day}T080000Z"
        )
        for day, slower in ((1, 1.0), (2, 0.8))
    ]
    path = folder / "page.html"
    result = drivebuild("results", *map(str, runs), "--html", str(path))
    assert result.exit_code == 0, result.output
    return path


def test_it_draws_and_fits(opened: Open, page: Path) -> None:
    tab = opened(page)
    assert plots(tab) == ["Loss", "Step time", "Learning rate"]
    assert tab.locator("canvas").count() >= 3
    assert "28 % slower" in tab.inner_text("body")


def test_a_phone_scrolls_only_down(opened: Open, page: Path) -> None:
    tab = opened(page, **PHONE)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 375
    for element in tab.query_selector_all("canvas"):
        box = element.bounding_box()
        assert box is None or box["x"] + box["width"] <= 375
    active = tab.evaluate(
        f"{PLOTS}.map(plot => plot.toolbar.tools.filter(tool => tool.active && "
        "[tool.event_type].flat().includes('pan')).length)"
    )
    assert active == [0, 0, 0], "a finger scrolls the page"


def _middle(tab: Any, number: int) -> tuple[float, float, float]:
    """Return left, right and the middle's height of a plot's frame on the screen."""
    view = tab.evaluate(
        f"(() => {{ const view = Bokeh.index.find_one({PLOTS}[{number}]); view.el.scrollIntoView();"
        "const box = view.el.getBoundingClientRect(), frame = view.frame.bbox;"
        "return [box.x + frame.left, box.x + frame.right, box.y + (frame.top + frame.bottom) / 2]; })()"
    )
    return float(view[0]), float(view[1]), float(view[2])


def test_dragging_zooms_all_curves_and_reset_goes_back(opened: Open, page: Path) -> None:
    tab = opened(page)
    before = tab.evaluate(f"[{PLOTS}[0].x_range.start, {PLOTS}[0].x_range.end]")
    left, right, height = _middle(tab, 0)
    tab.mouse.move(left + (right - left) * 0.3, height)
    tab.mouse.down()
    tab.mouse.move(left + (right - left) * 0.5, height, steps=5)
    tab.mouse.up()
    until(tab, f"{PLOTS}[0].x_range.end < {before[1]} * 0.7")
    ranges = tab.evaluate(f"{PLOTS}.map(plot => plot.x_range.id)")
    assert len(set(ranges)) == 1
    tab.evaluate(f"Bokeh.index.find_one({PLOTS}[0]).reset()")
    until(tab, f"{PLOTS}[0].x_range.end > {before[1]} * 0.9")


def test_pointing_shows_the_figures(opened: Open, page: Path) -> None:
    tab = opened(page)
    left, right, height = _middle(tab, 0)
    column = (left + right) / 2
    found = ""
    for offset in range(-110, 111, 3):
        tab.mouse.move(column, height + offset)
        found = tab.evaluate(
            "(() => { const seen = []; const walk = node => { if (node.shadowRoot) walk(node.shadowRoot);"
            "if (node.classList && node.classList.contains('bk-Tooltip')) seen.push(text(node));"
            "for (const child of node.children || []) walk(child); };"
            "const text = node => (node.shadowRoot || node).textContent;"
            "walk(document.body); return seen.join(' '); })()"
        )
        if "step" in found and "loss" in found:
            break
    assert "step" in found
    assert "loss" in found


def test_a_click_in_the_legend_hides_a_curve(opened: Open, page: Path) -> None:
    tab = opened(page)
    _middle(tab, 0)
    place = tab.evaluate(
        f"(() => {{ const plot = {PLOTS}[0], box = Bokeh.index.find_one(plot).el.getBoundingClientRect();"
        "const legend = Bokeh.index.find_one(plot.below.find(part => part.type === 'Legend')).bbox;"
        "return [box.x + legend.left + 30, box.y + legend.top + 12]; })()"
    )
    tab.mouse.click(*place)
    until(tab, f"{PLOTS}[0].renderers.some(line => !line.visible)")


def test_day_night_and_paper(opened: Open, page: Path) -> None:
    tab = opened(page)
    colour = f"{PLOTS}[0].title.text_color"
    back = "getComputedStyle(document.body).backgroundColor"
    assert (tab.evaluate(colour), tab.evaluate(back)) == ("#1f2937", "rgb(255, 255, 255)")
    tab.emulate_media(color_scheme="dark")
    until(tab, f"{colour} === '#e5e7eb'")
    assert tab.evaluate(back) == "rgb(17, 24, 39)"
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(colour) == "#1f2937", "paper is white at night, too"
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.evaluate(back) == "rgb(255, 255, 255)"
    assert tab.pdf()[:5] == b"%PDF-"


def test_hostile_names_do_nothing(opened: Open, tmp_path: Path) -> None:
    lines = [f"{step_line('panoocc', 1, step)}, {HOSTILE}: 0.5, $$x$$: 1.0, @x{{safe}}: 2.0" for step in (50, 100, 150)]
    lines += ["Traceback (most recent call last):", f"ValueError: {HOSTILE}", "end"]
    folder = run_folder(tmp_path, "panoocc", "train-8p", lines, name="<img src=x onerror=window.hit=1>", host=HOSTILE)
    path = tmp_path / "page.html"
    assert drivebuild("results", str(folder), "--html", str(path)).exit_code == 0
    tab = opened(path)
    assert plots(tab)[-1] == "Other figures"
    left, right, height = _middle(tab, 3)
    for offset in range(-100, 101, 10):
        tab.mouse.move((left + right) / 2, height + offset)
    assert tab.evaluate("window.hit") is None
    assert tab.locator("img").count() == 0
    assert HOSTILE in tab.inner_text("body")


def test_the_policy_stops_what_gets_past_the_escaping(chromium: Any, page: Path, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    evil = "<script>window.hit=1</script><img src=x onerror=window.hit=1><img src=http://localhost:9/x>"
    path.write_text(page.read_text(encoding="utf-8").replace("<h2>Notes</h2>", evil), encoding="utf-8")
    context = chromium.new_context(**DESK)
    asked: list[str] = []
    tab = context.new_page()
    tab.on("requestfinished", lambda request: asked.append(request.url))
    tab.goto(path.as_uri())
    until(tab, "document.documentElement.dataset.ready")
    assert tab.evaluate("window.hit") is None
    assert [url for url in asked if url.startswith("http")] == []
    context.close()
