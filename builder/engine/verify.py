"""`verify`: what an image must show, the scripts that ask it inside, and what is looked at from outside."""

from __future__ import annotations

import json
import platform as machine
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.engine.process import Runner
from builder.errors import BuildError
from builder.plan.stage import Plan
from builder.recipe.types import Catalog

__all__ = ["Check", "Probe", "expectations", "probes", "run_probe"]

MOUNT = "/tmp/in_image"  # a path in the image, and one that the hygiene check knows
EXPECT = "expect.json"
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;]+)(?: ; (?P<marker>[^-]*))?")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    script: str
    name: str
    ok: bool
    detail: Any = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One run of one script in the image."""

    script: str
    arguments: tuple[str, ...] = ()
    stdin: str = ""
    user: str = ""
    entrypoint: bool = True
    needs: str = ""
    """A component without which there is nothing to ask."""
    label: str = field(default="")


def expectations(plan: Plan, catalog: Catalog, *, target: str) -> dict[str, Any]:
    """Return what the plan promises about the image, as JSON values."""
    architecture = {"arm64": "aarch64", "AMD64": "x86_64"}.get(machine.machine(), machine.machine())
    env = next(stage for stage in plan.stages if stage.name == "env")
    platform = plan.platform
    return {
        "model": plan.model.name,
        "platform": platform.name,
        "accelerator": platform.accelerator,
        "variant": plan.variant,
        "target": target,
        "architecture": architecture,
        "python": platform.python.version,
        "shared": platform.python.shared,
        "compiler": platform.python.compiler[plan.variant],
        "versions": _versions(plan, catalog, architecture),
        "components": sorted(_components(plan)),
        "preload": sorted(dict(env.inputs["preload"]).values()),
        "pip_check": list(plan.model.requirements.conflicts.get(platform.name, ())),
        "environment": dict(platform.environment) | dict(plan.model.environment) if target == "image" else {},
    }


def _versions(plan: Plan, catalog: Catalog, architecture: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": plan.platform.python.version}
    for stage in plan.stages:
        if stage.name in ("torch", "env"):
            for line in stage.inputs.get("requirements", ()):
                match = _REQUIREMENT.match(line)
                if match and (not match["marker"] or architecture in match["marker"]):
                    found[match["name"]] = match["version"]
    present = _components(plan)
    for use in plan.model.components:
        component = catalog.components[use.name]
        if use.name in present and component.template == "wheel" and component.reports_version:
            found[component.package] = use.version
    # A pin without a version keeps a package out altogether.
    pins = (*plan.platform.pins, *plan.model.requirements.pins)
    out = {pin.package: None for pin in pins if pin.version is None and pin.on in (None, plan.platform.accelerator)}
    return {**out, **found}


def _components(plan: Plan) -> set[str]:
    return {stage.name for stage in plan.stages if stage.template in ("wheel", "tcmalloc")}


def probes(expect: Mapping[str, Any], scripts: Iterable[str]) -> tuple[Probe, ...]:
    """Return the runs of `scripts` (file names): those known by name as they want it, others with the JSON on stdin."""
    text = json.dumps(expect)
    preload = bool(expect["preload"])
    known = {
        "versions.py": (Probe(script="versions.py", stdin=json.dumps(expect["versions"])),),
        "pip_check.py": (Probe(script="pip_check.py", arguments=("-",), stdin="\n".join(expect["pip_check"])),),
        "tcmalloc.py": (
            Probe(script="tcmalloc.py", arguments=("yes" if preload else "no",), label="under the entrypoint"),
            Probe(script="tcmalloc.py", arguments=("no",), entrypoint=False, label="elsewhere"),
        ),
        "user.py": (
            Probe(script="user.py", arguments=("1000",)),
            # uid and gid follow the caller at run time, whoever that is.
            Probe(script="user.py", arguments=("4321",), user="4321:4321", label="with --user 4321"),
        ),
        "hygiene.py": (Probe(script="hygiene.py", user="0", entrypoint=False),),
        "libraries.py": (Probe(script="libraries.py", arguments=("--siblings", *_allowed(expect))),),
        "mmcv_ops.py": (Probe(script="mmcv_ops.py", needs="mmcv"),),
        "mmdet_forward.py": (Probe(script="mmdet_forward.py", needs="mmdet"),),
        "mmdet3d_forward.py": (Probe(script="mmdet3d_forward.py", needs="mmdet3d"),),
    }
    wanted = [probe for name in sorted(scripts) for probe in known.get(name, (Probe(script=name, stdin=text),))]
    return tuple(probe for probe in wanted if not probe.needs or probe.needs in expect["components"])


def _allowed(expect: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the libraries that may be missing: optional ones of wheels, and the driver's, which the host mounts."""
    names = ["libcuda.so.1", "libtbb.so.12"]
    if expect["accelerator"] == "npu":
        names += ["libascend_hal.so", "libdrvdsmi_host.so"]
    return tuple(word for name in names for word in ("--allow", name))


def run_probe(probe: Probe, *, tag: str, folder: Path, expect: Mapping[str, Any], runner: Runner) -> tuple[Check, ...]:
    """Run one script in a container without network and return its checks; a script that says nothing has failed."""
    with tempfile.TemporaryDirectory(prefix="drivebuild-verify-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        file = scratch / EXPECT
        file.write_text(json.dumps(expect), encoding="utf-8")
        result = runner.run(_command(probe, tag=tag, folder=folder, file=file), stdin=probe.stdin.encode())
    checks = tuple(_checks(probe, result.text))
    if result.code == 0 and checks:
        return checks
    if result.code == 1 and any(not check.ok for check in checks):
        return checks
    if result.code == 125 and not checks:
        raise BuildError(
            f"docker run failed: {result.complaint}", hint="is the image built? `drivebuild image` does it"
        )
    tail = "\n".join(result.complaint.splitlines()[-15:])
    return (*checks, Check(probe.script, "ended in order", ok=False, detail=f"exit code {result.code}: {tail}"))


def _command(probe: Probe, *, tag: str, folder: Path, file: Path) -> tuple[str, ...]:
    words = ["docker", "run", "--rm", "--interactive", "--network", "none"]
    words += ["--volume", f"{folder}:{MOUNT}:ro", "--volume", f"{file}:/run/drivebuild/{EXPECT}:ro"]
    words += ["--env", f"DRIVEBUILD_EXPECT=/run/drivebuild/{EXPECT}"]
    if probe.user:
        words += ["--user", probe.user]
    # -B: a check must not leave compiled files beside what it looks at.
    script = ["-B", f"{MOUNT}/{probe.script}", *probe.arguments]
    if probe.entrypoint:
        return (*words, tag, "python", *script)
    return (*words, "--entrypoint", "python", tag, *script)


def _checks(probe: Probe, output: str) -> Iterable[Check]:
    for line in output.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            # Libraries print warnings to standard output as well.
            continue
        if isinstance(found, dict) and "check" in found:
            name = f"{found['check']} {probe.label}".strip()
            yield Check(probe.script, name, ok=bool(found.get("ok")), detail=found.get("detail", ""))
