"""How an image can be called: distribution/reference, which engines and Kubernetes go by. Pure."""

from __future__ import annotations

import re

__all__ = ["IMAGE_NAME", "is_image"]

_COMPONENT = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_PART = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
# As engines tell it from a folder of their default registry: with a dot or a port, or localhost.
_HOST = rf"((localhost|{_PART}(\.{_PART})+|{_PART}(\.{_PART})*(?=:))(:[0-9]+)?/)?"
IMAGE_NAME = re.compile(
    rf"(?=.{{1,400}}\Z){_HOST}{_COMPONENT}(/{_COMPONENT})*(?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?"
    r"(?P<digest>@sha256:[0-9a-f]{64})?\Z"
)
_ID = re.compile(r"sha256:[0-9a-f]{1,64}\Z")


def is_image(text: str) -> bool:
    """Whether a text can be the name or the id of an image."""
    return bool(IMAGE_NAME.match(text) or _ID.match(text))
