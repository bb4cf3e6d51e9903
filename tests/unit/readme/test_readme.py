"""A README as facts, the linter of its shell, and what moved between two: texts of our own."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from builder.errors import UsageError
from builder.readme.compare import against_recipe, moved
from builder.readme.document import read_document
from builder.readme.facts import Said, said_by
from builder.readme.lint import lint
from builder.readme.recipe import Has, recipe_has
from builder.recipe.types import Catalog, GitSource

OLD = """\
# Toy

Source:
```
url=https://git.example.org/me/toy
commit_id=0123456789abcdef0123456789abcdef01234567
```

| Software | Version |
| :---: | :---: |
| CANN | 8.1.RC1 |
| PyTorch | `2.1.0` |

1. Get it

   ```shell
   $ git clone https://git.example.org/me/toy.git
   $ cd toy
   $ git checkout 0123456789abcdef0123456789abcdef01234567
   ```

2. Build

```bash
git clone -b v1.0.0 https://git.example.org/them/ops
cd ops
git apply --reject ../ops.patch
pip install -r requirements.txt numpy==1.23.5 "scipy>=1.2" -e . local.whl
FLAG=1 python setup.py install
export MODE=fast
wget https://files.example.org/tools-1.2.tar.gz
```

```
toy
├── cd data/
```

