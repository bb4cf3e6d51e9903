"""What images take in a registry together, against each of them in a registry of its own.

    drivebuild build-all --platform debian-12-cpu --push localhost:5000/drivebuild
    python benchmarks/registry_bytes.py http://localhost:5000 [--repository drivebuild/] [--json FILE]

Reads the manifests of every tag by the registry's API. Together: each blob once, as registries keep them. Apart: the
sum of what every image names, counted once for each manifest, whatever number of tags it has. Bytes are compressed.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TARGET = 0.4
KINDS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
LARGEST = 12


@dataclass(frozen=True, slots=True)
class Held:
    """One image of the registry."""

    name: str
    tags: tuple[str, ...]
    blobs: dict[str, int]
    """Bytes by digest: its configuration and its layers."""

    @property
    def size(self) -> int:
        """Its bytes alone."""
        return sum(self.blobs.values())


def ask(registry: str, path: str) -> tuple[str, Any]:
    """Return the digest and the document that a registry has at a path."""
    request = urllib.request.Request(f"{registry}/v2/{path}", headers={"Accept": ", ".join(KINDS)})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers.get("Docker-Content-Digest", ""), json.load(answer)


def images(registry: str, prefix: str) -> tuple[Held, ...]:
    """Return all images of the repositories whose names begin with the prefix."""
    found: dict[tuple[str, str], tuple[dict[str, int], list[str]]] = {}
    for name in ask(registry, "_catalog?n=1000")[1]["repositories"]:
        for tag in (ask(registry, f"{name}/tags/list")[1].get("tags") or ()) if name.startswith(prefix) else ():
            digest, manifest = ask(registry, f"{name}/manifests/{tag}")
            parts = [manifest]
            if "manifests" in manifest:
                parts = [ask(registry, f"{name}/manifests/{each['digest']}")[1] for each in manifest["manifests"]]
            blobs = {each["digest"]: each["size"] for part in parts for each in (part["config"], *part["layers"])}
            found.setdefault((name, digest), (blobs, []))[1].append(tag)
    return tuple(Held(name, tuple(sorted(tags)), blobs) for (name, _), (blobs, tags) in sorted(found.items()))


def main() -> int:
    """Measure and print; return 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("registry", metavar="URL")
    parser.add_argument("--repository", default="", metavar="PREFIX", help="repositories whose names begin so")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    held = images(options.registry.rstrip("/"), options.repository)
    if not held:
        print("no image there", file=sys.stderr)
        return 2
    sizes = {digest: size for image in held for digest, size in image.blobs.items()}
    apart, together = sum(image.size for image in held), sum(sizes.values())
    print(f"{'image':62} {'MB':>8} {'its own MB':>11}")
    for image in held:
        others = {digest for other in held if other is not image for digest in other.blobs}
        own = sum(size for digest, size in image.blobs.items() if digest not in others)
        print(f"{f'{image.name}:{image.tags[0]}':62} {image.size / 1e6:8.1f} {own / 1e6:11.1f}")
    print("\nlargest blobs, and in how many images they are")
    for digest, size in sorted(sizes.items(), key=lambda item: -item[1])[:LARGEST]:
        print(f"{digest[7:19]} {size / 1e6:8.1f} MB {sum(digest in image.blobs for image in held):4}")
    ratio = together / apart
    print(
        f"\n{len(held)} images apart {apart / 1e6:.1f} MB, together {together / 1e6:.1f} MB: {ratio:.3f}"
        f" (target {TARGET})"
    )
    if options.json:
        found = {
            "apart": apart,
            "together": together,
            "ratio": ratio,
            "images": {i.name + ":" + i.tags[0]: i.size for i in held},
        }
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(ratio > TARGET)


if __name__ == "__main__":
    sys.exit(main())
