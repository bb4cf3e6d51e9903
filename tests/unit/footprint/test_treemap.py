"""The layout of the treemap, and the page that it is on."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.footprint.layers import Layer
from builder.footprint.measure import Footprint, Part
from builder.footprint.page import render_page
from builder.footprint.report import notes
from builder.footprint.together import together
from builder.footprint.treemap import GAP, HEIGHT, WIDTH, Box, Node, boxes, nodes_of
from builder.plan.make import make_plan
from builder.plan.stage import Plan
from builder.recipe.types import Catalog

HOSTILE = '<script>alert("1")</script>'


def footprint(*parts: Part) -> Footprint:
    layers = (Layer(id="0", size=sum(part.bytes for part in parts), instruction=f"RUN {HOSTILE}", stage="torch"),)
    return Footprint(image=f"x/{HOSTILE}", id="1", size=layers[0].size, layers=layers, parts=parts)


def part(component: str, name: str, count: int, hidden: int = 0) -> Part:
    return Part(component=component, name=name, layer=0, files=1, bytes=count, byte_code=0, hidden=hidden)


@pytest.fixture
def plan(catalog: Catalog) -> Plan:
    return make_plan(catalog, "streampetr", platform="debian-12-cpu", variant="stock", options={})


def overlap(one: Box, other: Box) -> bool:
    return (
        one.x + one.width > other.x + 0.01
        and other.x + other.width > one.x + 0.01
        and one.y + one.height > other.y + 0.01
        and other.y + other.height > one.y + 0.01
    )


@given(st.lists(st.integers(1, 10**10), min_size=1, max_size=25))
def test_areas_are_in_the_ratio_of_bytes_and_do_not_overlap(sizes: list[int]) -> None:
    nodes = [Node(name=str(number), bytes=size) for number, size in enumerate(sorted(sizes, reverse=True))]
    found = boxes(nodes)
    assert len(found) == len(nodes)
    for box in found:
        assert box.width * box.height == pytest.approx(WIDTH * HEIGHT * box.node.bytes / sum(sizes), rel=1e-6)
        assert box.x >= -0.01
        assert box.x + box.width <= WIDTH + 0.01
        assert box.y >= -0.01
        assert box.y + box.height <= HEIGHT + 0.01
    assert not any(overlap(one, other) for one, other in combinations(found, 2) if min(one.width, other.width) > 0.1)


def test_parts_lie_in_their_component_below_its_name() -> None:
    inner = tuple(Node(name=f"part {number}", bytes=100 - number) for number in range(9))
    found = boxes([Node(name="one", bytes=sum(node.bytes for node in inner), inner=inner), Node(name="two", bytes=90)])
    outer = found[0]
    assert outer.outer
    assert outer.label == "one"
    for box in found[1:10]:
        assert box.top == outer.top
        assert box.x >= outer.x + GAP - 0.01
        assert box.x + box.width <= outer.x + outer.width - GAP + 0.01
        assert box.y >= outer.y + GAP
        assert box.y + box.height <= outer.y + outer.height - GAP + 0.01


def test_a_name_is_cut_to_its_room() -> None:
    nodes = [Node(name="x" * 400, bytes=10**6), Node(name="tiny", bytes=1)]
    large, tiny = boxes(nodes)
    assert large.label.endswith("…")
    assert len(large.label) < 400
    assert tiny.label == ""


def test_small_parts_are_one_box() -> None:
    parts = [part("model packages", f"p{number}", 1) for number in range(50)]
    (node,) = nodes_of(footprint(part("model packages", "large", 10**6), part("model packages", "none", 0), *parts))
    assert [(each.name, each.bytes) for each in node.inner] == [("large", 10**6), ("50 smaller", 50)]
    assert node.bytes == sum(each.bytes for each in node.inner)


class Page(HTMLParser):
    """Counts the tags of a page and keeps what it would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_fetches_nothing_runs_nothing_and_escapes_all(plan: Plan) -> None:
    made = footprint(part("framework", HOSTILE, 900, 10), part("CUDA libraries", "nvidia_cudnn_cu12", 5000))
    sums = together([(made.image, made.layers), ("other", made.layers)])
    text = render_page([(made, plan), (made, plan)], sums)
    page = Page()
    page.feed(text)
    assert "script" not in page.tags
    assert not page.links
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import", text)
    assert page.tags.count("svg") == 2
    assert page.tags.count("rect") == 2 * 4
    assert "&lt;script&gt;" in text
    assert "prefers-color-scheme: dark" in text


def test_what_is_said_of_cuda_and_of_what_is_hidden(plan: Plan) -> None:
    said = "\n".join(notes(footprint(part("framework", "torch", 900, 10), part("CUDA libraries", "n", 5000)), plan))
    assert "hidden by a later layer that writes or removes the same files: 10 B" in said
    assert "CUDA libraries, 5.0 kB: the package index has torch 2.1.0 for x86_64 with CUDA alone" in said
    assert "the layers of the framework: 5.9 kB; all others: 0 B" in said
