"""What the engine answers when it cannot do what is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from docker.errors import APIError

from builder.engine.host import Engine
from builder.errors import BuildError


class _Full:
    """An engine's client that breaks off an export after its first piece."""

    def __init__(self, explanation: str) -> None:
        self.explanation = explanation

    def get_image(self, _name: str, *, chunk_size: int) -> Iterator[bytes]:
        yield b"x" * min(chunk_size, 8)
        raise APIError("500 Server Error", explanation=self.explanation)


@pytest.mark.parametrize(
    ("explanation", "hint"),
    [
        ("write /engine/tmp/docker-export-1/blobs/x: no space left on device", "`docker builder prune` makes room"),
        ("layer does not exist", ""),
    ],
)
def test_an_export_that_breaks_off(explanation: str, hint: str) -> None:
    pieces = Engine(_Full(explanation)).save("a:1")  # type: ignore[arg-type]
    assert next(pieces) == b"xxxxxxxx"
    with pytest.raises(BuildError) as error:
        next(pieces)
    assert str(error.value) == f"the engine cannot export a:1: {explanation}"
    assert hint in error.value.hint
