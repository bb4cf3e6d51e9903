"""What a package says about its licence, as one SPDX expression, and what that means for who ships an image. Pure.

Words that SPDX does not have become a `LicenseRef-` of their own; a guess is never made of what is ambiguous ("BSD").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from license_expression import Licensing

__all__ = ["CLASSES", "UNKNOWN", "classes_of", "expression_of", "joined", "licensing", "reference"]

CLASSES = ("gpl", "agpl", "lgpl", "non-commercial", "proprietary", "unknown")
"""What can be asked about a licence; `data-terms` and vulnerabilities are asked about elsewhere."""
UNKNOWN = "unknown"
LONGEST = 200
"""Letters of what may be an expression; what is longer is the text of a licence."""
TEXT = 12000
"""Letters of a text that are looked at."""
_NOTHING = frozenset({"", "unknown", "none", "n/a", "see license", "license", "license.txt", "other", "dual license"})
_SPELLED = {
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "apache license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "asl 2.0": "Apache-2.0",
    "2-clause bsd": "BSD-2-Clause",
    "3-clause bsd": "BSD-3-Clause",
    "bsd 2-clause": "BSD-2-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd 3 clause": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd-2": "BSD-2-Clause",
    "bsd-3": "BSD-3-Clause",
    "modified bsd": "BSD-3-Clause",
    "modified bsd license": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "new bsd license": "BSD-3-Clause",
    "simplified bsd": "BSD-2-Clause",
    "freebsd": "BSD-2-Clause",
    "bsd-4-clause": "BSD-4-Clause",
    "bsd": "LicenseRef-BSD",
    "bsd license": "LicenseRef-BSD",
    "bsd-style": "LicenseRef-BSD",
    "expat": "MIT",
    "expat license": "MIT",
    "mit license": "MIT",
    "the mit license": "MIT",
    "the mit license (mit)": "MIT",
    "mit licensed as found in the license file": "MIT",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mpl 2.0": "MPL-2.0",
    "mplv2.0": "MPL-2.0",
    "mozilla public license 2.0": "MPL-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psf": "PSF-2.0",
    "psf license": "PSF-2.0",
    "psfl": "PSF-2.0",
    "python": "Python-2.0",
    "python software foundation license": "PSF-2.0",
    "historical permission notice and disclaimer (hpnd)": "HPND",
    "zlib/libpng license": "Zlib",
    "the unlicense (unlicense)": "Unlicense",
    "cc0": "CC0-1.0",
    "public domain": "LicenseRef-public-domain",
    "public-domain": "LicenseRef-public-domain",
    "pd": "LicenseRef-public-domain",
    "artistic": "Artistic-1.0-Perl",
    "x11": "X11",
    "openssl": "OpenSSL",
    "bzip2": "bzip2-1.0.6",
    "gpl": "GPL-1.0-or-later",
    "lgpl": "LGPL-2.0-or-later",
    "gnu general public license (gpl)": "GPL-1.0-or-later",
    "gnu general public license v2 (gplv2)": "GPL-2.0-only",
    "gnu general public license v2 or later (gplv2+)": "GPL-2.0-or-later",
    "gnu general public license v3 (gplv3)": "GPL-3.0-only",
    "gnu general public license v3 or later (gplv3+)": "GPL-3.0-or-later",
    "gnu lesser general public license v2 (lgplv2)": "LGPL-2.0-only",
    "gnu lesser general public license v2 or later (lgplv2+)": "LGPL-2.0-or-later",
    "gnu lesser general public license v3 (lgplv3)": "LGPL-3.0-only",
    "gnu lesser general public license v3 or later (lgplv3+)": "LGPL-3.0-or-later",
    "gnu affero general public license v3": "AGPL-3.0-only",
    "gnu affero general public license v3 or later (agplv3+)": "AGPL-3.0-or-later",
    "attribution-noncommercial-sharealike 4.0": "CC-BY-NC-SA-4.0",
    "attribution-noncommercial-sharealike 4.0 international": "CC-BY-NC-SA-4.0",
    "attribution-noncommercial 4.0 international": "CC-BY-NC-4.0",
    "cc by-nc-sa 4.0": "CC-BY-NC-SA-4.0",
    "cc by-nc 4.0": "CC-BY-NC-4.0",
    "creative commons attribution-noncommercial 4.0": "CC-BY-NC-4.0",
    "nvidia proprietary software": "LicenseRef-NVIDIA-Proprietary",
    "other/proprietary license": "LicenseRef-Proprietary",
    "proprietary": "LicenseRef-Proprietary",
    "huawei enterprise end user license agreement": "LicenseRef-Huawei-EULA",
}
# Debian's short names and Fedora's, which openEuler has too: GPL-2+, LGPL-2.1, GPLv3+.
_GNU = re.compile(
    r"(?P<kind>a?gpl|lgpl|gfdl)-?v?(?P<version>[123](?:\.[0-9])?)(?P<more>\+|-or-later)?(?:-only)?", re.IGNORECASE
)
_EXCEPTED = re.compile(r"(?P<licence>\S+) with (?P<what>.+?)(?:[- ]exception)?", re.IGNORECASE)
_EXCEPTIONS = {
    "gcc": "GCC-exception-3.1",
    "autoconf": "Autoconf-exception-3.0",
    "bison": "Bison-exception-2.2",
    "libtool": "Libtool-exception",
    "font": "Font-exception-2.0",
    "classpath": "Classpath-exception-2.0",
}
# The first words of texts; of two that begin at one place, the first in this list holds.
_TEXTS = (
    (r"GNU AFFERO GENERAL PUBLIC LICENSE\s+Version 3", "AGPL-3.0-only"),
    (r"GNU LESSER GENERAL PUBLIC LICENSE\s+Version 3", "LGPL-3.0-only"),
    (r"GNU LESSER GENERAL PUBLIC LICENSE\s+Version 2\.1", "LGPL-2.1-only"),
    (r"GNU LIBRARY GENERAL PUBLIC LICENSE\s+Version 2", "LGPL-2.0-only"),
    (r"GNU GENERAL PUBLIC LICENSE\s+Version 3", "GPL-3.0-only"),
    (r"GNU GENERAL PUBLIC LICENSE\s+Version 2", "GPL-2.0-only"),
    (r"Mozilla Public License,?\s+(?:Version|v\.)?\s*2\.0", "MPL-2.0"),
    (r"Attribution-NonCommercial-ShareAlike 4\.0 International", "CC-BY-NC-SA-4.0"),
    (r"Attribution-NonCommercial 4\.0 International", "CC-BY-NC-4.0"),
    (r"Apache License,?\s+Version 2\.0", "Apache-2.0"),
    (r"PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2", "PSF-2.0"),
    (r"NVIDIA CORPORATION.{0,200}proprietary|License Agreement for NVIDIA", "LicenseRef-NVIDIA-Proprietary"),
    (r"Permission is hereby granted, free of charge, to any person obtaining a copy", "MIT"),
    (r"Permission to use, copy, modify, and(?:/or)? distribute this software for any\s+purpose", "ISC"),
    (r"Redistribution and use in source and binary forms.{0,1500}[Nn]either the names? ", "BSD-3-Clause"),
    (r"Redistribution and use in source and binary forms.{0,1500}Names? of the copyright holders", "BSD-3-Clause"),
    (r"Redistribution and use in source and binary forms.{0,900}THIS SOFTWARE IS PROVIDED", "BSD-2-Clause"),
    (r"\bnon-?commercial (?:research|use|purposes?)", "LicenseRef-non-commercial"),
    (r"\bMIT License\b", "MIT"),
    (r"\bBSD 3-Clause License\b", "BSD-3-Clause"),
)
_OWN = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")
_NON_COMMERCIAL = re.compile(r"-NC(?:-|$)|non-?commercial", re.IGNORECASE)
_PROPRIETARY = re.compile(r"proprietary|eula", re.IGNORECASE)


@lru_cache(maxsize=1)
def licensing() -> Licensing:
    """Return what parses SPDX expressions, made once: it reads the whole list of licences."""
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


@lru_cache(maxsize=4096)
def expression_of(text: str) -> str:
    """Return what a package says about its licence as an SPDX expression, '' where it says nothing that is known.

    Args:
        text: an expression, a name, or the whole text of a licence.

    >>> expression_of("Apache License, Version 2.0")
    'Apache-2.0'
    >>> expression_of("GPL-2+")
    'GPL-2.0-or-later'
    """
    plain = " ".join(text.split())
    if len(plain) > LONGEST or text.strip().count("\n") > 1:
        return _of_text(text)
    spelled = plain.lower().removeprefix("the ").replace(",", "").strip(" .")
    if spelled in _NOTHING:
        return ""
    return _SPELLED.get(plain.lower()) or _SPELLED.get(spelled) or _short(plain) or _parsed(plain) or _of_text(text)


def _of_text(text: str) -> str:
    head = text[:TEXT]
    if re.match(r"\s*(?:Files|Format): ", head):
        # Debian's form, which some projects have, too: the first group of files is the project's own.
        found = re.search(r"^License: *(\S.{0,80})$", head, re.MULTILINE)
        return _parsed(found[1].strip()) or _short(found[1].strip()) if found else ""
    places = [(match.start(), found) for pattern, found in _TEXTS if (match := re.search(pattern, head, re.DOTALL))]
    # What comes first is the project's own; what is bundled is appended.
    return min(places, key=lambda place: place[0])[1] if places else ""


def _short(name: str) -> str:
    if (match := _GNU.fullmatch(name)) is not None:
        version = match["version"] if "." in match["version"] else f"{match['version']}.0"
        kind = match["kind"].upper()
        return _parsed(f"{kind}-{version}-{'or-later' if match['more'] else 'only'}")
    if (match := _EXCEPTED.fullmatch(name)) is not None:
        exception = _EXCEPTIONS.get(match["what"].lower().removesuffix("-exception").strip())
        licence = _short(match["licence"])
        return f"{licence} WITH {exception}" if exception and licence else ""
    return _listed(name)


def _listed(text: str) -> str:
    """Return `GPLv2+ and MIT`, as Fedora wrote lists before it took SPDX's names, where each word is known."""
    words = re.split(r" (and|or) ", text)
    if len(words) == 1 or "(" in text:
        return ""
    names = [expression_of(word) for word in words[::2]]
    signs = [f" {word.upper()} " for word in words[1::2]]
    return _parsed("".join(map("".join, zip(names, [*signs, ""], strict=True)))) if all(names) else ""


