"""What a model's files say about how it is started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Load = Callable[[str], ModuleType]


@pytest.fixture
def root(tmp_path: Path) -> str:
    for name in ("projects/configs/a/one.py", "projects/configs/two.py", "configs/named.py", "tools/train.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n", encoding="ascii")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("bash tools/dist_test.sh projects/configs/a/one.py latest.pth", "projects/configs/a/one.py"),
        ("python -c c = Config.fromfile('./projects/configs/two.py'); assert c", "projects/configs/two.py"),
        ("bash run.sh test named outputs/named/x.pth", "configs/named.py"),
        ("python tools/train.py", ""),
        ("python projects/configs/missing.py", ""),
    ],
)
def test_the_main_config_is_the_first_that_a_job_names(load: Load, root: str, command: str, path: str) -> None:
    assert load("_models").main_config(["bash", command], root) == path


def test_configs_are_those_of_its_own_folder(load: Load, root: str) -> None:
    models = load("_models")
    folder = models.config_folder("projects/configs/a/one.py")
    assert folder == "projects/configs"
    assert models.configs(folder, root) == ["projects/configs/a/one.py", "projects/configs/two.py"]
    assert models.train_script(root) == "tools/train.py"


def test_a_tree_without_configs_is_told_from_one_whose_jobs_name_none(load: Load, root: str, tmp_path: Path) -> None:
    has_configs = load("_models").has_configs
    assert has_configs(root)
    other = tmp_path / "other"
    (other / "config").mkdir(parents=True)
    (other / "step.py").touch()
    (other / "config/one.yaml").touch()
    assert not has_configs(str(other))
    (other / "config/one.py").touch()
    assert has_configs(str(other))


def test_only_imports_are_taken_from_a_train_script(load: Load) -> None:
    text = "import os, sys\nopen('/nowhere')\nif __name__ == '__main__':\n    from json import loads\n    main()\n"
    found = load("_models").imports(text)
    assert [words for words, _ in found] == ["import os, sys", "from json import loads"]
    space: dict[str, object] = {}
    for _, code in found:
        exec(code, space)  # noqa: S102
    assert {"os", "sys", "loads"} <= set(space)


def test_a_program_is_told_from_a_list_of_values(load: Load) -> None:
    is_experiment = load("_models").is_experiment
    assert is_experiment("class Exp(Base):\n    pass\n")
    assert not is_experiment("model = dict(type='Exp')\n")


def test_wrappers_and_weights_are_seen_through(load: Load) -> None:
    models = load("_models")
    assert models.innermost({"type": "CBGS", "dataset": {"type": "N"}}) == {"type": "N"}
    init = {"init_cfg": {"type": "Pretrained", "checkpoint": "b.pth"}}
    assert models.pretrained({"backbone": {"pretrained": "a.pth"}, "heads": [init]}) == ["a.pth", "b.pth"]
    assert models.plugin_module({"plugin": True, "plugin_dir": "projects/plug/"}, "x.py") == "projects.plug"
    assert models.plugin_module({}, "x.py") == ""
