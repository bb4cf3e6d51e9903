"""The list of fields in tests/support/clusterfields.py, and whole manifests, against the definitions of Volcano's and
Ascend's own kinds; and the text of manifests against kubectl's parser.

The definitions are upstream's code and not kept here. DRIVEBUILD_TEST_MIRRORS names a folder with git repositories,
OWNER+NAME/repo or OWNER/NAME, of which these tests read a file at the newest commit. kubectl is the installed one, or
out of the distribution's archive, which apt checks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support.cli import drivebuild
from support.clusterfields import ASCENDJOB, FREE, TEMPLATE, VOLCANO, VOLCANO_EVENTS

from builder.render.yamltext import dump_documents

VOLCANO_FILE = ("volcano-sh", "volcano", "config/crd/volcano/bases/batch.volcano.sh_jobs.yaml")
ASCEND_FILE = ("Ascend", "mind-cluster", "component/ascend-operator/build/ascend-operator.yaml")


def definition(owner: str, name: str, path: str) -> dict[str, Any]:
    """Return the definition of a kind out of a mirror; without one the test is skipped, and says so."""
    root = os.environ.get("DRIVEBUILD_TEST_MIRRORS")
    if not root:
        pytest.skip("NO MIRRORS: DRIVEBUILD_TEST_MIRRORS names no folder of git repositories")
    places = [place for place in (Path(root, f"{owner}+{name}", "repo"), Path(root, owner, name)) if place.is_dir()]
    if not places:
        pytest.skip(f"NO MIRROR: {root} has no {owner}/{name}")
    command = ("git", "-C", str(places[0]), "show", f"HEAD:{path}")
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [each for each in yaml.safe_load_all(text) if each and each["kind"] == "CustomResourceDefinition"]
    return dict(found[0])


def schema(found: Mapping[str, Any]) -> dict[str, Any]:
    return dict(found["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def unknown(known: Any, defined: Mapping[str, Any], path: str = "spec") -> list[str]:
    """Return what the list has and the definition has not."""
    if known in (TEMPLATE, FREE):
        return [] if defined.get("type") == "object" else [path]
    if isinstance(known, str):
        return [] if defined.get("type") == known else [path]
    if isinstance(known, list):
        return unknown(known[0], defined["items"], f"{path}[]")
    found = []
    for key, each in known.items():
        inner = defined["additionalProperties"] if key == "*" else defined.get("properties", {}).get(key)
        found += unknown(each, inner, f"{path}.{key}") if inner else [f"{path}.{key}"]
    return found


def closed(defined: Any) -> Any:
    """Return a schema that takes no field it does not name, as `kubectl apply --validate=strict` does."""
    if isinstance(defined, list):
        return [closed(each) for each in defined]
    if not isinstance(defined, dict):
        return defined
    made = {key: closed(each) for key, each in defined.items()}
    if "properties" in made and not defined.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def manifest(*words: str) -> dict[str, Any]:
    result = drivebuild("k8s", *words)
    assert result.exit_code == 0, result.output
    return dict(list(yaml.safe_load_all(result.stdout))[-1])


def test_volcanos_definition_has_the_fields() -> None:
    found = definition(*VOLCANO_FILE)
    spec = schema(found)["properties"]["spec"]
    assert unknown(VOLCANO, spec) == []
    events = spec["properties"]["policies"]["items"]["properties"]["event"]["enum"]
    assert set(events) >= VOLCANO_EVENTS
    assert (found["spec"]["group"], found["spec"]["versions"][0]["name"]) == ("batch.volcano.sh", "v1alpha1")
    assert unknown({"nix": "string"}, spec) == ["spec.nix"]


def test_ascends_definition_has_the_fields() -> None:
    found = definition(*ASCEND_FILE)
    assert unknown(ASCENDJOB, schema(found)["properties"]["spec"]) == []
    assert (found["spec"]["group"], found["spec"]["versions"][0]["name"]) == ("mindxdl.gitee.com", "v1")
    assert found["spec"]["names"]["kind"] == "AscendJob"


@pytest.mark.parametrize("nodes", ["1", "2"])
@pytest.mark.parametrize(("kind", "where"), [("volcano", VOLCANO_FILE), ("ascendjob", ASCEND_FILE)])
def test_whole_manifests_are_valid(kind: str, where: tuple[str, str, str], nodes: str) -> None:
    made = manifest("panoocc", "train-8p", "--nodes", nodes, "--kind", kind, "--queue", "team")
    full = closed(schema(definition(*where)))
    # What every kind has, the definition need not name.
    full["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}}
    jsonschema.Draft202012Validator(full).validate(made)
    made["spec"]["nix"] = 1
    with pytest.raises(jsonschema.ValidationError, match="nix"):
        jsonschema.Draft202012Validator(full).validate(made)


# --- the text -------------------------------------------------------------------------------------

PACKAGE = "kubernetes-client"
# But for control characters, which kustomize reads and then writes so that it cannot read them again, and which it
# writes so that PyYAML cannot.
ODD = (
    *(
        "yes",
        "No",
        "on",
        "OFF",
        "y",
        "n",
        "null",
        "~",
        "true",
        "0x10",
        "0o17",
        "017",
        "1e3",
        "1_000",
        ".inf",
        "12:30:45",
    ),
    *(
        "2026-11-21",
        "=",
        "<<",
        "*x",
        "&x",
        "!x",
        "%x",
        "@x",
        "`x`",
        "- x",
        "? x",
        "x: y",
        "x #y",
        "#x",
        "{x",
        "[x]",
        "|",
        ">",
    ),
    *(
        "",
        " ",
        " x",
        "x ",
        "\t",
        "x\ty",
        "x\ny",
        "x\n",
        "\nx",
        "x\n\n",
        "  x\ny",
        "x\r\ny",
        "\\",
        '"',
        "'",
    ),
    *("\u00a0", "\u2028", "\ufeff", "ü", "中文", "\U0001f600", "---", "...", "$(X)", "a" * 300, "x " * 200),
)


class Reader(yaml.SafeLoader):
    """PyYAML's, with `<<` and `=` as the texts that they are to others where they are values."""