def _parsed(text: str) -> str:
    from boolean import ParseError
    from license_expression import ExpressionError

    try:
        found = licensing().parse(text)
        unknown = licensing().unknown_license_keys(found) if found is not None else []
    except (ExpressionError, ParseError, ValueError, RecursionError, IndexError, TypeError, AttributeError):
        # The parser meets texts that nobody wrote for it; what it cannot read is no expression.
        return ""
    # A name of its own is as good as SPDX has it; any other word may be anything.
    return "" if found is None or any(not _OWN.fullmatch(key) for key in unknown) else str(found)


def reference(name: str) -> str:
    """Return a name that SPDX does not have as a reference in an expression.

    >>> reference("Kiwi licence, see below")
    'LicenseRef-Kiwi-licence-see-below'
    """
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")[:60].rstrip("-.")
    return name if _OWN.fullmatch(name) else f"LicenseRef-{plain or 'unnamed'}"


def joined(expressions: Iterable[str]) -> str:
    """Return one expression in which all of them hold, each once, sorted.

    >>> joined(["MIT", "Apache-2.0 OR MIT", "MIT"])
    '(Apache-2.0 OR MIT) AND MIT'
    """
    unique = sorted({each for each in expressions if each})
    return " AND ".join(f"({each})" if len(unique) > 1 and " OR " in each else each for each in unique)


