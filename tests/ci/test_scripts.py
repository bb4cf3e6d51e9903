"""The steps of the workflows, run by the real bash: in which order they call what, and what they do when it fails.

`drivebuild` is a script that notes its words here; that the real one understands these words is tested, too.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from support.files import REPOSITORY
from support.repos import Repository

from builder.cli.main import app

SCRIPTS = REPOSITORY / "templates/ci"
DIGESTS = {arch: f"sha256:{digit * 64}" for arch, digit in (("amd64", "a"), ("arm64", "b"))}
IMAGE = {
    "DRIVEBUILD_BASE_ID": "base-debian-12-amd64",
    "DRIVEBUILD_ID": "streampetr-debian-12-cpu-stock-amd64",
    "DRIVEBUILD_ARGUMENTS": "streampetr --platform debian-12-cpu",
    "DRIVEBUILD_CACHE_FROM": "debian-12-cpu-amd64-mmcv-0123 debian-12-cpu-amd64-torch-4567",
    "DRIVEBUILD_CACHE_TO": "debian-12-cpu-amd64-streampetr-stock",
    "DRIVEBUILD_REGISTRY": "registry.example/team",
}


class Site:
    """A folder to run steps in, with stand-ins on PATH that note what they are called with."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.log = folder / "work", folder / "bin", folder / "calls"
        self.folder.mkdir()
        self.bin.mkdir()
        self.stand_in("drivebuild")

    def stand_in(self, name: str, body: str = "") -> None:
        path = self.bin / name
        note = f'{{ printf "%q " {name} "$@"; echo; }} >> {shlex.quote(str(self.log))}'
        path.write_text(f"#!/usr/bin/env bash\n{note}\n{body}\n")
        path.chmod(0o755)

    def run(self, *scripts: str, **env: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DRIVEBUILD_", "GITHUB_"))}
        environment = {**kept, "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", **env}
        command = ("bash", "-c", "".join((SCRIPTS / f"{script}.sh").read_text() for script in scripts))
        return subprocess.run(
            command, cwd=self.folder, env=environment, input="", capture_output=True, text=True, check=False
        )

    @property
    def calls(self) -> list[list[str]]:
        return [shlex.split(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def understood(words: list[str]) -> None:
    """Fail for words that the real command line refuses; nothing of the command itself is run."""
    from typer.main import get_command

    group = get_command(app)
    name, *rest = words[1:]
    command = group.get_command(group.make_context("drivebuild", [], resilient_parsing=True), name)  # type: ignore[attr-defined]
    assert command is not None, f"there is no command {name}"
    # A group spells some words out before the command reads them.
    from builder.cli.main import spelled_out

    command.make_context(name, spelled_out(rest))


EVENT = json.dumps({"event": "pushed", "name": "registry.example/team/streampetr", "digest": DIGESTS["amd64"]})
PUSHED = f"""case "$*" in *--by-digest*) echo '{EVENT}' > "${{@: -1}}" ;; esac"""


def test_an_image_is_built_then_verified_then_pushed(site: Site) -> None:
    site.stand_in("drivebuild", PUSHED)
    done = site.run("image", DRIVEBUILD_PUSH="true", **IMAGE)
    assert done.returncode == 0, done.stderr
    first, second, third = site.calls
    assert [call[1] for call in (first, second, third)] == ["image", "verify", "image"]
    for call in (first, third):
        for tag in (IMAGE["DRIVEBUILD_CACHE_TO"], *IMAGE["DRIVEBUILD_CACHE_FROM"].split()):
            assert f"registry.example/team/cache:{tag}" in call
    assert first[first.index("--cache-to") + 1] == "registry.example/team/cache:debian-12-cpu-amd64-streampetr-stock"
    assert "--push" not in first
    assert "--by-digest" in third
    for call in site.calls:
        understood(call)
    found = json.loads((site.folder / f"out/{IMAGE['DRIVEBUILD_ID']}.pushed.json").read_text())
    assert found["digest"] == DIGESTS["amd64"]


def test_what_is_not_verified_is_not_pushed(site: Site) -> None:
    site.stand_in("drivebuild", 'case "$1" in verify) echo \'{"ok": false}\'; exit 1 ;; esac')
    done = site.run("image", DRIVEBUILD_PUSH="true", **IMAGE)
    assert done.returncode == 1
    assert [call[1] for call in site.calls] == ["image", "verify"]
    assert '{"ok": false}' in done.stdout
    assert not (site.folder / f"out/{IMAGE['DRIVEBUILD_ID']}.pushed.json").exists()


def test_a_push_that_leaves_no_digest_fails(site: Site) -> None:
    assert site.run("image", DRIVEBUILD_PUSH="true", **IMAGE).returncode != 0


def test_a_trial_pushes_nothing_and_fills_no_cache(site: Site) -> None:
    assert site.run("image", DRIVEBUILD_PUSH="false", **IMAGE).returncode == 0
    text = " ".join(word for call in site.calls for word in call)
    assert "--cache-from" in text
    assert "--cache-to" not in text
    assert "--push" not in text


def test_without_a_registry_there_is_no_cache(site: Site) -> None:
    assert site.run("image", DRIVEBUILD_PUSH="false", **{**IMAGE, "DRIVEBUILD_REGISTRY": ""}).returncode == 0
    assert site.calls[0] == ["drivebuild", "image", "streampetr", "--platform", "debian-12-cpu"]


BASE = "registry.example/team/base@sha256:" + "0123456789abcdef" * 4 + "\n"


def test_a_fresh_base_has_caches_of_its_own(site: Site) -> None:
    """A stage's own digest does not know the packages of the base: what stands on another one is not it."""
    (site.folder / "out").mkdir()
    (site.folder / "out/base-debian-12-amd64").write_text(BASE)
    site.stand_in("docker", "false")
    done = site.run("shared", **SHARED_JOB, DRIVEBUILD_BUILDS=SHARED.format("mmcv"))
    assert done.returncode == 0, done.stderr
    assert site.run("image", DRIVEBUILD_PUSH="false", **IMAGE).returncode == 0
    looked, made, built, _verified = site.calls
    ref = "registry.example/team/cache:debian-12-cpu-amd64-mmcv-0123-0123456789ab"
    assert looked[-1] == ref
    assert made[made.index("--cache-to") + 1] == ref
    assert ref in built
    # An image's own is overwritten by each build: it has one name.
    assert "registry.example/team/cache:debian-12-cpu-amd64-streampetr-stock" in built


SHARED_JOB = {"DRIVEBUILD_BASE_ID": "base-debian-12-amd64", "DRIVEBUILD_REGISTRY": "registry.example/team"}
SHARED = "streampetr --platform debian-12-cpu --until {0}\tdebian-12-cpu-amd64-{0}-0123\tdebian-12-cpu-amd64-{0}"


def test_shared_stages_are_built_in_order_unless_their_cache_is_there(site: Site) -> None:
    site.stand_in("docker", '[ "$4" = registry.example/team/cache:debian-12-cpu-amd64-torch-0123 ]')
    # Something that reads standard input must not take the rest of the list.
    site.stand_in("drivebuild", "cat > /dev/null")
    builds = "\n".join(SHARED.format(stage) for stage in ("torch", "mmcv", "env"))
    done = site.run("shared", **SHARED_JOB, DRIVEBUILD_BUILDS=builds)
    assert done.returncode == 0, done.stderr
    made = [call for call in site.calls if call[0] == "drivebuild"]
    assert [call[call.index("--until") + 1] for call in made] == ["mmcv", "env"]
    for call in made:
        understood(call)
    assert made[0][-4:] == [
        "--cache-to",
        "registry.example/team/cache:debian-12-cpu-amd64-mmcv-0123",
        "--cache-to",
        "registry.example/team/cache:debian-12-cpu-amd64-mmcv",
    ]


def test_a_shared_stage_that_fails_ends_the_job(site: Site) -> None:
    site.stand_in("docker", "false")
    site.stand_in("drivebuild", "false")
    builds = "\n".join(SHARED.format(stage) for stage in ("torch", "mmcv"))
    assert site.run("shared", **SHARED_JOB, DRIVEBUILD_BUILDS=builds).returncode != 0
    assert len([call for call in site.calls if call[0] == "drivebuild"]) == 1


def merge(site: Site, *architectures: str) -> subprocess.CompletedProcess[str]:
    (site.folder / "out").mkdir()
    for name in architectures:
        path = site.folder / f"out/m-p-stock-{name}.pushed.json"
        path.write_text(json.dumps({"event": "pushed", "name": "x", "digest": DIGESTS[name]}) + "\n")
    return site.run(
        "merge",
        DRIVEBUILD_REGISTRY="registry.example/team",
        DRIVEBUILD_MODEL="m",
        DRIVEBUILD_TAG="p-stock",
        DRIVEBUILD_IDS="m-p-stock-amd64 m-p-stock-arm64",
    )


def test_a_name_is_given_to_all_architectures_at_once(site: Site) -> None:
    assert merge(site, "amd64", "arm64").returncode == 0
    assert site.calls == [["drivebuild", "merge", "registry.example/team/m:p-stock", *DIGESTS.values()]]
    understood(site.calls[0])


def test_a_name_stays_when_one_architecture_was_not_built(site: Site) -> None:
    done = merge(site, "amd64")
    assert done.returncode == 1
    assert "m:p-stock stays as it is: m-p-stock-arm64 was not built" in done.stderr
    assert site.calls == []


@pytest.mark.parametrize("last", ["", "a" * 40])
def test_what_changed_is_what_changed_since_a_whole_run(site: Site, tmp_path: Path, last: str) -> None:
    site.stand_in("gh", f"echo {last}" if last else "")
    output = tmp_path / "output"
    assert site.run("since", GITHUB_OUTPUT=str(output), GITHUB_REF_NAME="main").returncode == 0
    assert output.read_text() == f"since={last}\n"
    (call,) = site.calls
    assert call[call.index("--status") + 1] == "success"
    # A run by hand may have had filters: it says nothing about the others.
    assert call[call.index("--event") + 1] == "push"


def test_earlier_timings_are_taken_where_there_are_any(site: Site) -> None:
    answers = 'case "$*" in *--event\\ push*list*|run\\ list*--event\\ push*) echo 7 ;; run\\ download*) exit 1 ;; esac'
    site.stand_in("gh", answers)
    done = site.run("timings", GITHUB_REF_NAME="main")
    # What is not kept any more is no fault.
    assert done.returncode == 0, done.stderr
    assert [call[2] for call in site.calls] == ["list", "download", "list"]
    # A pull request of a stranger may come from a branch that has the same name.
    assert [call[call.index("--event") + 1] for call in site.calls if call[2] == "list"] == ["push", "schedule"]


# --- the update ----------------------------------------------------------------------------------


def test_without_a_base_nothing_is_proposed(site: Site) -> None:
    site.stand_in("mmdebstrap")
    site.stand_in("sudo", 'exec "$@"')
    site.stand_in("drivebuild", '[ "$1" != base ]')
    assert site.run("propose").returncode == 1
    assert [call for call in site.calls if call[0] == "drivebuild"] == [["drivebuild", "base", "debian-12-cpu"]]


def test_a_proposal_is_a_change_and_a_body(site: Site, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repo")
    repository.write("builder/recipes/sources.yaml", "commit: old\n")
    repository.commit()
    proposal = json.dumps({"title": "Update 1 commit", "body": "| a |\n"})
    act = (
        f"case \"$1 $2\" in 'lock --update') echo commit: new > builder/recipes/sources.yaml; echo '{proposal}' ;; esac"
    )
    site.stand_in("drivebuild", act)
    site.stand_in("mmdebstrap")
    site.stand_in("sudo", 'exec "$@"')
    site.folder = repository.folder
    output, summary = tmp_path / "output", tmp_path / "summary"
    environment = {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary), "DRIVEBUILD_MODEL": "streampetr"}
    done = site.run("propose", **environment)
    assert done.returncode == 0, done.stderr
    assert output.read_text() == "changed=true\n"
    assert summary.read_text() == "| a |\n\n" == (repository.folder / "out/body.md").read_text()
    patch = (repository.folder / "out/change.patch").read_text()
    assert "+commit: new" in patch
    assert "out/" not in patch
    calls = [call for call in site.calls if call[0] == "drivebuild"]
    assert [call[1] for call in calls] == ["base", "lock", "render", "lock"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", calls[1][calls[1].index("--exclude-newer") + 1])
    for call in calls:
        understood(call)
    # Once more, from what is there now: nothing is new.
    repository.commit()
    output.unlink()
    assert site.run("propose", **environment).returncode == 0
    assert output.read_text() == "changed=false\n"


OPEN = {"DRIVEBUILD_BRANCH": "drivebuild/update", "GIT_NAME": "A", "GIT_EMAIL": "a@example.org", "GH_TOKEN": "t"}


def proposed(tmp_path: Path, path: str) -> tuple[Repository, Repository]:
    """Return a clone with a proposal that changes one file, and where it came from."""
    origin = Repository(tmp_path / "origin")
    origin.write(path, "old\n")
    origin.commit()
    clone = Repository(tmp_path / "clone")
    clone.git("remote", "add", "origin", origin.url)
    clone.git("fetch", "--quiet", "origin")
    clone.git("reset", "--quiet", "--hard", "origin/main")
    clone.write(path, "new\n")
    patch = clone.git("diff")
    clone.git("checkout", "--quiet", "--", ".")
    clone.write("out/change.patch", f"{patch}\n")
    clone.write("out/proposal.json", json.dumps({"title": 'Update "1" $(commit)', "body": "b"}))
    clone.write("out/body.md", "b\n")
    return clone, origin


@pytest.mark.parametrize(("open_now", "verb"), [("", "create"), ("7", "edit")])
def test_a_pull_request_is_opened_or_renewed(site: Site, tmp_path: Path, open_now: str, verb: str) -> None:
    clone, origin = proposed(tmp_path, "builder/recipes/sources.yaml")
    site.stand_in("gh", f'case "$2" in list) echo {open_now} ;; esac')
    site.folder = clone.folder
    done = site.run("open", "open-github", **OPEN)
    assert done.returncode == 0, done.stderr
    assert origin.git("show", "drivebuild/update:builder/recipes/sources.yaml") == "new"
    assert origin.git("log", "-1", "--format=%s|%an", "drivebuild/update") == 'Update "1" $(commit)|A'
    last = site.calls[-1]
    assert last[:3] == ["gh", "pr", verb]
    assert last[last.index("--title") + 1] == 'Update "1" $(commit)'
    if open_now:
        assert last[3] == open_now


@pytest.mark.parametrize("path", [".github/workflows/x.yml", "templates/ci/image.sh", "quickstart", "compose.yaml.sh"])
def test_a_change_of_anything_else_is_refused(site: Site, tmp_path: Path, path: str) -> None:
    clone, origin = proposed(tmp_path, path)
    site.stand_in("gh")
    site.folder = clone.folder
    done = site.run("open", "open-github", **OPEN)
    assert done.returncode == 1
    assert path in done.stdout
    assert site.calls == []
    assert "drivebuild" not in origin.git("branch", "--list")


# --- builders elsewhere ----------------------------------------------------------------------------

NAME = "drivebuild-7-1-image"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
KEYS = {f"DRIVEBUILD_BUILDER_{name}": f"{PEM}{name}" for name in ("CA", "CERT", "KEY", "KUBECONFIG")}


def made(site: Site, line: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the step for a machine of this kind; the other kind has a builder, too."""
    machine, other = os.uname().machine, "riscv64"
    lines = f"{other} remote tcp://other:1\n{machine} {line}" if line else f"{other} remote tcp://other:1"
    temporary = site.folder.parent / "temporary"
    temporary.mkdir(exist_ok=True)
    return site.run(
        "builder",
        DRIVEBUILD_BUILDER=NAME,
        DRIVEBUILD_BUILDERS=lines,
        GITHUB_ENV=str(site.folder / "env"),
        RUNNER_TEMP=str(temporary),
        **{**KEYS, **env},
    )


def test_a_remote_builder_is_known_by_its_certificates_and_forgotten(site: Site, tmp_path: Path) -> None:
    site.stand_in("docker")
    given = tmp_path / "variable"
    given.write_text("of a file\n")
    line = "remote tcp://buildkit.example:1234 servername=buildkit.internal"
    done = made(site, line, DRIVEBUILD_BUILDER_KEY=str(given))
    assert done.returncode == 0, done.stderr
    keys = tmp_path / "temporary" / NAME
    create, inspect = site.calls
    assert create[:5] == ["docker", "buildx", "create", "--name", NAME]
    assert create[-1] == "tcp://buildkit.example:1234"
    options = [value for word, value in itertools.pairwise(create) if word == "--driver-opt"]
    expected = {"servername": "buildkit.internal", "cacert": f"{keys}/ca.pem", "cert": f"{keys}/cert.pem"}
    assert options == [f'"{name}={value}"' for name, value in (*expected.items(), ("key", f"{keys}/key.pem"))]
    assert inspect == ["docker", "buildx", "inspect", "--bootstrap", NAME]
    assert (site.folder / "env").read_text() == f"BUILDX_BUILDER={NAME}\n"
    assert keys.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in keys.iterdir()} == {
        "ca.pem": 0o600,
        "cert.pem": 0o600,
        "key.pem": 0o600,
    }
    assert (keys / "ca.pem").read_text() == f"{PEM}CA\n"
    # GitLab's variables may be files.
    assert (keys / "key.pem").read_text() == "of a file\n"
    assert "MIIB" not in done.stdout + done.stderr
    # What stays on a machine that many jobs share.
    assert site.run("builder-end", DRIVEBUILD_BUILDER=NAME, RUNNER_TEMP=str(keys.parent)).returncode == 0
    assert site.calls[-1] == ["docker", "buildx", "rm", "--keep-daemon", "--force", NAME]
    assert not keys.exists()


def test_pods_have_one_name_for_all_jobs(site: Site) -> None:
    site.stand_in("docker")
    assert made(site, "kubernetes ci/buildkitd.toml namespace=build nodeselector=a=b,c=d").returncode == 0
    create = site.calls[0]
    assert create[create.index("--node") + 1] == f"drivebuild-{os.uname().machine.replace('_', '-')}"
    assert create[create.index("--buildkitd-config") + 1] == "ci/buildkitd.toml"
    assert '"nodeselector=a=b,c=d"' in create
    assert create[-2] == "--driver-opt"


def test_a_machine_without_a_builder_builds_itself(site: Site) -> None:
    site.stand_in("docker")
    done = made(site, "")
    assert done.returncode == 0
    assert "this machine builds" in done.stdout
    assert site.calls == []
    assert not (site.folder / "env").exists()


def test_without_its_keys_a_job_does_not_build_somewhere_else(site: Site) -> None:
    site.stand_in("docker")
    done = made(site, "remote tcp://buildkit.example:1234", DRIVEBUILD_BUILDER_CERT="")
    assert done.returncode == 1
    assert "the secret DRIVEBUILD_BUILDER_CERT is not there" in done.stderr
    assert site.calls == []


def test_a_builder_that_does_not_start_is_the_end(site: Site) -> None:
    site.stand_in("docker", 'case "$2" in inspect) exit 1 ;; esac')
    site.stand_in("sleep")
    assert made(site, "remote unix:///run/buildkit.sock").returncode == 1
    assert [call[2] for call in site.calls if call[0] == "docker"] == ["create", "inspect", "inspect", "inspect"]
    assert "--driver-opt" not in site.calls[0]
    assert not (site.folder / "env").exists()


def test_a_folder_of_that_name_is_not_written_into(site: Site) -> None:
    site.stand_in("docker")
    (site.folder.parent / "temporary" / NAME).mkdir(parents=True)
    assert made(site, "remote tcp://buildkit.example:1234").returncode != 0
    assert site.calls == []
