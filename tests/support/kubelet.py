"""Runs the pods of a rendered Job as containers, taking from the manifest what a kubelet takes; nothing is made up.

Every container has a network namespace of its own on one bridge; it is found there by the name that its Job and the
headless Service give it. A field that is not known is an error, so that a manifest cannot say more than was tried.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
CONTAINER = {
    *("name", "image", "imagePullPolicy", "command", "args", "env", "ports", "securityContext", "volumeMounts"),
}
POD = {
    *("subdomain", "restartPolicy", "terminationGracePeriodSeconds", "automountServiceAccountToken"),
    *("enableServiceLinks", "shareProcessNamespace", "securityContext", "affinity", "containers", "volumes"),
}


def docker(*words: str, check: bool = True) -> str:
    done = subprocess.run(("docker", *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


@dataclass
class Cluster:
    """The objects of one manifest, and the containers that its pods became."""

    folder: Path
    image: str
    """What is run in place of the image that the manifest names."""
    claims: Path = Path()
    """A folder with one for each claim."""
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: list[str] = field(default_factory=list)

    def apply(self, text: str) -> None:
        """Take a manifest and make its network."""
        self.objects = {each["kind"]: each for each in yaml.safe_load_all(text)}
        docker("network", "create", self.network)
        for name, content in self.objects["ConfigMap"]["data"].items():
            self.folder.mkdir(exist_ok=True)
            (self.folder / name).write_text(content, encoding="utf-8")

    @property
    def job(self) -> dict[str, Any]:
        return self.objects["Job"]

    @property
    def network(self) -> str:
        # Two sessions have folders of the same name.
        return f"drivebuild-test-{self.folder.parent.name}-{os.getpid()}".lower().replace("_", "-")

    def start(self, index: int) -> str:
        """Start the pod of one index, as a container, and return its name."""
        spec = self.job["spec"]["template"]["spec"]
        container = spec["containers"][0]
        assert set(spec) <= POD, set(spec) - POD
        assert set(container) <= CONTAINER, set(container) - CONTAINER
        assert self.job["spec"]["completionMode"] == "Indexed"
        hostname = f"{self.job['metadata']['name']}-{index}"
        name = f"{self.network}-{index}"
        words = ["run", "--detach", "--init", "--name", name, "--hostname", hostname, "--network", self.network]
        # A headless Service of the name of the pods' subdomain makes them known as HOSTNAME.SUBDOMAIN.
        assert self.objects["Service"]["metadata"]["name"] == spec["subdomain"]
        assert self.objects["Service"]["spec"]["clusterIP"] == "None"
        found_by = self.objects["Service"]["spec"]["selector"].items()
        assert found_by <= self.job["spec"]["template"]["metadata"]["labels"].items()
        words += ["--network-alias", f"{hostname}.{spec['subdomain']}"]
        words += [*_security(spec["securityContext"], container["securityContext"]), *self._volumes(spec, container)]
        for each in container["env"]:
            words += ["--env", f"{each['name']}={self._value(each, index)}"]
        command = [*container["command"], *container["args"]]
        docker(*words, "--entrypoint", command[0], self.image, *[word.replace("$$", "$") for word in command[1:]])
        self.pods.append(name)
        return name

    def _value(self, variable: Mapping[str, Any], index: int) -> str:
        if "value" in variable:
            return str(variable["value"])
        path = variable["valueFrom"]["fieldRef"]["fieldPath"]
        return {INDEX: str(index)}[path]

    def _volumes(self, spec: Mapping[str, Any], container: Mapping[str, Any]) -> list[str]:
        volumes = {each["name"]: each for each in spec["volumes"]}
        words = []
        for mount in container["volumeMounts"]:
            volume, path = volumes[mount["name"]], mount["mountPath"]
            if "configMap" in volume:
                assert volume["configMap"]["name"] == self.objects["ConfigMap"]["metadata"]["name"]
                source = self.folder / mount.get("subPath", "")
                words += ["--volume", f"{source}:{path}:ro"]
            elif "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]
                source = self.claims / claim["claimName"] / mount.get("subPath", "")
                assert source.is_dir(), f"the claim {claim['claimName']} has no {mount.get('subPath')}"
                locked = mount.get("readOnly") or claim.get("readOnly")
                words += ["--volume", f"{source}:{path}{':ro' if locked else ''}"]
            elif path == "/dev/shm":
                assert volume["emptyDir"]["medium"] == "Memory"
                words += ["--shm-size", volume["emptyDir"]["sizeLimit"].replace("Gi", "g")]
            else:
                assert volume["emptyDir"] == {}, volume
                # fsGroup makes a folder the group's; a fresh tmpfs is everybody's.
                words += ["--tmpfs", f"{path}:mode=1777"]
        return words

    def wait(self, name: str, seconds: float) -> int:
        """Wait for the end of a pod and return its exit status.

        Raises:
            subprocess.TimeoutExpired: when it does not end.
        """
        done = subprocess.run(("docker", "wait", name), capture_output=True, text=True, check=True, timeout=seconds)
        return int(done.stdout)

    def log(self, name: str) -> str:
        done = subprocess.run(("docker", "logs", name), capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    def remove(self) -> None:
        if self.pods:
            docker("rm", "--force", *self.pods, check=False)
        docker("network", "rm", self.network, check=False)


def _security(pod: Mapping[str, Any], container: Mapping[str, Any]) -> list[str]:
    assert pod["runAsNonRoot"] is True
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["privileged"] is False
    assert container["allowPrivilegeEscalation"] is False
    words = ["--user", f"{pod['runAsUser']}:{pod['runAsGroup']}", "--security-opt", "no-new-privileges"]
    words += [word for group in {*pod["supplementalGroups"], pod["fsGroup"]} for word in ("--group-add", str(group))]
    return words + [word for each in container["capabilities"]["drop"] for word in ("--cap-drop", each)]
