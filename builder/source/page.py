"""Tells a web page from a file: what a login, a captive portal or a host's own "not found" answers with."""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["looks_like_page", "page_title"]

_BEGIN = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|script)\b", re.IGNORECASE | re.DOTALL
)
_TITLE = re.compile(rb"<title[^>]*>\s*(.{1,80}?)\s*</title>", re.IGNORECASE | re.DOTALL)


def looks_like_page(begin: bytes, content_type: str, *, file: str, proven: bool) -> Literal["", "maybe", "yes"]:
    """Say whether an answer is a page and not the file.

    Args:
        begin: the first bytes of the answer.
        proven: whether a checksum will tell: then a server that merely calls a file `text/html` is believed to err,
            and a file that merely begins like a page may be the one that is wanted.
    """
    if file.endswith((".html", ".htm")):
        return ""
    called = content_type.lower().startswith("text/html")
    begins = bool(_BEGIN.match(begin[:2048]))
    if begins and (called or not proven):
        return "yes"
    if called and not proven:
        return "yes"
    return "maybe" if begins else ""


def page_title(begin: bytes) -> str:
    """Return what a page calls itself, if its first bytes say so."""
    found = _TITLE.search(begin[:65536])
    return found[1].decode("utf-8", "replace") if found else ""
