"""The configuration: where its files are found, how they are laid over each other, and what it says of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import UsageError
from builder.render.cibuilders import builder_lines
from builder.source.config import Config, config_files, read_config


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str) -> Config:
    write(folder / "drivebuild.yaml", text)
    return read_config(None, {}, folder)


def refused(folder: Path, text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read(folder, text)
    return caught.value


FULL = """\
mirrors:
  https://github.com/: ["https://mirror.example/github/", "file:///srv/git/", "ssh://git@git.example/"]
  https://gitcode.com: file:///srv/gitcode
index: https://index.example/simple
distribution: {debian: "http://packages.example/debian"}
registries: {quay.io: registry.example:5000/quay}
proxy: {http: "http://proxy.example:3128", no_proxy: "localhost,.example"}
store: ../store
upstream: false
"""


def test_every_key_is_read(tmp_path: Path) -> None:
    config = read(tmp_path / "site", FULL)
    assert config.mirrors == (
        ("https://github.com/", ("https://mirror.example/github/", "file:///srv/git/", "ssh://git@git.example/")),
        ("https://gitcode.com/", ("file:///srv/gitcode",)),
    )
    assert config.index == "https://index.example/simple"
    assert config.distribution == {"debian": "http://packages.example/debian"}
    assert config.registries == {"quay.io": "registry.example:5000/quay"}
    assert config.proxy == {"http": "http://proxy.example:3128", "no_proxy": "localhost,.example"}
    assert config.store is not None
    assert config.store.resolve() == tmp_path / "store"
    assert config.upstream is False
    assert config.files == (tmp_path / "site/drivebuild.yaml",)


@pytest.mark.parametrize("text", ["", "# nothing yet\n\n", "{}\n"])
def test_a_file_that_says_nothing_changes_nothing(tmp_path: Path, text: str) -> None:
    config = read(tmp_path, text)
    assert config == Config(files=(tmp_path / "drivebuild.yaml",))


def test_no_file_is_no_error(tmp_path: Path) -> None:
    assert read_config(None, {"HOME": str(tmp_path)}, tmp_path) == Config()


def test_project_is_laid_over_user(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write(
        home / ".config/drivebuild/config.yaml",
        "mirrors: {https://github.com/: [https://user.example/, https://both.example/], https://a.example/: file:///a}\n"
        "index: https://user.example/simple\nproxy: {http: 'http://user.example:1', https: 'http://user.example:2'}\n"
        "distribution: {debian: 'http://user.example/debian', ubuntu: 'http://user.example/ubuntu'}\nupstream: false\n",
    )
    project = home / "work"
    write(
        project / "drivebuild.yaml",
        "mirrors: {https://github.com: [https://project.example/, https://both.example/]}\n"
        "proxy: {https: 'http://project.example:2'}\ndistribution: {debian: 'http://project.example/debian'}\n",
    )
    config = read_config(None, {"HOME": str(home)}, project)
    assert dict(config.mirrors) == {
        "https://github.com/": ("https://project.example/", "https://both.example/", "https://user.example/"),
        "https://a.example/": ("file:///a",),
    }
    assert config.index == "https://user.example/simple"
    assert config.proxy == {"http": "http://user.example:1", "https": "http://project.example:2"}
    assert config.distribution == {"debian": "http://project.example/debian", "ubuntu": "http://user.example/ubuntu"}
    assert config.upstream is False


def test_a_project_may_turn_upstream_on_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write(home / ".config/drivebuild/config.yaml", "upstream: false\n")
    write(home / "work/drivebuild.yaml", "upstream: true\n")
    assert read_config(None, {"HOME": str(home)}, home / "work").upstream is True


def test_the_nearest_parent_with_a_file_wins(tmp_path: Path) -> None:
    write(tmp_path / "drivebuild.yaml", "")
    nearer = write(tmp_path / "a/drivebuild.yaml", "")
    below = tmp_path / "a/b/c"
    below.mkdir(parents=True)
    assert config_files(None, {}, below) == (nearer,)


@pytest.mark.parametrize("end", ["home", "git"])
def test_the_search_ends_at_home_and_at_a_repository(tmp_path: Path, end: str) -> None:
    write(tmp_path / "drivebuild.yaml", "")
    below = tmp_path / "top/b"
    below.mkdir(parents=True)
    if end == "git":
        (tmp_path / "top/.git").mkdir()
    environment = {"HOME": str(tmp_path / ("top" if end == "home" else "elsewhere"))}
    assert config_files(None, environment, below) == ()
    own = write(tmp_path / "top/drivebuild.yaml", "")
    assert config_files(None, environment, below) == (own,)


def test_xdg_config_home(tmp_path: Path) -> None:
    user = write(tmp_path / "xdg/drivebuild/config.yaml", "")
    assert config_files(None, {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": "/nowhere"}, tmp_path) == (user,)
    assert config_files(None, {"XDG_CONFIG_HOME": "xdg"}, tmp_path) == ()


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_named_file_replaces_both(tmp_path: Path, how: str) -> None:
    home = tmp_path / "home"
    write(home / ".config/drivebuild/config.yaml", "index: https://user.example/simple\n")
    write(home / "work/drivebuild.yaml", "upstream: false\n")
    named = write(tmp_path / "named.yaml", "registries: {quay.io: registry.example}\n")
    explicit = named if how == "option" else None
    environment = {"HOME": str(home)} | ({"DRIVEBUILD_CONFIG": str(named)} if how == "variable" else {})
    config = read_config(explicit, environment, home / "work")
    assert (config.files, config.index, config.upstream) == ((named,), "", True)
    assert config.registries == {"quay.io": "registry.example"}


def test_a_named_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--config: gone\.yaml: no such file"):
        read_config(Path("gone.yaml"), {"DRIVEBUILD_CONFIG": "other.yaml"}, tmp_path)
    with pytest.raises(UsageError, match=r"DRIVEBUILD_CONFIG: other\.yaml: no such file"):
        read_config(None, {"DRIVEBUILD_CONFIG": "other.yaml"}, tmp_path)


def test_paths_are_relative_to_their_file(tmp_path: Path) -> None:
    write(tmp_path / "site/ca.pem", "x")
    config = read(tmp_path / "site", "ca_bundle: ca.pem\nstore: /srv/store\n")
    assert config.ca_bundle == tmp_path / "site/ca.pem"
    assert config.store == Path("/srv/store")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mirors: {}\n", "drivebuild.yaml:1:1: configuration: unknown key 'mirors' (did you mean 'mirrors'?)"),
        ("proxy: {htps: x}\n", "drivebuild.yaml:1:9: proxy: unknown key 'htps' (did you mean 'https'?)"),
        (
            "mirrors: {github.com: file:///a}\n",
            "drivebuild.yaml:1:11: mirrors: the key 'github.com' is wrong: expected",
        ),
        (
            "mirrors:\n  https://github.com/: ../git\n",
            "drivebuild.yaml:2:24: mirrors.https://github.com/[0]: expected an http, https, ssh or file URL",
        ),
        ("mirrors:\n  https://github.com/: [3]\n", "drivebuild.yaml:2:25: mirrors.https://github.com/[0]: expected an"),
        ("mirrors: {https://a.example/: []}\n", "drivebuild.yaml:1:31: mirrors.https://a.example/: needs at least 1"),
        ("index: git@index.example:simple\n", "drivebuild.yaml:1:8: index: expected an http or https URL"),
        (
            "registries: {quay.io: 'https://r.example'}\n",
            "drivebuild.yaml:1:23: registries.quay.io: expected a registry",
        ),
        ("upstream: maybe\n", "drivebuild.yaml:1:11: upstream: expected true or false, got 'maybe'"),
        ("ca_bundle: gone.pem\n", "drivebuild.yaml:1:12: ca_bundle: no such file: "),
        ("index: a\nindex: b\n", "drivebuild.yaml:2:1: duplicate key 'index' (first on line 1)"),
        ("index: https://i.example:99999/\n", "drivebuild.yaml:1:8: index: not a URL: Port out of range"),
        ("mirrors: {'https://[::1/': file:///a}\n", "drivebuild.yaml:1:11: mirrors: not a URL: Invalid IPv6"),
        ("- mirrors\n", "drivebuild.yaml:1:1: configuration: expected keys and values, got a list"),
        ("index: &a x\n", "anchors and aliases are not allowed in it"),
        ("{\n", "not YAML"),
    ],
)
def test_mistakes_have_place_caret_and_hint(tmp_path: Path, text: str, message: str) -> None:
    error = refused(tmp_path, text)
    assert message in error.message
    assert "recipe" not in error.message + error.hint
    assert error.exit_code == 2


def test_all_mistakes_of_all_files_at_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write(home / ".config/drivebuild/config.yaml", "inde: x\n")
    write(home / "work/drivebuild.yaml", "upstream: 3\nca_bundle: gone\nstor: x\n")
    with pytest.raises(UsageError) as caught:
        read_config(None, {"HOME": str(home)}, home / "work")
    for part in ("config.yaml:1:1", "drivebuild.yaml:1:11", "drivebuild.yaml:2:12", "drivebuild.yaml:3:1"):
        assert part in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "mirrors:\n  https://github.com/: [https://me:hunter2@mirror.example/]\n",
        "mirrors:\n  https://github.com/: https://hunter2@mirror.example/\n",
        "mirrors:\n  https://github.com/: ssh://git:hunter2@mirror.example/\n",
        "mirrors:\n  https://me:hunter2@github.com/: file:///srv\n",
        "index: https://me:hunter2@index.example/simple\n",
        "proxy: {http: 'http://me:hun@hunter2@proxy.example:3128'}\n",
        "distribution: {debian: 'http://me:hunter2@packages.example/'}\n",
        "idx: https://me:hunter2@index.example/simple\n",
    ],
)
def test_a_password_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    error = refused(tmp_path, text)
    assert "no credentials in a URL here" in error.message
    assert "^" in error.message
    assert "hunter2" not in error.message + error.hint
    assert "netrc" in error.hint


def test_a_user_of_ssh_is_no_password(tmp_path: Path) -> None:
    config = read(tmp_path, "mirrors: {https://github.com/: 'ssh://git@git.example/'}\n")
    assert config.mirrors == (("https://github.com/", ("ssh://git@git.example/",)),)


def test_the_caret_stands_where_the_editor_shows_it_despite_a_hidden_password(tmp_path: Path) -> None:
    error = refused(tmp_path, "proxy: {http: 'http://me:hunter2@p.example', htps: x}\n")
    lines = error.message.splitlines()
    at = next(index for index, line in enumerate(lines) if "'htps'" in line)
    assert lines[at + 1].index("htps") == lines[at + 2].index("^")


def test_a_home_folder_of_somebody_else_has_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    assert config_files(None, {"HOME": "/root"}, tmp_path) == ()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "named.yaml"
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_config(path, {}, tmp_path)


# --- ci --------------------------------------------------------------------------------------------


def test_builders_of_ci_by_architecture(tmp_path: Path) -> None:
    text = """\
