"""`verify`: what an image must show, the scripts that ask it inside, and what is looked at from outside."""

from __future__ import annotations

import json
import platform as machine
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from builder.engine.process import Runner
from builder.errors import BuildError
from builder.plan.allocator import ALLOCATORS, TCMALLOC
from builder.plan.compiled_by import TOOLCHAIN
from builder.plan.manifest import MANIFEST
from builder.plan.optimise import compiled
from builder.plan.stage import TARGETS, Plan, StageSpec
from builder.recipe.types import Catalog

__all__ = ["Check", "Probe", "expectations", "probes", "run_probe"]

MOUNT = "/tmp/in_image"  # a path in the image, and one that the hygiene check knows
EXPECT = "expect.json"
# Built on a stand-in for CANN, with the recipe's default choices.
_MEASURED = {("streampetr", "npu"): 81.37}
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;]+)(?: ; (?P<marker>[^-]*))?")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    script: str
    name: str
    ok: bool
    detail: Any = ""
    unverified: str = ""
    """What it would have needed, such as a device: it was not looked at, and has neither passed nor failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One run of one script in the image."""

    script: str
    arguments: tuple[str, ...] = ()
    stdin: str = ""
    user: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: bool = True
    needs: str = ""
    """A component without which there is nothing to ask."""
    of_image: bool = False
    """Asks for what only the whole image has, not an earlier stage."""
    of_npu: bool = False
    """Asks for what only platforms for NPUs have."""
    label: str = field(default="")


def expectations(plan: Plan, catalog: Catalog, *, target: str) -> dict[str, Any]:
    """Return what the plan promises about the image, as JSON values."""
    own = {"arm64": "aarch64", "AMD64": "x86_64"}.get(machine.machine(), machine.machine())
    architecture = plan.foreign or own
    platform = plan.platform
    return {
        **_of_image(plan, catalog, target=target),
        "model": plan.model.name,
        "platform": platform.name,
        "accelerator": platform.accelerator,
        "variant": plan.variant,
        "target": target,
        "architecture": architecture,
        "foreign": plan.foreign,
        "python": platform.python.version,
        "shared": platform.python.shared,
        "compiler": _stage(plan, "python-stock" if plan.variant == "stock" else "python-lto").inputs["compiler"],
        "versions": _versions(plan, catalog, architecture),
        "components": sorted(_components(plan)),
        "allocator": _allocator(plan),
        "compiled": _compiled(plan, catalog, architecture),
        "pip_check": list(plan.model.requirements.conflicts.get(platform.name, ())),
        "environment": dict(platform.environment) | dict(plan.model.environment) if target == "image" else {},
    }


def _of_image(plan: Plan, catalog: Catalog, *, target: str) -> dict[str, Any]:
    """Return what only the whole image has: the model's tree, the manifest, labels, and what it refuses to start."""
    tree, image = _stage(plan, "tree").inputs, _stage(plan, "image").inputs
    cann = plan.platform.cann
    uses = {use.name: catalog.components[use.name].package for use in plan.model.components}
    jobs = [job for job in plan.model.jobs if job.on in (None, plan.platform.accelerator)]
    return {
        "cann_way": cann.way if cann else "",
        "twin": plan.platform.twin or "",
        "refused": list(image["refused"]),
        "jobs": json.loads(image["jobs"]),
        "links": {f"{tree['root']}/{link['path']}": link["target"] for link in tree["links"]},
        "labels": dict(image["labels"]) if target == "image" else {},
        "changed": sorted(_stage(plan, MANIFEST).inputs["changed"]),
        "kept": {keep["stage"].removesuffix("-source"): f"{tree['root']}/{keep['to']}" for keep in tree["trees"]},
        "packages": uses,
        "commands": [" ".join(job.command) for job in jobs],
        "parameters": _measured(plan),
    }


def _measured(plan: Plan) -> float | None:
    """Return how many million parameters the network had where it was measured, with the same choices."""
    key = (plan.model.name, plan.platform.accelerator)
    return None if plan.options.get("attention") else _MEASURED.get(key)


def _allocator(plan: Plan) -> dict[str, Any]:
    """Return the allocators there are, the one that is preloaded unasked, and bytes of a page that was compiled in."""
    stages = {stage.name: stage for stage in plan.stages}
    there = sorted(stages[ALLOCATORS].inputs["libraries"]) if ALLOCATORS in stages else []
    built = next((stage for stage in plan.stages if stage.template == "tcmalloc"), None)
    page = built.inputs["page_kib"] << 10 if built else 0
    return {"there": there, "default": TCMALLOC if there else "none", "page": page}


def _compiled(plan: Plan, catalog: Catalog, architecture: str) -> dict[str, Any]:
    """Return what was compiled with LTO or a profile, how, and what its compiler calls itself; nothing for most."""
    stages = compiled(plan)
    if not stages:
        return {}
    members = _stage(plan, TOOLCHAIN).inputs["members"]
    recipe = json.loads(members.get(TOOLCHAIN, members.get(f"{TOOLCHAIN}-{TARGETS[architecture]}"))["recipe"])
    return {
        "level": stages[0].inputs["optimise"]["level"],
        "compiler": [recipe["marker"] or "clang", recipe["version"]],
        "distributions": [catalog.components[stage.name].package for stage in stages],
    }


def _stage(plan: Plan, name: str) -> StageSpec:
    return next(stage for stage in plan.stages if stage.name == name)


