"""What `doctor` finds on this machine, line by line."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.engine.finding import Finding, State
from builder.errors import BuildError, DrivebuildError, SourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from builder.engine.host import Facts
    from builder.engine.process import SystemRunner
    from builder.engine.site import Site
    from builder.recipe.types import Model, Platform
    from builder.source.config import Config
    from builder.source.network import Network

LOW_BYTES = 40 << 30
"""An NPU image with its build cache takes about this much."""
LEAST_BYTES = 10 << 30
RUNS_BYTES = 20 << 30
"""Checkpoints of 24 epochs and logs of a few runs."""
OLD_COMPOSE = (2, 20)
"""`include` came with 2.20; `docker compose run` of the root file needs it."""
SKEW = 60.0

__all__ = ["Patient", "findings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Whose needs are looked at."""

    config: Config
    network: Network
    root: Path
    models: tuple[Model, ...]
    platform: Platform | None
    """The platform that was asked for, or the model's own; None when no model was named."""
    asked: bool
    """Whether a model was named: then what it lacks is a failure."""


def findings(patient: Patient) -> Iterator[Finding]:
    """Yield all lines, in the order they are shown."""
    from builder.engine.process import SystemRunner

    runner = SystemRunner()
    facts = yield from _engine(runner, patient)
    yield _temporary_folder()
    yield _program(runner, ("git", "--version"), "apt-get install git", absent="FAIL")
    yield _uv(runner)
    advice = "apt-get install mmdebstrap, for platforms whose base drivebuild makes itself"
    yield _program(runner, ("mmdebstrap", "--version"), advice, absent="warn")
    yield from _machine(runner, patient, facts)
    yield _clock(facts)
    yield from _site(patient)
    yield _files(patient.config)
    yield _store(patient.config)
    yield _certificates(patient.network)
    yield _proxies(patient.network)
    yield _netrc()


def _engine(runner: SystemRunner, patient: Patient) -> Generator[Finding, None, Facts | None]:
    from builder.engine.buildcache import judge_policy, read_policy
    from builder.engine.host import connect, require_buildx

    facts = None
    try:
        facts = connect().facts()
    except BuildError as error:
        yield Finding(state="FAIL", about="engine", found=error.message, advice=error.hint)
    else:
        yield Finding(state="ok", about="engine", found=f"docker {facts.version}, {facts.architecture}")
        yield _architecture(facts, patient)
        yield _emulation(runner, facts)
        yield _free("disk of the engine", facts.free_bytes(), facts.root)
        yield _image_store(facts)
    try:
        yield Finding(state="ok", about="buildx", found=require_buildx(runner))
    except BuildError as error:
        yield Finding(state="FAIL", about="buildx", found=error.message, advice=error.hint)
    yield judge_policy(read_policy(runner))
    yield _compose(runner)
    return facts


def _image_store(facts: Facts) -> Finding:
    driver = f" ({facts.driver})" if facts.driver else ""
    if facts.containerd_store:
        return Finding(state="ok", about="image store", found=f"containerd's{driver}")
    found = f"the engine's own{driver}; zstd on push, attestations and export of the cache want containerd's"
    return Finding(state="ok", about="image store", found=found)


def _architecture(facts: Facts, patient: Patient) -> Finding:
    platform = patient.platform
    if platform is None or facts.architecture in platform.architectures:
        return Finding(state="ok", about="architecture", found=facts.architecture)
    found = f"{facts.architecture}; {platform.name} is for {', '.join(platform.architectures)}"
    return Finding(state="FAIL", about="architecture", found=found, advice="`drivebuild list` names other platforms")


def _emulation(runner: SystemRunner, facts: Facts) -> Finding:
    """Say what `image --arch` could build here; nobody needs it, so its absence is no fault."""
    from builder.engine.foreign import INSTALL_EMULATOR, emulated

    others = ", ".join(emulated(runner, facts))
    found = f"{others}, for `image --arch`" if others else f"none: `image --arch` builds for {facts.architecture} alone"
    return Finding(state="ok", about="emulation", found=found, advice="" if others else INSTALL_EMULATOR)


