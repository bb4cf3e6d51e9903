"""GitLab's job that opens a merge request: its very text, against a git server that wants the token."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.files import REPOSITORY
from support.gitserver import GitServer, serve_git
from support.repos import ALONE, Repository

JOBS = yaml.safe_load((REPOSITORY / "ci/gitlab.yml").read_text())
JOB, PROPOSE = JOBS["drivebuild-open"], JOBS["drivebuild-update"]
IMAGES = "drivebuild-images"
TOKEN = "glpat-0123456789abcdef"  # noqa: S105
RECIPE = "builder/recipes/sources.yaml"
TITLE = 'Update "1" $(commit)'
BODY = "| a |\n\n```text\nfix `x` in C:\\new\n/merge\n```\n  /approve\r\nend\n"


class Project:
    """A project of a GitLab, the checkout that its runner made, and a proposal in it."""

    def __init__(self, folder: Path, server: GitServer) -> None:
        self.server = server
        first = Repository(folder / "first")
        first.write(RECIPE, "old\n")
        first.commit()
        self.bare = server.project("team/recipes", first.folder)
        self.checkout = Repository(folder / "checkout")
        # As the runner leaves it: the address has the job's own token, which may push nothing.
        self.checkout.git("remote", "add", "origin", server.url.replace("//", "//gitlab-ci-token:job@"))
        self.checkout.git("config", f"url.{server.url.replace('//', '//gitlab-ci-token:job@')}.insteadOf", server.url)
        self.checkout.git(
            "config", "credential.helper", "!f() { echo username=gitlab-ci-token; echo password=job; }; f"
        )
        self.checkout.git("fetch", "--quiet", str(self.bare), "main")
        self.checkout.git("reset", "--quiet", "--hard", "FETCH_HEAD")
        self.propose("new\n")

    def propose(self, content: str, *, path: str = RECIPE, title: str = TITLE, body: str = BODY) -> None:
        self.checkout.write(path, content)
        self.checkout.git("add", "--", path)
        patch = self.checkout.git("diff", "--cached", "--binary")
        self.checkout.git("reset", "--quiet", "--hard")
        self.checkout.write("out/change.patch", f"{patch}\n" if patch else "")
        self.checkout.write("out/proposal.json", json.dumps({"title": title}))
        self.checkout.write("out/body.md", body)

    def run(self, script: list[str] = JOB["script"], **env: str) -> subprocess.CompletedProcess[str]:
        """Run a job's script as GitLab's runner does: all parts in one shell."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "DRIVEBUILD_", "GIT_"))}
        given = {
            "CI_COMMIT_BRANCH": "main",
            "CI_COMMIT_REF_PROTECTED": "true",
            "CI_PIPELINE_SOURCE": "schedule",
            "CI_PROJECT_URL": f"{self.server.url}/team/recipes",
            "DRIVEBUILD_UPDATE_TOKEN": TOKEN,
            **JOB["variables"],
            **env,
        }
        return subprocess.run(
            ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", "\n".join(script)),
            cwd=self.checkout.folder,
            env={**kept, **ALONE, **given},
            input="",
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def pushes(self) -> list[dict[str, str]]:
        """Return the options of each push."""
        path = self.bare / "push-options"
        texts = path.read_text().split("--\n")[:-1] if path.exists() else []
        lines = [[line.partition("=") for line in text.splitlines()] for text in texts]
        return [{name: value for name, _, value in each} for each in lines]

    def branches(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(refname)").split()

    def git(self, *words: str) -> str:
        return self.checkout.git("-C", str(self.bare), *words)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    (tmp_path / "root").mkdir()
    with serve_git(tmp_path / "root", user="drivebuild", password=TOKEN) as server:
        yield Project(tmp_path, server)


def test_a_merge_request_is_opened_with_the_token_that_nothing_shows(project: Project) -> None:
    (project.bare / "answer").write_text("View merge request for drivebuild/update:\n  http://x/-/merge_requests/1\n")
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.git("show", f"drivebuild/update:{RECIPE}") == "new"
    assert project.git("log", "-1", "--format=%s|%an", "drivebuild/update") == f"{TITLE}|A"
    assert project.git("rev-parse", "main") == project.git("rev-parse", "drivebuild/update^")
    (options,) = project.pushes
    description = options.pop("merge_request.description")
    assert options == {
        "merge_request.create": "",
        "merge_request.target": "main",
        "merge_request.title": TITLE,
        "merge_request.remove_source_branch": "",
    }
    # What GitLab makes of it: no quick action at any line's begin, no line's end that was not there.
    shown = description.replace("\\n", "\n")
    assert shown == "| a |\n\n```text\nfix `x` in C:\\\u200bnew\n\\/merge\n```\n  \\/approve \nend"
    assert "merge_requests/1" in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    # git asks without a password first; the runner's own token was never tried.
    assert {base64.b64decode(each.removeprefix("Basic ")) for each in project.server.refused} <= {b"", b"drivebuild:"}


def test_the_next_proposal_takes_the_branch_of_the_last(project: Project) -> None:
    assert project.run().returncode == 0
    project.checkout.git("reset", "--quiet", "--hard", "HEAD^")
    project.propose("newer\n", title="Update 2 commits")
    assert project.run().returncode == 0
    assert project.git("show", f"drivebuild/update:{RECIPE}") == "newer"
    assert project.git("rev-list", "--count", "main..drivebuild/update") == "1"
    assert project.branches() == ["refs/heads/drivebuild/update", "refs/heads/main"]
    assert [each["merge_request.title"] for each in project.pushes] == [TITLE, "Update 2 commits"]


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ({"CI_COMMIT_REF_PROTECTED": ""}, "nothing is pushed from here"),
        ({"CI_PIPELINE_SOURCE": "merge_request_event"}, "nothing is pushed from here"),
        ({"CI_PIPELINE_SOURCE": "web"}, "nothing is pushed from here"),
        ({"DRIVEBUILD_UPDATE_TOKEN": ""}, "the proposal stays an artifact"),
        ({}, "nothing to propose"),
    ],
    ids=["branch", "merge-request", "by-hand", "no-token", "nothing-new"],
)
def test_else_nothing_is_pushed(project: Project, why: dict[str, str], said: str) -> None:
    if not why:
        project.propose("old\n")
    done = project.run(**why)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert project.branches() == ["refs/heads/main"]


