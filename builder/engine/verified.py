"""What `verify` found of an image, kept by what the image is: its name may be another's tomorrow."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from builder import __version__
from builder.engine.folders import make_folder, state_folder
from builder.engine.host import Image
from builder.engine.log import unwritable
from builder.engine.manifests import identity
from builder.errors import UsageError

__all__ = ["Verified", "keep", "kept", "of_image", "read"]


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """One `verify` of one image."""

    identity: str
    """builder/engine/manifests.py: equal for the image here and the same one in a registry."""
    image: str
    ok: bool
    summary: str
    when: str
    drivebuild: str
    architecture: str = ""


def of_image(image: Image, name: str, *, ok: bool, summary: str) -> Verified:
    """Return what is to be kept of a `verify` that has just ended."""
    return Verified(
        identity=identity(image.layers, image.config),
        image=name,
        ok=ok,
        summary=summary,
        when=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        drivebuild=__version__,
        architecture=image.architecture,
    )


def keep(found: Verified) -> Path:
    """Write it down, over what was found of the same image before.

    Raises:
        BuildError: when the state folder cannot be written.
    """
    path = make_folder(state_folder() / "verified") / f"{found.identity}.json"
    beside = path.with_suffix(".part")
    try:
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise unwritable(path, error) from error
    return path


def kept(identity: str) -> Verified | None:
    """Return what was found of an image on this machine, or None when nobody looked."""
    try:
        content = (state_folder() / "verified" / f"{identity}.json").read_bytes()
        return msgspec.json.decode(content, type=Verified)
    except (OSError, msgspec.MsgspecError):
        return None


def read(path: Path) -> Verified:
    """Return what `verify --json` printed on another machine.

    Raises:
        UsageError: when it is no such file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"--verified {path}: {error.strerror}") from error
    try:
        return msgspec.convert(msgspec.json.decode(content)["record"], type=Verified)
    except (msgspec.MsgspecError, KeyError, TypeError, IndexError) as error:
        hint = "made by `drivebuild verify … --json > FILE`, where the image was built"
        raise UsageError(f"--verified {path}: not what verify --json prints", hint=hint) from error
