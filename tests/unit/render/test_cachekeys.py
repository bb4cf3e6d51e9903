"""Keys of stages as BuildKit would look them up; its own behaviour is held in tests/docker/test_forecast.py."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from builder.render.cachekeys import Given, cache_keys, images_named, reached

COMMIT = "0123456789012345678901234567890123456789"
TEXT = f"""\
ARG VERSION=1
FROM scratch AS tools
COPY <<'EOF' /tool
# a comment of the tool
EOF
FROM localhost/base:1 AS base
SHELL ["/bin/bash", "-c"]
RUN install things
FROM scratch AS src
ADD https://git.example.org/a.git#{COMMIT} /
FROM scratch AS archive
ADD --checksum=sha256:{"1" * 64} https://files.example.org/a/x-1.tar.gz /archive/x-1.tar.gz
FROM scratch AS empty
FROM scratch AS wheels-amd64
COPY --from=archive /archive /w
FROM scratch AS wheels-arm64
COPY --from=archive /archive/other /w
FROM wheels-${{TARGETARCH}} AS wheels
FROM base AS mmcv
ARG TASK=quick
ENV FLAG=1
# why
RUN --mount=type=bind,from=src,source=/ops,target=/ops \\
    --mount=type=bind,from=tools,target=/tools \\
    # why not
    make $TASK; \\
    make install
FROM base AS image
COPY --from=mmcv /wheel /wheel
COPY --from=wheels /w /w
COPY --from=empty / /nothing/
COPY --from=src / /tree
USER 1000
WORKDIR /work
LABEL a=b
ENTRYPOINT ["/x"]
"""


def keys(text: str = TEXT, **given: object) -> dict[str, str]:
    return {name: item.key for name, item in cache_keys(text, Given(**given)).items()}  # type: ignore[arg-type]


def differ(other: Mapping[str, str], **given: object) -> set[str]:
    own = keys(**given)
    return {name for name in other if own.get(name) != other[name]}


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("# why\n", "# because\n", set()),
        ("    # why not\n", "", set()),
        ("a=b", "a=c", set()),
        ('["/x"]', '["/y"]', set()),
        ("git.example.org", "mirror.example.org", set()),
        ("files.example.org/a/", "mirror.example.org/b/", set()),
        ("USER 1000\n", "USER 1001\n", {"image"}),
        ("FLAG=1", "FLAG=2", {"mmcv", "image"}),
        ("TASK=quick", "TASK=slow", {"mmcv", "image"}),
        ("    make install", "     make install", {"mmcv", "image"}),
        ("# a comment of the tool", "# another", {"tools", "mmcv", "image"}),
        ("install things", "install more", {"base", "mmcv", "image"}),
        ("/bin/bash", "/bin/sh", {"base", "mmcv", "image"}),
        (COMMIT, COMMIT[::-1], {"src", "mmcv", "image"}),
        ("1" * 64, "2" * 64, {"archive", "wheels-amd64", "wheels-arm64", "wheels", "image"}),
        ("/archive/other", "/archive/third", {"wheels-arm64"}),
        ("x-1.tar.gz /", "x-2.tar.gz /", {"archive", "wheels-amd64", "wheels-arm64", "wheels", "image"}),
        ("RUN install", "RUN --network=none install", {"base", "mmcv", "image"}),
    ],
)
def test_what_an_edit_changes(old: str, new: str, changed: set[str]) -> None:
    assert TEXT.count(old) == 1
    assert differ(keys(TEXT.replace(old, new))) == changed


def test_names_do_not_count() -> None:
    other = keys(TEXT.replace("mmcv", "ops"))
    assert other.pop("ops") == keys()["mmcv"]
    assert differ(other) == set()


def test_what_a_build_is_given_counts() -> None:
    assert differ(keys(images={"localhost/base:1": "x"})) == {"base", "mmcv", "image"}
    assert differ(keys(arguments={"TASK": "slow"})) == {"mmcv", "image"}
    assert differ(keys(arguments={"UNKNOWN": "slow"})) == set()
    # What copies files needs no network.
    assert differ(keys(offline=True)) == {"base", "mmcv", "image"}
    assert differ(keys(architecture="arm64")) == {"base", "mmcv", "wheels", "image"}
    assert differ(keys(contexts={"empty": "store:empty-1"})) == {"empty", "image"}


def test_a_commit_is_the_same_wherever_it_comes_from_but_for_the_whole_of_it() -> None:
    # `image` copies all of it, mmcv mounts a folder of it.
    assert differ(keys(contexts={"src": f"git:{COMMIT}"})) == {"src", "image"}
    assert differ(keys(contexts={"src": "folder:1"})) == {"src", "mmcv", "image"}


def test_contents_that_were_equal_stand_for_each_other() -> None:
    other = TEXT.replace("FLAG=1", "FLAG=2")
    old, new = cache_keys(TEXT, Given()), cache_keys(other, Given())
    same = dict(zip(new["image"].contents, old["image"].contents, strict=True))
    again = cache_keys(other, Given(same=same))
    assert again["image"].key == old["image"].key
    assert again["mmcv"].key == new["mmcv"].key != old["mmcv"].key


def test_what_each_stage_needs() -> None:
    found = cache_keys(TEXT, Given())
    assert found["image"].needs == ("base", "mmcv", "wheels", "empty", "src")
    assert found["mmcv"].needs == ("base", "src", "tools")
    assert [name for name, item in found.items() if not item.works] == ["empty", "wheels"]
    assert [name for name, item in found.items() if item.fetches] == ["src", "archive"]
    assert reached(found, "mmcv") == ("tools", "base", "src", "mmcv")
    assert "wheels-arm64" not in reached(found, "image")
    assert images_named(TEXT) == ("localhost/base:1",)
    assert images_named("FROM a@sha256:1 AS b\nCOPY --from=c:1 / /\nFROM b\nRUN --mount=from=d,target=/x y\n") == (
        "a@sha256:1",
        "c:1",
        "d",
    )


@pytest.mark.parametrize(
    "text", ["", "FROM", "FROM \n", "RUN a\n", "FROM a\nCOPY\n", "FROM a\nCOPY <<EOF /x\n", "FROM a\nRUN\n"]
)
def test_what_is_no_dockerfile_stops_nothing(text: str) -> None:
    cache_keys(text, Given())
    images_named(text)
