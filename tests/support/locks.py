"""Locks for recipes that have none yet: valid in form, meaningless in content."""

from __future__ import annotations

import msgspec

from builder.recipe.types import Catalog

HASH = " --hash=sha256:" + "a" * 64


def with_locks(catalog: Catalog) -> Catalog:
    """Return `catalog` with a stand-in for every lock that is missing."""
    locks = dict(catalog.locks)
    for architecture in ("x86_64", "aarch64"):
        locks.setdefault(f"installer/uv.{architecture}.txt", f"uv==0.13.8{HASH}")
    published = [
        (component.name, version)
        for component in catalog.components.values()
        for version, origin in component.versions.items()
        if origin.index
    ]
    for platform in catalog.platforms:
        for architecture in ("x86_64", "aarch64"):
            text = f"numpy==1.23.5{HASH}\ntorch==2.1.0{HASH}"
            locks.setdefault(f"{platform}/framework.{architecture}.txt", text)
            text += f"\ntorch-npu==2.1.0.post12{HASH}"
            locks.setdefault(f"{platform}/adapter.{architecture}.txt", text)
            for name, version in published:
                locks.setdefault(f"{platform}/{name}-{version}.{architecture}.txt", f"{name}==1.0{HASH}")
            for model in catalog.models:
                text = f"numpy==1.23.5{HASH}\neinops==0.8.0{HASH}\ntqdm==4.67.0{HASH}"
                locks.setdefault(f"{platform}/{model}.{architecture}.txt", text)
    return msgspec.structs.replace(catalog, locks=locks)
