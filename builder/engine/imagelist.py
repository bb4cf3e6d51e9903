"""The images of an engine, the containers that stand on them, and the removal of names and images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from builder.engine.host import Engine, seconds_of
from builder.engine.ours import Held, held_of
from builder.errors import BuildError

__all__ = ["CacheSpace", "ImageList", "Sizes"]

Sizes = Callable[[Sequence[str], Sequence[tuple[str, int]]], Sequence[int]]
"""From the layers' digests, the lowest first, and the history, the newest first, to the layers' bytes."""


class CacheSpace:
    """What the engine's own builder keeps, in bytes."""

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self.total = sum(int(record.get("Size") or 0) for record in records)
        self.shared = sum(int(record.get("Size") or 0) for record in records if record.get("Shared"))
        """Bytes that are layers of images as well: who removes one of the two frees nothing of them."""
        self.used = sum(int(record.get("Size") or 0) for record in records if record.get("InUse"))
        self.records = len(records)


class ImageList:
    """The engine's images."""

    def __init__(self, engine: Engine, sizes: Sizes) -> None:
        self._client: Any = engine.client
        self._sizes = sizes

    def all(self) -> tuple[Held, ...]:
        """Return every image, with or without a name.

        Raises:
            BuildError: when the engine does not answer.
        """
        return tuple(self._each())

    def used(self) -> dict[str, str]:
        """Return the name of a container by the id of the image that it stands on, running or not.

        Raises:
            BuildError: when the engine does not answer.
        """
        found = self._ask("containers", all=True)
        return {str(each["ImageID"]): str((each.get("Names") or ["?"])[0]).lstrip("/") for each in found}

    def cache(self) -> CacheSpace | None:
        """Return what the engine's own builder keeps; None where the engine does not say."""
        from docker.errors import DockerException

        try:
            return CacheSpace(self._client.df().get("BuildCache") or ())
        except (DockerException, OSError):
            return None

    def remove(self, image: Held) -> str:
        """Take an image's names from it, and with the last one the image; return why it stays, or ''.

        Nothing is forced: an image that a container has begun to use stays, and a name that leads to another image by
        now is that one's.
        """
        from docker.errors import APIError, DockerException, NotFound

        try:
            for name in image.tags:
                if str(self._client.inspect_image(name)["Id"]) != image.id:
                    return f"{name} is another image by now"
                self._client.remove_image(name)
            if not image.tags:
                self._client.remove_image(image.id)
        except NotFound:
            return ""
        except APIError as error:
            return str(error.explanation or error)
        except (DockerException, OSError) as error:
            return str(error)
        return ""

    def _each(self) -> Iterator[Held]:
        for entry in self._ask("images", all=False):
            found = self._ask("inspect_image", entry["Id"], gone=None)
            if found is None:
                continue
            history = self._ask("history", entry["Id"], gone=[])
            layers = tuple(str(each) for each in (found.get("RootFS") or {}).get("Layers") or ())
            said = [(str(each.get("CreatedBy") or ""), int(each.get("Size") or 0)) for each in history]
            yield held_of(found, history, self._sizes(layers, said), _when(found))

    def _ask(self, method: str, *words: Any, gone: Any = ..., **options: Any) -> Any:
        import requests
        from docker.errors import DockerException, NotFound

        try:
            return getattr(self._client, method)(*words, **options)
        except NotFound as error:
            # Somebody removed it between two questions.
            if gone is not ...:
                return gone
            raise BuildError(f"the engine does not say what it has: {error}") from error
        except (DockerException, requests.RequestException, OSError) as error:
            raise BuildError(f"the engine does not say what it has: {error}") from error


def _when(found: Mapping[str, Any]) -> float:
    """Return when an image got its name, or was made: with a fixed clock it says to be older than it is."""
    said = (str((found.get("Metadata") or {}).get("LastTagTime") or ""), str(found.get("Created") or ""))
    return max(seconds_of(text) or 0.0 for text in said)
