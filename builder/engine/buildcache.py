"""How much of its cache BuildKit keeps, by its own word: `docker buildx inspect` prints the policy that holds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from builder.engine.finding import Finding
from builder.engine.process import CommandMissingError, Runner

__all__ = ["KEPT_BYTES", "Policy", "judge_policy", "parse_policy", "parse_size", "read_policy"]

KEPT_BYTES = 30_000_000_000
"""Cache of one platform with its models: the stages that compile, and the framework's layers (docs/performance.md)."""
OLD_KEY = "defaultKeepStorage"
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[kmgt]?i?)b", re.IGNORECASE)
# Words of buildx up to 0.16, and of later ones.
_LIMITS = {"keep bytes": "keep", "max used space": "most", "reserved space": "reserved", "min free space": "free"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the last rule of a builder's garbage collection says, the one for all kinds of cache."""

    driver: str
    kept: int | None
    """Bytes above which cache is removed; None where no rule says so."""
    free: int | None = None
    """Bytes that must stay free on the disk, whatever is kept."""
    key: str = OLD_KEY
    """The engine's setting of `kept`: engines from 28 on have other words."""


def read_policy(runner: Runner) -> Policy | None:
    """Return the policy of the builder that builds would use; None when buildx does not answer."""
    try:
        said = runner.run(("docker", "buildx", "inspect"))
    except (CommandMissingError, OSError):
        return None
    return parse_policy(said.text) if said.code == 0 else None


def parse_policy(text: str) -> Policy:
    """Read what `docker buildx inspect` prints. Of its rules the last one counts: it is for all kinds of cache."""
    driver, rules = "", list[dict[str, int]]()
    for line in text.splitlines():
        key, colon, value = line.strip().partition(":")
        name = key.strip().lower()
        if not colon:
            continue
        if name == "driver":
            driver = value.strip()
        elif name.startswith("gc policy rule"):
            rules.append({})
        elif rules and name in _LIMITS and (size := parse_size(value)) is not None:
            rules[-1][_LIMITS[name]] = size
    last = rules[-1] if rules else {}
    # `Reserved` alone is what is never removed: no cache above it is safe.
    kept = next((last[name] for name in ("most", "keep", "reserved") if name in last), None)
    key = OLD_KEY if "keep" in last or not last else "defaultMaxUsedSpace"
    return Policy(driver=driver, kept=kept, free=last.get("free"), key=key)


def judge_policy(policy: Policy | None, needed: int = KEPT_BYTES) -> Finding:
    """Return doctor's line: a warning where BuildKit throws away what the next build would compile again."""
    about = "build cache"
    if policy is None:
        return Finding(state="ok", about=about, found="not known: `docker buildx inspect` does not say what is kept")
    if policy.kept is None:
        found = "no limit is said" if policy.driver == "docker" else f"no limit is said by the driver {policy.driver}"
        return Finding(state="ok", about=about, found=f"{found}: BuildKit keeps what fits")
    room = f", and leaves {_gb(policy.free)} of the disk free" if policy.free else ""
    if policy.kept >= needed:
        return Finding(state="ok", about=about, found=f"BuildKit keeps {_gb(policy.kept)}{room}")
    found = f"BuildKit keeps {_gb(policy.kept)}{room}, one platform with its models takes about {_gb(needed)}"
    return Finding(state="warn", about=about, found=found, advice=_advice(policy, needed))


def _advice(policy: Policy, needed: int) -> str:
    why = "what is thrown away is compiled again"
    if policy.driver in ("", "docker"):
        setting = f'{{"builder": {{"gc": {{"enabled": true, "{policy.key}": "{_gb(needed, "")}"}}}}}}'
        return f"{why}; into /etc/docker/daemon.json, then restart the engine: {setting}"
    return f"{why}; into the builder's buildkitd.toml, below [worker.oci]: gckeepstorage = {needed // 10**6}"


def parse_size(text: str) -> int | None:
    """Return a size as Docker writes it, such as `28.5GB`, in bytes; None for what is none."""
    match = _SIZE.search(text)
    return round(float(match["number"]) * _UNITS[match["unit"].lower()]) if match else None


def _gb(size: int, blank: str = " ") -> str:
    return f"{size / 10**9:.0f}{blank}GB"