ci:
  builders:
    x86_64: {driver: remote, endpoint: "tcp://buildkit.example:1234", servername: buildkit.internal}
    aarch64: {driver: kubernetes, options: {namespace: build, replicas: "4"}, config: ci/buildkitd.toml}
"""
    found = read(tmp_path, text).ci
    assert builder_lines(found.builders) == (
        "aarch64 kubernetes ci/buildkitd.toml namespace=build replicas=4",
        "x86_64 remote tcp://buildkit.example:1234 servername=buildkit.internal",
    )
    assert read(tmp_path, "{}").ci.builders == {}


@pytest.mark.parametrize(
    ("builder", "said"),
    [
        ("{driver: remote}", "endpoint"),
        ("{driver: remote, endpoint: 'tcp://h'}", "where buildkitd listens"),
        ("{driver: remote, endpoint: 'tcp://h:1 --x'}", "where buildkitd listens"),
        ("{driver: remote, endpoint: 'tcp://$(id):1'}", "where buildkitd listens"),
        ("{driver: remote, endpoint: 'tcp://h:1', options: {a: b}}", "options"),
        ("{driver: kubernetes, endpoint: 'tcp://h:1'}", "endpoint"),
        ("{driver: kubernetes, options: {namespace: 'a b'}}", "no blanks, no quotes"),
        ("{driver: kubernetes, options: {namespace: '${{ secrets.X }}'}}", "no blanks, no quotes"),
        ("{driver: kubernetes, config: ../outside}", "a file of the repository"),
        ("{driver: docker-container}", "driver"),
    ],
)
def test_what_is_no_builder_of_ci(tmp_path: Path, builder: str, said: str) -> None:
    assert said in refused(tmp_path, f"ci:\n  builders:\n    x86_64: {builder}\n").message


def test_ci_is_of_the_repository_and_not_of_a_user(tmp_path: Path) -> None:
    write(tmp_path / "home/.config/drivebuild/config.yaml", "ci: {}\n")
    (tmp_path / "site").mkdir()
    with pytest.raises(UsageError, match="ci: not in a user's own file") as caught:
        read_config(None, {"HOME": str(tmp_path / "home")}, tmp_path / "site")
    assert "config.yaml:1:1" in caught.value.message
