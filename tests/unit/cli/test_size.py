"""`size` and what it refuses before it asks an engine."""

from __future__ import annotations

import pytest
from support.cli import drivebuild, refused


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "name models, or --all"),
        (("streampetr", "--all"), 2, "name models, or --all"),
        (("streampetr", "panoocc", "--tag", "x"), 2, "--tag names one image"),
        (("streamptr",), 4, "did you mean 'streampetr'?"),
        (("streampetr", "--variant", "fast"), 4, "has no variant 'fast'"),
    ],
)
def test_refused(words: tuple[str, ...], code: int, said: str) -> None:
    result = drivebuild("size", *words)
    assert said in refused(result, code)