def _compose(runner: SystemRunner) -> Finding:
    from builder.engine.compose import INSTALL, compose_version
    from builder.errors import RunError

    try:
        version = compose_version(runner)
    except RunError as error:
        return Finding(state="FAIL", about="compose", found=error.message, advice=error.hint)
    numbers = tuple(int(word) for word in version.split("-")[0].split(".") if word.isdigit())
    if numbers < OLD_COMPOSE:
        found = f"{version}, and {'.'.join(map(str, OLD_COMPOSE))} is wanted"
        return Finding(state="FAIL", about="compose", found=found, advice=INSTALL)
    return Finding(state="ok", about="compose", found=version)


def _free(about: str, free: int | None, where: str) -> Finding:
    from builder.cli.live import human_bytes

    if free is None:
        return Finding(
            state="warn", about=about, found="not known: the engine is on another machine, or keeps it secret"
        )
    state: State = "FAIL" if free < LEAST_BYTES else "warn" if free < LOW_BYTES else "ok"
    advice = f"an NPU image and its cache take about {human_bytes(LOW_BYTES)}; `docker builder prune` frees the cache"
    return Finding(state=state, about=about, found=f"{human_bytes(free)} free in {where}", advice=advice)


def _temporary_folder() -> Finding:
    import shutil
    import tempfile

    from builder.cli.live import human_bytes

    try:
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding(state="FAIL", about="temporary folder", found=str(error.strerror), advice="TMPDIR names another")
    # Base images are piped; only trees of patches and small files lie there.
    state: State = "ok" if free > 1 << 30 else "warn"
    found = f"{human_bytes(free)} free in {folder}"
    return Finding(state=state, about="temporary folder", found=found, advice="TMPDIR names another")


def _program(runner: SystemRunner, argv: tuple[str, ...], advice: str, *, absent: State) -> Finding:
    from builder.engine.process import CommandMissingError

    try:
        said = runner.run(argv)
    except (CommandMissingError, OSError):
        return Finding(state=absent, about=argv[0], found="not installed", advice=advice)
    words = said.text.splitlines()[0] if said.text else said.complaint[:100]
    state: State = "ok" if said.code == 0 else absent
    return Finding(state=state, about=argv[0].rpartition("/")[2], found=words, advice=advice)


def _uv(runner: SystemRunner) -> Finding:
    from builder.source.lock import find_uv

    try:
        return _program(runner, (find_uv(), "--version"), "pip install uv", absent="FAIL")
    except SourceError as error:
        # Images bring their own; the host needs it to lock and to fetch.
        return Finding(state="warn", about="uv", found=error.message, advice=f"{error.hint}, to lock and to fetch")


def _machine(runner: SystemRunner, patient: Patient, facts: Facts | None) -> Iterator[Finding]:
    from builder.engine.machine import Machine

    machine = Machine(patient.root, runner)
    largest = max((job.shm_gib for model in patient.models for job in model.jobs), default=0)
    if patient.platform is None or patient.platform.accelerator == "npu":
        cann = patient.platform.cann if patient.platform else None
        yield from machine.npu_findings(cann, wanted=patient.asked)
        yield _ascend_runtime(facts)
        yield from machine.limit_findings(largest, wanted=patient.asked)
    else:
        # On a CPU a job gets a few GiB of shared memory: builder/render/compose.py.
        yield from machine.limit_findings(min(largest, 8), wanted=False)


def _ascend_runtime(facts: Facts | None) -> Finding:
    if facts is None or "ascend" not in facts.runtimes:
        found = (
            "the engine has none; services mount devices and driver themselves, and `--runtime ascend` is not for here"
        )
        return Finding(state="ok", about="ascend runtime", found=found)
    return Finding(state="ok", about="ascend runtime", found="there: `drivebuild run --runtime ascend` uses it")


def _clock(facts: Facts | None) -> Finding:
    """Compare this clock with the engine's and with files that cannot be from the future; no host is asked."""
    now = time.time()
    if facts is not None and facts.clock is not None and abs(facts.clock - now) > SKEW:
        found = f"it differs from the engine's by {abs(facts.clock - now):.0f} s"
        return Finding(state="warn", about="clock", found=found, advice="start chrony or ntpd on both machines")
    newest = Path(__file__).stat().st_mtime
    if newest - now > SKEW:
        found = f"drivebuild's own files are {(newest - now) / 3600:.1f} h in the future"
        advice = "set the clock: certificates and records of runs go by it"
        return Finding(state="warn", about="clock", found=found, advice=advice)
    return Finding(state="ok", about="clock", found=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)))


