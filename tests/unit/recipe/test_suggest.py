"""Did you mean …?"""

from __future__ import annotations

import pytest

from builder.recipe.suggest import did_you_mean, one_of


@pytest.mark.parametrize(
    ("word", "known", "answer"),
    [
        # one letter off
        ("patchs", ["patches", "steps"], "did you mean 'patches'?"),
        # the nearer of two
        ("lto-ful", ["lto", "lto-full"], "did you mean 'lto-full'?"),
        # nothing is near
        ("zzz", ["patches"], ""),
        # nothing is known
        ("x", [], ""),
        # an empty word is near nothing
        ("", ["a"], ""),
    ],
)
def test_nearest(word: str, known: list[str], answer: str) -> None:
    assert did_you_mean(word, known) == answer


def test_all_known_words_where_none_is_near() -> None:
    assert one_of("zzz", ["b", "a"]) == "known: a, b"
    assert one_of("zzz", []) == "known: none"
    assert one_of("aa", iter(["aaa"])) == "did you mean 'aaa'?"
