"""`drivebuild k8s` as a user calls it: what is printed, what is written, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from support.cli import drivebuild, refused

CPU = ("--platform", "debian-12-cpu")


def kinds(text: str) -> list[str]:
    return [each["kind"] for each in yaml.safe_load_all(text)]


def test_what_is_printed_can_be_applied() -> None:
    result = drivebuild("k8s", "streampetr", "train-8p", "--nodes", "2")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert kinds(result.stdout) == ["ConfigMap", "Service", "Job"]
    head = "# NOTE: RENDERED BY drivebuild: drivebuild k8s streampetr train-8p --nodes 2 --kind job"
    assert result.stdout.startswith(head)


def test_one_node_is_one_object() -> None:
    assert kinds(drivebuild("k8s", "pivotnet", "train-8p").stdout) == ["Job"]


@pytest.mark.parametrize(
    ("kind", "wanted"), [("volcano", ["ConfigMap", "Job"]), ("ascendjob", ["ConfigMap", "AscendJob"])]
)
def test_other_kinds(kind: str, wanted: list[str]) -> None:
    assert kinds(drivebuild("k8s", "tpvformer", "train-8p", "-n", "3", "--kind", kind).stdout) == wanted


def test_the_image_follows_platform_and_variant() -> None:
    def image(*words: str) -> str:
        result = drivebuild("k8s", "streampetr", "smoke", *words)
        assert result.exit_code == 0, result.output
        return str(yaml.safe_load(result.stdout)["spec"]["template"]["spec"]["containers"][0]["image"])

    assert image() == "drivebuild/streampetr:cann-8.1.rc1-stock"
    assert image("--lto", *CPU) == "drivebuild/streampetr:debian-12-cpu-lto"
    assert image("--image", "registry.example.org:5000/x:1") == "registry.example.org:5000/x:1"


def test_names_are_made_of_what_names_are_made_of() -> None:
    result = drivebuild("k8s", "streampetr", "train-8p-performance", "--name", "try-1")
    assert yaml.safe_load(result.stdout)["metadata"]["name"] == "try-1"
    result = drivebuild("k8s", "streampetr", "train-8p-performance")
    assert yaml.safe_load(result.stdout)["metadata"]["name"] == "streampetr-train-8p-performance"


def test_arguments_are_handed_on() -> None:
    result = drivebuild("k8s", "streampetr", "train-8p", "--", "--seed", "$(X) `y` 'z' \n: #")
    container = yaml.safe_load(result.stdout)["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["train-8p", "--seed", "$$(X) `y` 'z' \n: #"]


# --- files ----------------------------------------------------------------------------------------


def test_files_are_written_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "night run"
    words = (
        "--nodes",
        "2",
        "--kind",
        "volcano",
        "--queue",
        "q",
        "--namespace",
        "team",
        "--name",
        "night",
        "--host-network",
    )
    result = drivebuild("k8s", "panoocc", "train-8p", *words, "--output", str(folder))
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in folder.iterdir()) == ["10-prepare-data.yaml", "20-train-8p.yaml"]
    lines = result.stdout.splitlines()
    wait = "kubectl wait --namespace team --for=condition=complete --timeout=24h job/night-prepare-data"
    assert lines == [
        f"kubectl apply -f '{folder}/10-prepare-data.yaml'",
        wait,
        f"kubectl apply -f '{folder}/20-train-8p.yaml'",
    ]
    first = yaml.safe_load((folder / "10-prepare-data.yaml").read_text())
    # A plain Job: nothing of it is for NPUs, it has no queue, and the pods' network is good enough for it.
    assert "hostNetwork" not in first["spec"]["template"]["spec"]
    assert (first["apiVersion"], first["metadata"]["name"]) == ("batch/v1", "night-prepare-data")
    assert first["metadata"]["namespace"] == "team"
    assert "huawei" not in yaml.safe_dump(first)
    assert kinds((folder / "20-train-8p.yaml").read_text()) == ["ConfigMap", "Job"]


def test_what_needs_no_conversion_is_one_file(tmp_path: Path) -> None:
    result = drivebuild("k8s", "streampetr", "smoke", *CPU, "-o", str(tmp_path / "x"))
    assert result.exit_code == 0, result.output
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["20-smoke.yaml"]


def test_the_longest_name_has_room_for_the_conversions(tmp_path: Path) -> None:
    name = "a" * 48
    result = drivebuild("k8s", "panoocc", "train-8p", "--name", name, "-o", str(tmp_path))
    assert result.exit_code == 0, result.output
    first = yaml.safe_load((tmp_path / "10-prepare-data.yaml").read_text())["metadata"]["name"]
    assert first == "a" * 35 + "-prepare-data"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = refused(drivebuild("k8s", "streampetr", "smoke", *CPU, "-o", str(tmp_path / "file")), 5)
    assert "cannot write" in said


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "sign"),
    [
        (("nix", "train-8p"), 4, "there is no model 'nix'"),
        (("streampetr", "train-8"), 2, "did you mean 'train-8p'?"),
        (("streampetr", "train-8p", *CPU), 2, "leave --platform debian-12-cpu out"),
        (("streampetr", "train-8p", "--nodes", "0"), 2, "expected a number from 1 to 1024"),
        (("streampetr", "train-8p", "--nodes", "two"), 2, "'two' is not a valid"),
        (("streampetr", "eval", "--nodes", "2"), 4, "in a folder of one machine"),
        (("pivotnet", "train-8p-performance", "--nodes", "2"), 4, "the constant 'Host'"),
        (("streampetr", "shell"), 2, "kubectl exec -it"),
        (("streampetr", "train-8p", "-p", "cann-8.1.rc1-stub"), 4, "--platform cann-8.1.rc1, or the model's own"),
        (("streampetr", "smoke", *CPU, "--kind", "ascendjob"), 2, "uses no NPU"),
        (("streampetr", "smoke", "--queue", "x"), 2, "--kind volcano has queues"),
        (("streampetr", "smoke", "--image", "Foo Bar"), 2, "is no reference of an image"),
        (("streampetr", "smoke", "--image", "foo/bar"), 2, "neither tag nor digest"),
        (("streampetr", "smoke", "--dataset-claim", "My_Data"), 2, "--dataset-claim 'My_Data': expected a name"),
        (("streampetr", "smoke", "--output-claim", ""), 2, "--output-claim '': expected a name"),
        (("streampetr", "smoke", "--namespace", "a.b"), 2, "--namespace 'a.b'"),
        (("streampetr", "smoke", "--name", "1st"), 2, "--name '1st'"),
        (("streampetr", "smoke", "--label", "x"), 2, "--label 'x': expected KEY=VALUE"),
        (("streampetr", "smoke", "--node-label", "a b=x"), 2, "is no key of Kubernetes"),
        (("streampetr", "smoke", "--user", "root"), 2, "expected UID or UID:GID"),
        (("streampetr", "smoke", "--user", "0:0"), 2, "do not run as root"),
        (("streampetr", "smoke", "--memory", "lots"), 2, "a size such as 512Gi"),
        (("flashocc", "prepare-data", "--", "--x"), 2, "flashocc prepare-data takes no arguments"),
        (("streampetr", "smoke", "--", "\udcff"), 2, "expected text that is UTF-8"),
    ],
)
def test_mistakes(words: tuple[str, ...], code: int, sign: str) -> None:
    assert sign in refused(drivebuild("k8s", *words), code)


def test_show_says_which_jobs_run_on_several_nodes() -> None:
    lines = [line.split() for line in drivebuild("show", "streampetr").stdout.split("\n")]
    found = {line[0]: line[1] for line in lines if len(line) > 2 and line[1] in ("one", "several")}
    assert found["train-8p"] == "several"
    assert found["eval"] == "one"