for tag in ("merge", "value"):
    Reader.add_constructor(f"tag:yaml.org,2002:{tag}", yaml.SafeLoader.construct_scalar)


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return kubectl: the installed one, or the distribution's."""
    installed = shutil.which("kubectl")
    if installed:
        return installed
    folder = tmp_path_factory.mktemp("kubectl")
    words = ("apt-get", "download", PACKAGE)
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    archives = list(folder.glob("*.deb"))
    if not archives:
        pytest.skip(f"NO KUBECTL: apt-get download {PACKAGE}: {done.stderr.strip()}")
    subprocess.run(("dpkg-deb", "--extract", str(archives[0]), str(folder)), check=True)
    return str(folder / "usr/bin/kubectl")


def as_kubernetes_reads(kubectl: str, folder: Path, text: str) -> list[dict[str, Any]]:
    """Return a text's documents by the parser that kubectl and the API server have."""
    (folder / "x.yaml").write_text(text, encoding="utf-8")
    (folder / "kustomization.yaml").write_text("resources: [x.yaml]\n")
    done = subprocess.run((kubectl, "kustomize", str(folder)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return sorted(yaml.load_all(done.stdout, Reader), key=lambda each: str(each["kind"]))


def test_kubernetes_reads_the_values_that_were_meant(kubectl: str, tmp_path: Path) -> None:
    meant = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    data = {f"v{number}": text for number, text in enumerate(ODD)}
    assert as_kubernetes_reads(kubectl, tmp_path, dump_documents([{**meant, "data": data}])) == [
        {**meant, "data": data}
    ]


@pytest.mark.parametrize("kind", ["job", "volcano", "ascendjob"])
def test_kubernetes_reads_whole_manifests(kubectl: str, tmp_path: Path, kind: str) -> None:
    result = drivebuild(
        "k8s", "tpvformer", "train-8p", "-n", "2", "--kind", kind, "--", "a: b", "x\ny", "$(X) '#", "yes"
    )
    assert result.exit_code == 0, result.output
    ours = sorted(yaml.safe_load_all(result.stdout), key=lambda each: str(each["kind"]))
    assert as_kubernetes_reads(kubectl, tmp_path, result.stdout) == ours