| Chip | Cards | global batch size | mAP | FPS |
| --- | --- | --- | --- | --- |
| A | 8p | 16 | 0.4803 | 26.016 |
"""


def said(text: str) -> Said:
    return said_by(read_document(text))


def test_what_a_readme_says_and_where() -> None:
    facts = [(fact.kind, fact.key, fact.value, fact.line) for fact in said(OLD).facts]
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert facts == [
        ("repository", "toy", "https://git.example.org/me/toy", 5),
        ("checkout", "toy", commit, 6),
        ("version", "cann", "8.1.RC1", 11),
        ("version", "pytorch", "2.1.0", 12),
        ("repository", "toy", "https://git.example.org/me/toy", 17),
        ("checkout", "toy", commit, 19),
        ("repository", "ops", "https://git.example.org/them/ops", 25),
        ("checkout", "ops", "v1.0.0", 25),
        ("command", "git apply --reject ../ops.patch", "", 27),
        ("patch", "ops.patch", "", 27),
        ("requirements", "requirements.txt", "requirements.txt", 28),
        ("package", "numpy", "==1.23.5", 28),
        ("package", "scipy", ">=1.2", 28),
        ("command", "FLAG=1 python setup.py install", "", 29),
        ("variable", "MODE", "fast", 30),
        ("download", "tools-1.2.tar.gz", "https://files.example.org/tools-1.2.tar.gz", 31),
        ("result", "A", "8 16 0.4803 26.016", 41),
    ]


HOST, FILES = "https://git.example.org", "https://files.example.org"
HAS = Has(
    versions={"cann": ("8.1.rc1",), "pytorch": ("2.1.0+cpu",)},
    sources={
        "toy": (
            GitSource(url="https://other.example.org/me/toy.git", commit="0123456789abcdef0123456789abcdef01234567"),
        )
    },
    versions_of={"ops": ("1.0.0", "1.1.0")},
    locked={"numpy": "1.23.5", "scipy": "1.4.0"},
    variables={"MODE": frozenset(("fast",))},
    patches=frozenset(("ops.patch",)),
    results=(frozenset(("8", "16", "0.4803", "26.016", "24")),),
)


@pytest.mark.parametrize(
    ("old", "new", "what", "has"),
    [
        ("8.1.RC1", "8.2.RC1", ("version", "cann", "8.1.RC1", "8.2.RC1"), False),
        ("`2.1.0`", "2.1", ("version", "pytorch", "2.1.0", "2.1"), True),
        ("-b v1.0.0", "-b v1.1.0", ("checkout", "ops", "v1.0.0", "v1.1.0"), True),
        ("-b v1.0.0", "-b v2.0.0", ("checkout", "ops", "v1.0.0", "v2.0.0"), False),
        ("numpy==1.23.5", "numpy==1.24.4", ("package", "numpy", "==1.23.5", "==1.24.4"), False),
        ("scipy>=1.2", "scipy>=1.3", ("package", "scipy", ">=1.2", ">=1.3"), True),
        ("MODE=fast", "MODE=slow", ("variable", "MODE", "fast", "slow"), False),
        ("0.4803", "0.4909", ("result", "A", "8 16 0.4803 26.016", "8 16 0.4909 26.016"), False),
        ("them/ops", "us/ops", ("repository", "ops", f"{HOST}/them/ops", f"{HOST}/us/ops"), True),
        ("FLAG=1 python", "FLAG=0 python", ("command", "FLAG=0 python setup.py install",
         "FLAG=1 python setup.py install", "FLAG=0 python setup.py install"), None),
        ("tools-1.2", "tools-1.3", ("download", "tools-1.2.tar.gz", f"{FILES}/tools-1.2.tar.gz", ""), None),
    ],
)  # fmt: skip
def test_what_moved(old: str, new: str, what: tuple[str, str, str, str], has: bool | None) -> None:
    assert old in OLD
    items = moved(said(OLD), said(OLD.replace(old, new)), HAS)
    item = next(item for item in items if (item.kind, item.key, item.was, item.now) == what)
    assert item.has is has
    line = next(number for number, text in enumerate(OLD.splitlines(), 1) if old in text)
    assert item.was_line == line


def test_other_words_and_another_order_of_the_same_move_nothing() -> None:
    other = OLD.replace("# Toy", "# Toy\n\nAbout it.\n").replace("2. Build", "2. Compile it").replace("   $ ", "   ")
    assert moved(said(OLD), said(other), HAS) == ()


def test_what_is_gone_is_right_where_the_recipe_has_it_not_either() -> None:
    without = OLD.replace("| CANN | 8.1.RC1 |\n", "")
    (item,) = moved(said(OLD), said(without), HAS)
    assert (item.now_line, item.has) == (0, False)
    (item,) = moved(said(OLD), said(without), replace(HAS, versions={"cann": ("9.0",)}))
    assert item.has is True


def test_a_readme_against_the_recipe_alone() -> None:
    assert against_recipe(said(OLD), HAS) == ()
    (item,) = against_recipe(said(OLD.replace("8.1.RC1", "8.2.RC1")), HAS)
    assert (item.kind, item.now, item.now_line, item.recipe) == ("version", "8.2.RC1", 11, "8.1.rc1")


@pytest.mark.parametrize(
    ("shell", "rule"),
    [
        ("pip install numpy>=1.2", "redirected-bound"),
        ("sudo pip3 install numpy>=1.2 scipy", "redirected-bound"),
        ("./configure --prefix=/x > --with-lto", "redirected-option"),
        ("git apply --reject a.patch", "apply-reject"),
        ("chmod -R 777 run.sh", "mode-777"),
        ("wget --no-check-certificate https://x.example/y", "unchecked-download"),
        ("curl -k https://x.example/y", "unchecked-download"),
        ("git clone -b main https://x.example/a.git", "moving-branch"),
        ("git clone https://x.example/a.git", "moving-branch"),
        ("git clone -b v1.0.0 https://x.example/mmcv.git\ncd mmcv-full", "cd-nowhere"),
        ("export LD_PRELOAD=/home/me/lib/libx.so", "missing-path"),
        ("make (", "syntax"),
    ],
)
def test_what_is_wrong_with_shell(shell: str, rule: str) -> None:
    found = lint(said(f"```bash\nls\n{shell}\n```\n").pieces)
    assert [item.rule for item in found] == [rule]
    assert found[0].line == 3 + shell.count("\n") * (rule == "cd-nowhere")


@pytest.mark.parametrize(
    "shell",
    [
        "pip install 'numpy>=1.2'",
        "./configure --prefix=/x --with-lto > log",
        "git apply a.patch",
        "git clone -b v1.0.0 https://x.example/mmcv.git -q\ncd mmcv",
        "git clone https://x.example/mmcv.git here\ncd here\ngit checkout 0123456789",
        "cd {root}/models\ncd test",
        "./configure --prefix=/home/me/x\nexport PATH=/home/me/x/bin:$PATH",
        "export LD_LIBRARY_PATH=/usr/local/lib/lib:$LD_LIBRARY_PATH",
        "export DATA=/path/to/data",
        "echo done >> log 2>&1",
    ],
)
def test_what_is_right(shell: str) -> None:
    assert lint(said(f"```bash\n{shell}\n```\n").pieces) == ()


def test_texts_that_are_no_readme() -> None:
    for text in ("", "\0\x1b[31m", "|" * 10000, "```bash\n", "| a | 版本 |\n|--|--|\n| |\n", "[" * 3000):
        assert said(text).facts == ()


def test_every_shipped_recipe_says_what_it_has(catalog: Catalog) -> None:
    for model in catalog.models.values():
        has = recipe_has(catalog, model)
        assert has.versions["cann"]
        assert has.versions["pytorch"][0].startswith("2.")
        assert model.readme.source in catalog.sources
        assert has.results


@pytest.mark.parametrize("module", ["markdown_it", "tree_sitter_bash"])
def test_what_is_not_installed_is_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from builder.readme import shell

    monkeypatch.setitem(sys.modules, module, None)
    shell._parser.cache_clear()
    with pytest.raises(UsageError) as caught:
        said(OLD)
    assert "drivebuild[drift]" in caught.value.hint
