"""Profiles for the variant `pgo`: kept by their content, with what they were made of, and the one that fits a plan."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from builder.engine.folders import make_folder, state_folder
from builder.errors import BuildError, UsageError
from builder.plan.optimise import fingerprint
from builder.plan.stage import Plan

__all__ = ["FILE", "Compiler", "Profile", "Provenance", "all_profiles", "find_profile", "keep", "profiles_folder"]

FILE = "default.profdata"
"""The name that torch_npu's own build looks for, too."""
MAGIC = b"\xfflprofi\x81"
"""How LLVM's indexed profiles begin (llvm/include/llvm/ProfileData/InstrProf.h)."""
PROVENANCE = "provenance.json"
_SHA = re.compile(r"[0-9a-f]{8,64}\Z")


class Compiler(msgspec.Struct, frozen=True, kw_only=True):
    """The compiler that made the instrumented code; its profdata merged the profile."""

    name: str = ""
    version: str = ""
    """The line it says of itself."""
    sha256: str = ""


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """provenance.json: what a profile was made of. A file that somebody brought has almost none."""

    schema: int = 1
    sha256: str
    model: str = ""
    platform: str = ""
    variant: str = ""
    compiler: Compiler = Compiler()
    sources: Mapping[str, str] = {}
    """The pin of each source in the image that ran."""
    fingerprint: Mapping[str, str] = {}
    """By component: a digest of its sources, changes, flags and compiler (builder/plan/optimise.py)."""
    workload: str = ""
    image: str = ""
    """The id of the image that ran."""
    ranks: int = 0
    """Processes that had to leave their part."""
    processes: int = 0
    raw: int = 0
    functions: int = 0
    ran: int = 0
    """Functions that ran at least once."""
    hot: tuple[str, ...] = ()
    """Patterns of functions that were looked for, and had run."""
    seconds: float = 0.0
    when: str = ""
    host: str = ""
    drivebuild: str = ""


class Profile(msgspec.Struct, frozen=True):
    """One kept profile."""

    folder: Path
    provenance: Provenance

    @property
    def sha256(self) -> str:
        """The name by which commands and images call it."""
        return self.provenance.sha256


def profiles_folder() -> Path:
    """Return the folder of kept profiles. It need not be there."""
    return state_folder() / "profiles"


def keep(file: Path, provenance: Provenance) -> Profile:
    """Keep a profile under its sha256, whole or not at all; one that is there stays with what was said of it first.

    Raises:
        BuildError: when it cannot be written.
    """
    target = make_folder(profiles_folder()) / provenance.sha256
    if not (target / PROVENANCE).is_file():
        scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=".new-"))
        try:
            scratch.chmod(0o755)
            shutil.copyfile(file, scratch / FILE)
            text = msgspec.json.format(msgspec.json.encode(provenance), indent=1) + b"\n"
            (scratch / PROVENANCE).write_bytes(text)
            scratch.rename(target)
        except OSError as error:
            if not (target / PROVENANCE).is_file():
                raise BuildError(f"{target}: {error.strerror}") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return _read(target) or Profile(target, provenance)


def all_profiles() -> tuple[Profile, ...]:
    """Return the kept profiles, the newest first; what is none is passed over."""
    try:
        folders = [Path(entry) for entry in os.scandir(profiles_folder()) if _SHA.match(entry.name)]
    except OSError:
        return ()
    found = (_read(folder) for folder in folders)
    return tuple(sorted((each for each in found if each), key=lambda each: each.provenance.when, reverse=True))


def find_profile(plan: Plan, wanted: str = "") -> Profile:
    """Return the profile to build a plan with: the newest that fits, or the one that `wanted` names, sha256 or path.

    Raises:
        UsageError: for a name or path that is none.
        BuildError: when there is none that fits, or the named one was made of something else; says of what.
    """
    make = f"drivebuild profile {' '.join(word for word in plan.arguments if word != '--pgo=use')}"
    if wanted:
        found = _named(wanted)
        wrong = tuple(_differences(found.provenance, plan)) if found.provenance.fingerprint else ()
        if wrong:
            message = f"profile {found.sha256[:12]} does not fit {plan.tag}: {'; '.join(wrong)}"
            raise BuildError(message, hint=f"`{make}` makes one that does")
        return found
    kept = all_profiles()
    for each in kept:
        if each.provenance.fingerprint and not any(_differences(each.provenance, plan)):
            return each
    message = f"there is no profile for {plan.tag}"
    if kept:
        listed = [f"{each.sha256[:12]}: {'; '.join(_why(each, plan))}" for each in kept[:5]]
        message = "\n  - ".join((f"{message}; none of the {len(kept)} kept ones fits:", *listed))
    raise BuildError(message, hint=f"`{make}` makes one")


def _why(profile: Profile, plan: Plan) -> tuple[str, ...]:
    if not profile.provenance.fingerprint:
        return ("nobody wrote down what it was made of; --profile takes it all the same",)
    return tuple(_differences(profile.provenance, plan))


def _differences(made: Provenance, plan: Plan) -> Iterator[str]:
    """Yield in what a profile was made of something else than the plan compiles."""
    for component, digest in fingerprint(plan).items():
        if component not in made.fingerprint:
            yield f"{component} was not in it"
        elif made.fingerprint[component] != digest:
            now = _pins(plan, component)
            moved = [name for name, pin in made.sources.items() if now.get(name, pin) != pin]
            what = f"commit of {moved[0]}" if moved else "source, change, flag or compiler"
            yield f"{component} has another {what} now"


def _pins(plan: Plan, component: str) -> dict[str, str]:
    """Return the pins of the sources that a component is compiled from, as the image's labels say them."""
    labels = next(stage.inputs["labels"] for stage in plan.stages if stage.name == "image")
    uses = {need for stage in (component, f"{component}-source") if stage in plan.names for need in plan.needs(stage)}
    names = (use.removeprefix("src-") for use in uses if use.startswith("src-"))
    return {name: str(labels.get(f"drivebuild.source.{name}", "")) for name in names}


def _named(wanted: str) -> Profile:
    if _SHA.match(wanted):
        fitting = [each for each in all_profiles() if each.sha256.startswith(wanted)]
        if len(fitting) == 1:
            return fitting[0]
        message = f"--profile {wanted}: {len(fitting) or 'no'} kept profiles have this sha256"
        raise UsageError(message, hint="`drivebuild profile --list` has them")
    path = Path(wanted)
    folder, file = (path, path / FILE) if path.is_dir() else (path.parent, path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"--profile {wanted}: {file}: {error.strerror}", hint="a file, a folder or a sha256"
        ) from error
    if not content:
        raise UsageError(f"--profile {wanted}: {file} is empty")
    if not content.startswith(MAGIC):
        # What is kept goes into builds: any other file of the caller's must not.
        raise UsageError(
            f"--profile {wanted}: {file} is no merged profile of LLVM",
            hint="raw ones become one by `drivebuild profile`, or the compiler's own `llvm-profdata merge`",
        )
    digest = hashlib.sha256(content).hexdigest()
    told = _read(folder)
    if told and told.sha256 == digest:
        return keep(file, told.provenance)
    return keep(file, Provenance(sha256=digest))


def _read(folder: Path) -> Profile | None:
    try:
        provenance = msgspec.json.decode((folder / PROVENANCE).read_bytes(), type=Provenance)
    except (OSError, msgspec.MsgspecError):
        return None
    return Profile(folder, provenance) if (folder / FILE).is_file() else None