@lru_cache(maxsize=4096)
def classes_of(expression: str) -> frozenset[str]:
    """Return which classes of licences an expression cannot do without: of alternatives, the least demanding counts.

    >>> sorted(classes_of("GPL-2.0-only OR MIT"))
    []
    >>> sorted(classes_of("GPL-2.0-only AND CC-BY-NC-4.0"))
    ['gpl', 'non-commercial']
    """
    if not expression:
        return frozenset({UNKNOWN})
    try:
        tree = licensing().parse(expression)
    except Exception:  # noqa: BLE001  # the parser's own errors are of several trees
        return frozenset({UNKNOWN})
    return _demanded(tree)


def _demanded(tree: Any) -> frozenset[str]:
    parts = [_demanded(each) for each in tree.args] if getattr(tree, "operator", None) else []
    operator = str(getattr(tree, "operator", "") or "").strip().upper()
    if operator == "OR":
        return min(parts, key=lambda part: (len(part), sorted(part)))
    if operator == "AND":
        return frozenset().union(*parts)
    return _of_symbol(str(getattr(tree, "license_symbol", tree)))


def _of_symbol(name: str) -> frozenset[str]:
    found = set()
    for word, prefix in (("agpl", "AGPL-"), ("lgpl", "LGPL-"), ("gpl", "GPL-")):
        if name.upper().startswith(prefix):
            found.add(word)
    if _NON_COMMERCIAL.search(name):
        found.add("non-commercial")
    if _PROPRIETARY.search(name):
        found.add("proprietary")
    return frozenset(found)
