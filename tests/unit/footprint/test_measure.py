"""Components, parts and sums; the container that counts is played by a function."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest

from builder.engine.process import Result
from builder.errors import RunError
from builder.footprint.components import Groups, component_of, known_groups, named
from builder.footprint.layers import Layer
from builder.footprint.measure import Footprint, count_command, measure
from builder.plan.make import make_plan
from builder.recipe.types import Catalog

Answer = Sequence[Mapping[str, Sequence[int]]]
GROUPS = Groups(
    framework=frozenset({"torch", "triton", "nvidia-cudnn-cu12", "numpy"}),
    adapter=frozenset({"torch-npu"}),
    wheels={"mmcv-full": "mmcv"},
    cann_home="/usr/local/Ascend/ascend-toolkit",
)
LAYERS = (
    Layer(id="0", size=239, instruction="", stage=""),
    Layer(id="1", size=5000, instruction="RUN uv pip install", stage="torch"),
    Layer(id="2", size=900, instruction="RUN uv pip install", stage="env"),
    Layer(id="3", size=2, instruction="COPY /overlay/ /opt/venv/lib/python3.11/site-packages/", stage="image"),
)
COUNTED: Answer = (
    {"path:/usr/lib": [10, 200, 50, 7], "path:/etc/passwd": [1, 39, 0, 0]},
    {"dist:torch": [20, 2600, 200, 100], "cuda:torch": [2, 2000, 0, 0], "dist:nvidia_cudnn_cu12": [3, 400, 0, 0]},
    {"dist:torch": [5, 100, 100, 0], "dist:mmcv_full": [9, 800, 30, 1]},
    {"dist:mmcv_full": [1, 2, 0, 0]},
)


class Container:
    """Answers as the script in the image would, and keeps what it was asked."""

    def __init__(self, layers: Answer | None, flat: Answer | None = None) -> None:
        self.answers = {False: flat, True: layers}
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, argv: tuple[str, ...], text: bytes) -> Result:
        self.asked.append(argv)
        assert b"def distributions()" in text
        answer = self.answers[argv[-1] != "0"]
        return Result(125) if answer is None else Result(0, json.dumps(answer).encode())


def measured(container: Container, folders: Sequence[str] = ("/a", "/b", "/c", "/d")) -> Footprint:
    return measure("drivebuild/x:y", "sha256:1", LAYERS, folders, GROUPS, container)


def test_components_add_up_to_the_image() -> None:
    footprint = measured(Container(COUNTED))
    assert footprint.exact
    assert footprint.size == 6141
    assert {part.component: part.bytes for part in footprint.by_component()} == {
        "framework": 2700,
        "CUDA libraries": 2400,
        "wheel mmcv": 800,
        "base image": 239,
        "overlay": 2,
    }
    assert sum(part.bytes for part in footprint.parts) == footprint.size


def test_byte_code_and_what_is_hidden_are_counted_apart() -> None:
    footprint = measured(Container(COUNTED))
    torch = next(part for part in footprint.by_name() if part.name == "torch")
    assert (torch.files, torch.bytes, torch.byte_code, torch.hidden) == (25, 2700, 300, 100)
    assert footprint.hidden == 108


def test_an_engine_whose_layers_cannot_be_looked_into() -> None:
    flat: Answer = [{"dist:torch": [20, 2500, 200, 0], "path:/usr/lib": [10, 3000, 0, 0]}]
    for container, folders in ((Container(None, flat), ("/a", "/b", "/c", "/d")), (Container(None, flat), ())):
        footprint = measured(container, folders)
        assert not footprint.exact
        # what the layers have beyond the files that can be seen
        assert footprint.hidden == 6141 - 5500
        assert container.asked[-1][-1] == "0"


def test_folders_that_are_empty_on_this_engine() -> None:
    # a remote engine's bind mount of a path that is not there
    footprint = measured(Container([{}, {}, {}, {}], [{"dist:torch": [1, 5, 0, 0]}]))
    assert not footprint.exact


def test_folders_that_do_not_fit_the_layers_are_not_mounted() -> None:
    container = Container(None, [{"dist:torch": [1, 5, 0, 0]}])
    measured(container, ("/a",))
    assert "--mount" not in container.asked[0]


@pytest.mark.parametrize("answer", [Result(125), Result(0, b"Traceback"), Result(0, b'{"a": 1}')])
def test_an_image_that_cannot_be_counted(answer: Result) -> None:
    with pytest.raises(RunError, match="drivebuild/x:y: its files cannot be counted"):
        measure("drivebuild/x:y", "1", LAYERS, (), GROUPS, lambda _argv, _text: answer)


def test_the_container_has_no_network_and_only_reads() -> None:
    argv = count_command("sha256:1", ("/var/a", "/var/b"))
    assert argv[argv.index("--network") + 1] == "none"
    assert argv[argv.index("--cap-drop") + 1] == "ALL"
    assert "--privileged" not in argv
    mounts = [argv[n + 1] for n, word in enumerate(argv) if word == "--mount"]
    assert mounts == [
        "type=bind,source=/var/a,target=/layers/0,readonly",
        "type=bind,source=/var/b,target=/layers/1,readonly",
    ]


@pytest.mark.parametrize(
    ("number", "group", "component"),
    [
        (0, "path:/usr/lib", "base image"),
        (1, "dist:Torch_NPU", "adapter"),
        (1, "dist:numpy", "framework"),
        (1, "dist:triton", "CUDA libraries"),
        (1, "path:/opt/venv/bin", "framework"),
        (2, "dist:scipy", "model packages"),
        (2, "dist:mmcv_full", "wheel mmcv"),
        (2, "path:/opt/venv/bin", "model packages"),
        (2, "path:/opt/python/lib", "Python"),
        (2, "path:/usr/local/Ascend/ascend-toolkit/latest", "CANN"),
        (2, "path:/usr/local/Ascend-other", "system packages"),
        (2, "path:/opt/drivebuild/locks", "locks and manifest"),
        (2, "path:/opt/drivebuild/libtcmalloc.so", "allocators"),
        (3, "dist:mmcv_full", "overlay"),
        (2, "path:/workspace/streampetr", "source tree"),
        (2, "path:/opt/drivebuild/job", "job scripts"),
        (2, "path:/usr/local/bin/drivebuild-job", "job scripts"),
    ],
)
def test_components(number: int, group: str, component: str) -> None:
    assert component_of(LAYERS[number], group, GROUPS) == component


def test_every_wheel_of_a_shipped_plan_is_known(catalog: Catalog) -> None:
    plan = make_plan(catalog, "streampetr", platform="debian-12-cpu", variant="stock", options={})
    groups = known_groups(plan)
    assert groups.wheels == {"mmcv-full": "mmcv", "mmdet": "mmdet", "mmdet3d": "mmdet3d"}
    assert {"torch", "triton", "nvidia-cudnn-cu12"} <= groups.framework
    assert named("mmcv_full") in groups.wheels
