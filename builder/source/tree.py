"""Reads and writes a tree of rendered files. Each file is replaced at once or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from builder.errors import SourceError
from builder.render.tree import OWN_FOLDERS, Drift

__all__ = ["apply", "read_tree", "write_text"]


def read_tree(root: Path, wanted: Iterable[str]) -> dict[str, str]:
    """Return the text of every wanted file that exists, and of every other file in drivebuild's own folders.

    What is behind a link that leads out of the folder is none of them: its text would be shown as a difference.
    """
    paths = {path for path in wanted if (root / path).is_file()}
    for folder in OWN_FOLDERS:
        paths.update(path.relative_to(root).as_posix() for path in (root / folder).rglob("*") if path.is_file())
    within = [path for path in sorted(paths) if _is_within(root / path, root)]
    return {path: (root / path).read_text(encoding="utf-8", errors="replace") for path in within}


def apply(root: Path, rendered: Mapping[str, str], drift: Drift) -> None:
    """Write what is missing or stale and remove what is surplus.

    Raises:
        SourceError: when a file cannot be written, or would lie elsewhere because a folder is a link; files written
            before it stay, each of them whole.
    """
    for path in (*drift.missing, *drift.stale):
        if not _is_within((root / path).parent, root):
            message = f"{root / path}: a folder on the way is a link that leads out of {root}"
            raise SourceError(message, hint="remove the link, or choose another folder with --output")
    for path in (*drift.missing, *drift.stale):
        write_text(root / path, rendered[path])
    for path in drift.surplus:
        (root / path).unlink()
        _remove_empty_folders(root / path, root)


def _is_within(path: Path, root: Path) -> bool:
    """Return whether a path is below the folder when links are followed. The folder itself may be one."""
    return path.resolve().is_relative_to(root.resolve())


def _remove_empty_folders(path: Path, root: Path) -> None:
    for parent in path.parents:
        if parent == root or any(parent.iterdir()):
            return
        parent.rmdir()


def write_text(path: Path, text: str) -> None:
    """Write a file through a temporary name in the same folder.

    Raises:
        SourceError: with the path and the system's reason.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; these are to be committed and read by everyone.
        os.chmod(temporary, 0o644)  # noqa: PTH101
        os.replace(temporary, path)  # noqa: PTH105
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        hint = "choose another folder with --output"
        raise SourceError(f"cannot write {path}: {error.strerror}", hint=hint) from error
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