def _versions(plan: Plan, catalog: Catalog, architecture: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": plan.platform.python.version}
    for stage in plan.stages:
        if stage.name in ("torch", "common", "env"):
            lines = (stage.inputs.get(name, ()) for name in ("requirements", "archives", "adapter"))
            for line in chain.from_iterable(lines):
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
    known = {
        "versions.py": (Probe(script="versions.py", stdin=json.dumps(expect["versions"])),),
        "pip_check.py": (Probe(script="pip_check.py", arguments=("-",), stdin="\n".join(expect["pip_check"])),),
        "allocator.py": tuple(_allocator_probes(expect["allocator"])),
        "user.py": (
            Probe(script="user.py", arguments=("1000",)),
            # uid and gid follow the caller at run time, whoever that is.
            Probe(script="user.py", arguments=("4321",), user="4321:4321", label="with --user 4321"),
        ),
        "hygiene.py": (Probe(script="hygiene.py", user="0", entrypoint=False),),
        "libraries.py": (Probe(script="libraries.py", arguments=("--siblings", *_allowed(expect))),),
        "mmcv_ops.py": (Probe(script="mmcv_ops.py", needs="mmcv"),),
        "compiled.py": (Probe(script="compiled.py", stdin=text),) if expect["compiled"] else (),
        "mmdet_forward.py": (Probe(script="mmdet_forward.py", needs="mmdet"),),
        "mmdet3d_forward.py": (Probe(script="mmdet3d_forward.py", needs="mmdet3d"),),
    }
    known |= _npu_probes(text)
    wanted = [probe for name in sorted(scripts) for probe in known.get(name, (Probe(script=name, stdin=text),))]
    return tuple(probe for probe in wanted if _has_answer(probe, expect))


def _allocator_probes(allocator: Mapping[str, Any]) -> Iterator[Probe]:
    """Yield what a process has mapped: unasked, with each allocator there is, with none, and past the entrypoint."""
    page = ("--page", str(allocator["page"])) if allocator["page"] else ()

    def probe(name: str, **values: Any) -> Probe:
        words = (name, *(page if name == TCMALLOC else ()))
        return Probe(script="allocator.py", arguments=words, **values)

    yield probe(allocator["default"], label="under the entrypoint")
    for name in (*allocator["there"], "none"):
        if name != allocator["default"]:
            yield probe(name, environment={"DRIVEBUILD_ALLOCATOR": name}, label=f"asked for {name}")
    yield probe("none", entrypoint=False, label="elsewhere")


def _npu_probes(text: str) -> dict[str, tuple[Probe, ...]]:
    return {
        "npu_stack.py": (Probe(script="npu_stack.py", stdin=text, of_npu=True),),
        "npu_ops.py": (Probe(script="npu_ops.py", needs="mmcv", of_npu=True),),
        "refused.py": (Probe(script="refused.py", stdin=text, entrypoint=False, of_image=True),),
        "applied.py": (Probe(script="applied.py", stdin=text, of_image=True),),
        # As compose starts a job: a user that the image does not know, in the group of the model's folder.
        "jobs.py": (Probe(script="jobs.py", stdin=text, user="4321:1000", of_image=True),),
        "models.py": (Probe(script="models.py", stdin=text, of_image=True),),
        "train_script.py": (Probe(script="train_script.py", stdin=text, of_image=True),),
    }


def _has_answer(probe: Probe, expect: Mapping[str, Any]) -> bool:
    if probe.of_image and expect["target"] != "image":
        return False
    if probe.of_npu and expect["accelerator"] != "npu":
        return False
    return not probe.needs or probe.needs in expect["components"]


def _allowed(expect: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the libraries that may be missing: optional ones of wheels, and the driver's, which the host mounts.

    A stand-in for CANN has all that torch_npu is linked to, and the entrypoint's set_env.sh says where; it has not what
    the operators in mx_driving's published wheel are linked to, which CANN itself loads.
    """
    names = ["libcuda.so.1", "libtbb.so.12"]
    if expect["accelerator"] == "npu" and expect["cann_way"] == "stub":
        names += ["libexe_graph.so", "libnnopbase.so", "libopapi.so", "libregister.so"]
    elif expect["accelerator"] == "npu":
        names += ["libascend_hal.so", "libdrvdsmi_host.so"]
    return tuple(word for name in names for word in ("--allow", name))


def run_probe(probe: Probe, *, tag: str, folder: Path, expect: Mapping[str, Any], runner: Runner) -> tuple[Check, ...]:
    """Run one script in a container without network and return its checks; a script that says nothing has failed."""
    with tempfile.TemporaryDirectory(prefix="drivebuild-verify-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        file = scratch / EXPECT
        file.write_text(json.dumps(expect), encoding="utf-8")
        result = runner.run(_command(probe, expect, tag=tag, folder=folder, file=file), stdin=probe.stdin.encode())
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


def _command(probe: Probe, expect: Mapping[str, Any], *, tag: str, folder: Path, file: Path) -> tuple[str, ...]:
    words = ["docker", "run", "--rm", "--interactive", "--network", "none"]
    words += ["--platform", f"linux/{TARGETS[expect['foreign']]}"] if expect.get("foreign") else []
    words += ["--volume", f"{folder}:{MOUNT}:ro", "--volume", f"{file}:/run/drivebuild/{EXPECT}:ro"]
    words += ["--env", f"DRIVEBUILD_EXPECT=/run/drivebuild/{EXPECT}"]
    for name, value in probe.environment.items():
        words += ["--env", f"{name}={value}"]
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
            needs = str(found.get("unverified", ""))
            yield Check(probe.script, name, ok=bool(found.get("ok")), detail=found.get("detail", ""), unverified=needs)
