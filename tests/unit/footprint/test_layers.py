"""Layers and the instructions and stages that made them."""

from __future__ import annotations

from builder.footprint.layers import Layer, Made, chain_of, match_layers
from builder.plan.make import make_plan
from builder.recipe.types import Catalog
from builder.render.dockerfile import render_stage
from builder.source.catalog import read_templates

BASE_TEXT = """\
# The system.
FROM localhost/base AS base
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN --mount=type=secret,id=x \\
    apt-get update; \\
    # why
    apt-get install gcc
"""
TORCH_TEXT = """\
FROM base AS torch
COPY <<'EOF' /opt/lock.txt
numpy==1
EOF
RUN --mount=type=bind,from=uv,source=/opt/uv,target=/opt/uv \\
    uv pip install
ENV PATH=/opt/venv/bin:$PATH
"""
IMAGE_TEXT = """\
FROM torch AS image
COPY --from=overlay /overlay/ /opt/venv/
COPY --from=tree --chown=1000:1000 /workspace /workspace
WORKDIR /workspace
LABEL a=b
"""
TEXTS = (("image", IMAGE_TEXT), ("torch", TORCH_TEXT), ("base", BASE_TEXT))
# Newest first, as an engine tells it.
HISTORY = (
    Made("LABEL a=b", 0),
    Made("WORKDIR /workspace", 0),
    Made("COPY --chown=1000:1000 /workspace /workspace # buildkit", 50),
    Made("COPY /overlay/ /opt/venv/ # buildkit", 3),
    Made("ENV PATH=/opt/venv/bin:/usr/bin", 0),
    Made("RUN /bin/bash -euo pipefail -c uv pip install # buildkit", 5000),
    Made("COPY <<EOF /opt/lock.txt # buildkit", 8),
    Made("RUN /bin/bash -euo pipefail -c apt-get update;     apt-get install gcc # buildkit", 100),
    Made("SHELL [/bin/bash -euo pipefail -c]", 0),
    Made("", 239),
)
IDS = tuple(f"sha256:{number}" for number in range(7))


def stages(layers: tuple[Layer, ...]) -> list[tuple[str | None, int]]:
    return [(layer.stage, layer.size) for layer in layers]


def test_each_layer_has_the_stage_whose_text_says_its_instruction() -> None:
    layers = match_layers(IDS, HISTORY, TEXTS)
    assert [layer.id for layer in layers] == list(IDS)
    assert stages(layers) == [
        *(("", 239), ("base", 100), ("torch", 8), ("torch", 5000)),
        *(("image", 3), ("image", 50), ("image", 0)),
    ]
    assert layers[1].instruction.endswith("apt-get install gcc")


def test_what_no_stage_says_is_not_guessed() -> None:
    changed = TORCH_TEXT.replace("uv pip install", "uv pip install --quiet")
    layers = match_layers(IDS, HISTORY, (("image", IMAGE_TEXT), ("torch", changed), ("base", BASE_TEXT)))
    assert stages(layers)[:4] == [("", 239), ("base", 100), ("torch", 8), (None, 5000)]


def test_a_stage_does_not_come_back_above_another() -> None:
    # two stages with the same words: what is over the lower one's other layer is the upper one's
    texts = (("image", "FROM b\nCOPY a /a\n"), ("base", "FROM x\nCOPY a /a\nCOPY b /b\n"))
    history = (Made("COPY a /a", 1), Made("COPY b /b", 2), Made("COPY a /a", 3))
    assert stages(match_layers(("1", "2", "3"), history, texts)) == [("base", 3), ("base", 2), ("image", 1)]


def test_an_engine_that_left_empty_layers_out() -> None:
    assert [layer.size for layer in match_layers(IDS[:6], HISTORY, TEXTS)] == [239, 100, 8, 5000, 3, 50]


def test_a_base_without_history() -> None:
    layers = match_layers(IDS, HISTORY[:-1], TEXTS)
    assert stages(layers)[:2] == [("", 0), ("base", 100)]


def test_nothing_of_the_plan_is_known() -> None:
    layers = match_layers(IDS, HISTORY, (("image", "FROM x AS image\n"),))
    assert [layer.stage for layer in layers] == ["", *[None] * 6]


def test_the_shipped_stages_have_what_a_history_says_of_them(catalog: Catalog) -> None:
    plan = make_plan(catalog, "streampetr", platform="debian-12-cpu", variant="stock", options={})
    chain = chain_of(plan, "image")
    assert [stage.name for stage in chain] == ["image", "env", "common", "libraries", "torch", "base"]
    templates = read_templates()
    texts = [(stage.name, render_stage(stage, templates)) for stage in chain]
    said = ("COPY /opt/python /opt/python # buildkit", "COPY <<EOF /opt/drivebuild/locks/framework.txt # buildkit")
    history = [Made(text, 1) for text in said]
    assert [layer.stage for layer in match_layers(("1", "2"), history, texts)] == ["torch", "env"]