def test_options_that_gitlab_does_not_take_are_no_success(project: Project) -> None:
    (project.bare / "answer").write_text("WARNINGS:\nError encountered with push options 'merge_request.create'\n")
    done = project.run()
    assert done.returncode == 1
    assert "no merge request was opened" in done.stderr


def test_a_token_that_is_refused_is_no_success(project: Project) -> None:
    done = project.run(DRIVEBUILD_UPDATE_TOKEN="glpat-another")  # noqa: S106
    assert done.returncode == 1
    assert "Authentication failed" in done.stdout
    assert "glpat" not in done.stdout + done.stderr
    assert project.branches() == ["refs/heads/main"]


def test_a_change_of_anything_else_is_refused(project: Project) -> None:
    project.propose("x\n", path=".gitlab-ci.yml")
    done = project.run()
    assert done.returncode == 1
    assert ".gitlab-ci.yml" in done.stdout
    assert project.branches() == ["refs/heads/main"]


@pytest.mark.parametrize("name", ["body.md", "proposal.json", "change.patch"])
@pytest.mark.parametrize("target", ["/proc/self/environ", "secret"])
def test_a_link_to_what_this_job_knows_is_no_proposal(project: Project, name: str, target: str) -> None:
    """Artifacts keep links: a description that is one would tell everybody the token."""
    (project.checkout.folder / "out/secret").write_text(TOKEN)
    path = project.checkout.folder / "out" / name
    path.unlink()
    path.symlink_to(target)
    done = project.run()
    if (name, target) == ("change.patch", "/proc/self/environ"):
        # What the kernel makes when it is read has no size.
        assert (done.returncode, done.stdout) == (0, "nothing to propose\n")
    else:
        assert done.returncode == 1
        assert f"out/{name} is a link" in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert project.branches() == ["refs/heads/main"]


def test_what_is_too_long_for_an_option_is_cut(project: Project) -> None:
    project.propose("new\n", body="漢字\n" * 40_000)
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    (options,) = project.pushes
    assert 60_000 < len(options["merge_request.description"].encode()) <= 65_000


@pytest.mark.parametrize("secret", ["UPDATE_TOKEN", "REGISTRY_PASSWORD", "BUILDER_KEY", "BUILDER_KUBECONFIG"])
def test_the_job_that_runs_strangers_code_refuses_to_see_a_secret(project: Project, secret: str) -> None:
    done = project.run(PROPOSE["script"], **{"DRIVEBUILD_UPDATE_TOKEN": "", f"DRIVEBUILD_{secret}": "x"})
    assert done.returncode == 1
    assert f"taken in here, beside: DRIVEBUILD_{secret}\n" in done.stderr
    assert f"DRIVEBUILD_UPDATE_TOKEN has {JOB['environment']['name']}, the others have {IMAGES}\n" in done.stderr
    assert yaml.safe_load((REPOSITORY / "ci/gitlab-jobs.yml").read_text())[".drivebuild-secrets"] == {
        "environment": {"name": IMAGES, "action": "access"}
    }
    assert "environment" not in PROPOSE
    # A runner keeps working copies: hooks that the job left in one would run beside the token.
    assert JOB["variables"]["GIT_STRATEGY"] == "clone"
    # Neither a merge request's pipeline nor a run by hand has the job.
    (rule,) = JOB["rules"]
    assert '$CI_PIPELINE_SOURCE == "schedule"' in rule["if"]
    assert "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in rule["if"]