def _site(patient: Patient) -> Iterator[Finding]:
    from builder.engine.site import find_site

    try:
        site = find_site(Path.cwd(), os.environ)
    except UsageError as error:
        yield Finding(state="FAIL", about=".env", found=error.message)
        return
    data = any(model.data.entries for model in patient.models)
    weights = any(weight.required for model in patient.models for weight in model.weights)
    lacking: State = "FAIL" if patient.asked else "warn"
    yield _folder(site, "NUSCENES_ROOT", "the dataset", lacking if data else "ok")
    yield _folder(site, "PREPARED_ROOT", "generated info files", lacking if data else "ok")
    yield _folder(site, "WEIGHTS_ROOT", "weights", lacking if weights else "ok")
    yield _runs(site)


def _folder(site: Site, name: str, what: str, lacking: State) -> Finding:
    value = site.variables.get(name, "")
    if not value:
        advice = f"copy .env.example to {site.folder / '.env'} and fill it in" if lacking != "ok" else ""
        return Finding(state=lacking, about=name, found=f"not set: the folder of {what}", advice=advice)
    path = site.folder / value
    if not path.is_dir():
        kind = "no folder" if path.exists() else "not there"
        return Finding(
            state="FAIL", about=name, found=f"{path} is {kind}", advice=f"make it, or correct {name} in .env"
        )
    if not os.access(path, os.R_OK | os.X_OK):
        return Finding(state="FAIL", about=name, found=f"{path} cannot be read by you", advice="chmod or another user")
    return Finding(state="ok", about=name, found=str(path))


def _runs(site: Site) -> Finding:
    import shutil

    from builder.cli.live import human_bytes

    # The nearest folder that is there decides: the others are made when a run begins.
    there = next(path for path in (site.runs, *site.runs.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        advice = "RUNS_ROOT in .env names another folder"
        return Finding(state="FAIL", about="RUNS_ROOT", found=f"{there} cannot be written by you", advice=advice)
    free = shutil.disk_usage(there).free
    state: State = "ok" if free >= RUNS_BYTES else "warn"
    advice = f"checkpoints of a few runs take {human_bytes(RUNS_BYTES)}" if state != "ok" else ""
    return Finding(state=state, about="RUNS_ROOT", found=f"{site.runs}, {human_bytes(free)} free", advice=advice)


def _files(config: Config) -> Finding:
    files = ", ".join(map(str, config.files))
    return Finding(state="ok", about="configuration", found=files or "no file; nothing is mirrored")


def _store(config: Config) -> Finding:
    from builder.source.store import Store

    if config.store is None:
        return Finding(state="ok", about="store", found="none is configured")
    if not config.store.exists():
        advice = f"`drivebuild fetch --all --store {config.store}` makes and fills it"
        return Finding(state="warn", about="store", found=f"{config.store} is not there", advice=advice)
    try:
        entries = Store(config.store).entries()
    except DrivebuildError as error:
        return Finding(state="FAIL", about="store", found=error.message, advice=error.hint)
    return Finding(state="ok", about="store", found=f"{len(entries)} things in {config.store}")


def _certificates(network: Network) -> Finding:
    from builder.engine.trust import ca_bundle

    try:
        bundle = ca_bundle(Path(network.ca_bundle) if network.ca_bundle else None, os.environ)
    except UsageError as error:
        found = error.message.removeprefix("--ca-bundle ")
        return Finding(state="FAIL", about="certificates", found=found, advice="a PEM file is wanted")
    found = f"{bundle.path} goes to every build" if bundle else "none of its own; each image has its system's"
    return Finding(state="ok", about="certificates", found=found)


def _proxies(network: Network) -> Finding:
    shown = []
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        value = network.proxies.get(name, "")
        if value:
            # The name of the host alone: the rest may be a password.
            host = value.rpartition("://")[2].partition("/")[0].rpartition("@")[2]
            shown.append(f"{name} {host}")
    return Finding(state="ok", about="proxy", found=", ".join(shown) or "none")


def _netrc() -> Finding:
    from builder.engine.secrets import netrc_file

    path: Path | None = netrc_file(os.environ)
    if path is None:
        return Finding(state="ok", about="netrc", found="none")
    if path.stat().st_mode & 0o077:
        advice = f"chmod 600 {path}"
        return Finding(state="warn", about="netrc", found=f"{path} can be read by others", advice=advice)
    return Finding(state="ok", about="netrc", found=str(path))
