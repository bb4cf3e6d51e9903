"""BuildKit's own record of a build, in-toto provenance, beside the image in a registry; and who can write one."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from builder.engine.command import Choices
from builder.engine.host import OTHER_STORE, Facts
from builder.engine.process import Argv
from builder.errors import UsageError
from builder.recipe.suggest import one_of

__all__ = ["LEVELS", "attest_words", "check_attest"]

LEVELS = {"provenance": "mode=max", "provenance-min": "mode=min"}
"""`max` has the Dockerfile, every step and the values of build arguments; `min` only what was built from what."""


def attest_words(level: str) -> Argv:
    """Return the words of `docker buildx build` that ask for provenance; none for ''.

    Without them BuildKit decides by itself, and differently by driver: what was not asked for is not made.
    """
    return ("--attest", f"type=provenance,{LEVELS[level]}") if level else ()


def check_attest(level: str, choices: Choices, facts: Facts, *, pushed: bool) -> None:
    """Look, before anything is built, whether there will be provenance, and whether it would tell a secret.

    Raises:
        UsageError: for an unknown level; without a push; with a builder that cannot write it; with a proxy's password.
    """
    if not level:
        return
    if level not in LEVELS:
        raise UsageError(f"--attest {level}: there is no such attestation", hint=one_of(level, LEVELS))
    if not pushed:
        message = "--attest: only a registry keeps an attestation beside an image, the engine does not"
        raise UsageError(message, hint="add --push REPOSITORY")
    if not choices.elsewhere and not facts.containerd_store:
        message = "--attest: the engine's own builder and image store know no attestations"
        raise UsageError(message, hint=OTHER_STORE)
    telling = [name for name in choices.proxies if _has_password(name, choices)]
    if telling and level == "provenance":
        message = f"--attest provenance holds the values of build arguments, and {telling[0]} has a password"
        raise UsageError(message, hint="--attest provenance-min leaves them out; or a proxy that wants no password")


def _has_password(name: str, choices: Choices) -> bool:
    value = choices.environment.get(name) or os.environ.get(name, "")
    try:
        return bool(urlsplit(value if "//" in value else f"//{value}").username)
    except ValueError:
        return True
