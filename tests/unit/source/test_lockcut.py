"""What a lock names of each package: a wheel that fits, or the source archive with its name."""

from __future__ import annotations

import pytest

from builder.errors import SourceError
from builder.plan.locks import lock_archives
from builder.source.lockcut import cut

A, B = "a" * 64, "b" * 64
WHEEL = f'''[[packages.wheels]]
url = "https://files.example/old-1.0-cp311-cp311-manylinux2014_x86_64.whl"
hashes = {{sha256 = "{A}"}}
'''
PACKAGE = f'''[[packages]]
name = "Old"
version = "1.0"
sdist = {{%s, hashes = {{sha256 = "{B}"}}}}
'''


@pytest.mark.parametrize(
    "place",
    [
        'url = "https://files.example/x/Old-1.0%2Bx.tar.gz#egg"',
        'name = "Old-1.0+x.tar.gz", url = "https://files.example/f/0123"',
        'path = "../wheels/Old-1.0+x.tar.gz"',
    ],
)
def test_a_source_archive_is_named_where_no_wheel_fits(place: str) -> None:
    lock = PACKAGE % place + WHEEL
    assert cut(lock, python="3.11", architecture="x86_64") == (f"old==1.0 --hash=sha256:{A}",)
    (line,) = cut(lock, python="3.11", architecture="aarch64")
    assert line == f"old==1.0 --hash=sha256:{B} # Old-1.0+x.tar.gz"
    assert lock_archives(line, "p") == {B: "Old-1.0+x.tar.gz"}


def test_a_package_without_any_file_that_fits() -> None:
    lock = "[[packages]]\nname = 'old'\nversion = '1.0'\n" + WHEEL
    with pytest.raises(SourceError, match=r"has no file for Python 3\.11 on aarch64"):
        cut(lock, python="3.11", architecture="aarch64")
