"""Near misses: where something that is missing may be after all. Looks into a few folders, never deep."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from builder.dataset.nuscenes import DOWNLOADS, VERSIONS, download_of

__all__ = ["explain_missing", "find_archive", "looks_like_root", "other_roots"]

_ARCHIVES = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar", ".zip")
_TOPS = ("samples", "sweeps", "maps", "lidarseg", "panoptic")
_MOST = 200
"""Entries of a folder that are looked at: a folder of a million files is not what was meant."""


def looks_like_root(folder: Path) -> bool:
    """Return whether a folder has tables or sensors' files as nuScenes' own folder has them."""
    return any((folder / name).is_dir() for name in (*VERSIONS, "samples"))


def other_roots(folder: Path) -> list[Path]:
    """Return folders near `folder` that look like the one that is meant: above it, or up to two levels below."""
    above = [each for each in list(folder.absolute().parents)[:3] if looks_like_root(each)]
    first = [each for each in _entries(folder) if each.is_dir()]
    below = [each for each in first if looks_like_root(each)]
    deeper = (
        [] if below else [each for one in first for each in _entries(one) if each.is_dir() and looks_like_root(each)]
    )
    return [*above[:1], *below, *deeper]


def explain_missing(root: Path, path: str) -> str:
    """Return where `path`, which is not below `root`, may be instead; '' when nothing like it was found."""
    place = root
    for part in Path(path).parts:
        step = place / part
        if step.is_symlink() and not step.exists():
            return f"{step} is a link to {step.readlink()}, which is not there"
        if not step.exists():
            return _instead(root, place, part, path)
        place = step
    nested = root / path / Path(path).name
    if nested.is_dir():
        return f"it lies one level too deep: move what is in {nested} one folder up"
    return find_archive(root, path)


def _instead(root: Path, parent: Path, name: str, path: str) -> str:
    for sibling in _entries(parent):
        if _plain(sibling.name) == _plain(name) and sibling.name != name:
            return f"there is {sibling.name!r}; it has to be named {name!r}"
    for folder in _entries(parent):
        if folder.is_dir() and (parent != root or folder.name not in (*VERSIONS, *_TOPS)) and (folder / name).exists():
            return f"it lies one level too deep, in {folder}: move it to {parent}"
    if (parent.parent / name).exists():
        return f"it lies one level too high: {parent.parent / name}; move it to {parent}"
    if (root / name).exists():
        return f"there is {root / name}; move it to {parent / name}"
    return find_archive(root, path)


def find_archive(root: Path, path: str, version: str = "") -> str:
    """Return that an archive of the download of `path` lies near by and was not unpacked, or ''."""
    download = DOWNLOADS.get(download_of(path, version))
    if download is None:
        return ""
    for folder in (root, root.parent):
        for entry in _entries(folder):
            matching = any(fnmatch(entry.name.lower(), pattern.lower()) for pattern in download.archives)
            if matching and entry.name.endswith(_ARCHIVES) and entry.is_file():
                return f"{entry} lies there: unpack it into {root}"
    return ""


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def _entries(folder: Path) -> list[Path]:
    found: list[Path] = []
    try:
        for entry in folder.iterdir():
            found.append(entry)
            if len(found) == _MOST:
                break
    except OSError:
        return []
    return sorted(found)
