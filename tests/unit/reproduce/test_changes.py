"""What a layer changes: the same, whatever a store writes into it."""

from __future__ import annotations

from builder.reproduce.changes import changes
from builder.reproduce.entries import Entry, Layer, content_digest

FOLDER, GONE = Entry(kind="folder", mode=0o755, mtime=5), Entry(kind="removal")
LOWEST: Layer = {
    "etc": FOLDER,
    "etc/a": Entry(kind="file", content="1"),
    "opt": FOLDER,
    "opt/x": FOLDER,
    "opt/x/y": FOLDER,
}


def file(content: str, **words: object) -> Entry:
    return Entry(kind="file", content=content, **words)  # type: ignore[arg-type]


def second(layer: Layer) -> dict[str, Entry]:
    """Return what a layer changes that is laid over the lowest."""
    return list(changes([LOWEST, layer]))[1]


def test_the_lowest_is_all_new() -> None:
    assert next(changes([LOWEST])) == LOWEST


def test_what_was_opened_and_not_changed_is_none() -> None:
    assert second({"etc": Entry(kind="folder", mode=0o755, mtime=9), "etc/a": file("1", mtime=7)}) == {}
    changed: tuple[Layer, ...] = (
        {"etc": Entry(kind="folder", mode=0o700)},
        {"etc/a": file("2")},
        {"etc/a": file("1", owner=(1, 1))},
    )
    for layer in changed:
        assert second(layer) == layer


def test_a_mark_that_hides_nothing_is_none() -> None:
    new = {"new": FOLDER, "new/.wh..wh..opq": GONE, "new/b": file("2")}
    assert second(new) == {"new": FOLDER, "new/b": file("2")}
    assert second({"etc/.wh.never": GONE}) == {}


def test_an_emptied_folder_and_its_removals_are_one() -> None:
    emptied = {"opt/x": FOLDER, "opt/x/.wh..wh..opq": GONE}
    one_by_one = {"opt/x/.wh.y": GONE}
    assert second(emptied) == one_by_one == second(one_by_one)


def test_what_an_emptied_folder_brings_again_is_no_change() -> None:
    again = {"etc": FOLDER, "etc/.wh..wh..opq": GONE, "etc/a": file("1"), "etc/b": file("3")}
    assert second(again) == {"etc/b": file("3")}


def test_a_removed_folder_is_named_once() -> None:
    assert second({"opt/.wh.x": GONE}) == {"opt/.wh.x": GONE}
    # And is not there any more for the next layer.
    assert list(changes([LOWEST, {"opt/.wh.x": GONE}, {"opt/x": FOLDER}]))[2] == {"opt/x": FOLDER}


def test_a_file_in_a_folders_place_hides_what_was_in_it() -> None:
    found = list(changes([LOWEST, {"opt/x": file("9")}, {"opt/x": FOLDER, "opt/x/y": FOLDER}]))
    assert found[1] == {"opt/x": file("9")}
    assert found[2] == {"opt/x": FOLDER, "opt/x/y": FOLDER}


def test_two_stores_of_one_image_have_equal_digests() -> None:
    overlayfs: Layer = {"etc": FOLDER, "etc/a": file("1"), "tmp": FOLDER, "tmp/.wh..wh..opq": GONE, "etc/b": file("2")}
    containerd: Layer = {"etc/b": file("2"), "tmp": FOLDER}
    ours, theirs = (second(layer) for layer in (overlayfs, containerd))
    assert content_digest(ours) == content_digest(theirs)
    assert content_digest(ours) != content_digest({**theirs, "etc/b": file("3")})
