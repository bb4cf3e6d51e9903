"""Licences as packages say them, as SPDX has them, and what they demand."""

from __future__ import annotations

import pytest

from builder.provenance.dpkg import copyright_licences
from builder.provenance.licences import classes_of, expression_of, joined, reference

GPL_TEXT = "GNU GENERAL PUBLIC LICENSE\n   Version 3, 29 June 2007\n" + "words\n" * 400
MIT_TEXT = "Copyright (c) x\n\nPermission is hereby granted, free of charge, to any person obtaining a copy\nof this\n"
BSD_TEXT = "Copyright\n\nRedistribution and use in source and binary forms: Neither the name of\n"


@pytest.mark.parametrize(
    ("said", "expression"),
    [
        ("MIT", "MIT"),
        ("MIT License", "MIT"),
        ("The MIT License", "MIT"),
        ("Apache 2.0", "Apache-2.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("\n        Apache License\n      Version 2.0, January 2004\n", "Apache-2.0"),
        ("BSD", "LicenseRef-BSD"),
        ("3-clause BSD", "BSD-3-Clause"),
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPL-3.0", "GPL-3.0-only"),
        ("LGPLv2+", "LGPL-2.0-or-later"),
        ("AGPL-3", "AGPL-3.0-only"),
        ("GPLv2+ and LGPLv2+ and MIT", "GPL-2.0-or-later AND LGPL-2.0-or-later AND MIT"),
        ("GPL-3+ with GCC exception", "GPL-3.0-or-later WITH GCC-exception-3.1"),
        ("MPL-2.0 AND MIT", "MPL-2.0 AND MIT"),
        ("Apache-2.0 OR LicenseRef-Own", "Apache-2.0 OR LicenseRef-Own"),
        ("Attribution-NonCommercial-ShareAlike 4.0", "CC-BY-NC-SA-4.0"),
        (GPL_TEXT, "GPL-3.0-only"),
        (MIT_TEXT, "MIT"),
        (BSD_TEXT + "\n" * 3 + GPL_TEXT, "BSD-3-Clause"),
        ("Files: *\nCopyright: x\nLicense: BSD-3-Clause\n\nFiles: y\nLicense: MIT\n", "BSD-3-Clause"),
        ("UNKNOWN", ""),
        ("", ""),
        ("my own words", ""),
        ("MIT and my own words", ""),
        ("((((", ""),
        ("MIT OR", ""),
    ],
)
def test_what_is_said_as_spdx_has_it(said: str, expression: str) -> None:
    assert expression_of(said) == expression


@pytest.mark.parametrize(
    ("expression", "classes"),
    [
        ("MIT", set()),
        ("GPL-2.0-only", {"gpl"}),
        ("LGPL-2.1-or-later", {"lgpl"}),
        ("AGPL-3.0-only", {"agpl"}),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", {"gpl"}),
        ("MIT OR GPL-2.0-only", set()),
        ("LGPL-2.1-only OR GPL-2.0-only", {"gpl"}),
        ("(MIT OR GPL-2.0-only) AND CC-BY-NC-4.0", {"non-commercial"}),
        ("LicenseRef-NVIDIA-Proprietary AND LGPL-2.1-only", {"proprietary", "lgpl"}),
        ("CC-BY-NC-SA-4.0", {"non-commercial"}),
        ("", {"unknown"}),
        ("((", {"unknown"}),
    ],
)
def test_what_a_licence_demands(expression: str, classes: set[str]) -> None:
    assert classes_of(expression) == classes


def test_parts_are_joined_once_and_in_order() -> None:
    assert joined(["MIT", "GPL-2.0-only OR MIT", "MIT", ""]) == "(GPL-2.0-only OR MIT) AND MIT"
    assert joined(["A OR B"]) == "A OR B"
    assert joined([]) == ""


def test_names_that_spdx_does_not_have_are_references() -> None:
    assert reference("\x1b[31mod d/") == "LicenseRef-31mod-d"
    assert reference("LicenseRef-Own") == "LicenseRef-Own"
    assert reference("£££") == "LicenseRef-unnamed"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Format: x\nFiles: *\nLicense: GPL-2+ and Expat\n\nLicense: Expat\n words\n", ("Expat", "GPL-2+")),
        ("Format: x\nLicense: GPL-2+ or Artistic\n", ("GPL-2.0-or-later OR Artistic-1.0-Perl",)),
        ("under /usr/share/common-licenses/GPL-3, version 3 or (at your option) any later version", ("GPL-3+",)),
        ("under /usr/share/common-licenses/GPL-2.", ("GPL-2",)),
        (MIT_TEXT, ("MIT",)),
        ("all rights are somebody's", ()),
    ],
)
def test_copyright_files_of_debian(text: str, names: tuple[str, ...]) -> None:
    assert copyright_licences(text) == names
