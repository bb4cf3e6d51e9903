"""An image that a command names, read: by a model's name and the options of a plan, or by any name the engine knows."""

from __future__ import annotations

import re
import tarfile
from typing import TYPE_CHECKING

import typer

from builder.errors import BuildError, UsageError
from builder.recipe.suggest import one_of

if TYPE_CHECKING:
    from builder.cli.main import Settings
    from builder.engine.host import Engine
    from builder.engine.process import Result
    from builder.provenance.inventory import Facts, Inventory
    from builder.provenance.rpm import Rpm
    from builder.provenance.snapshot import Snapshot

__all__ = ["ImageReader", "check_installed", "recorded_stages", "run_inside"]

INSTALL = "pip install 'drivebuild[sbom]'"


def check_installed() -> None:
    """Look whether the libraries are there that read packages and licences.

    Raises:
        UsageError: when they are not.
    """
    from importlib.util import find_spec

    needed = ("cyclonedx", "spdx_tools", "packageurl", "license_expression", "debian_inspector", "cvss")
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise UsageError(f"{missing[0]} is not installed, one of the libraries that images are read with", hint=INSTALL)


def run_inside(argv: tuple[str, ...], script: bytes) -> Result:
    """Run a command that reads an image from inside; the script comes on its standard input."""
    from builder.engine.process import SystemRunner

    return SystemRunner().run(argv, stdin=script)


def recorded_stages(tag: str, image_id: str = "") -> list[tuple[str, str]]:
    """Return the texts of the stages that an image stands on, the last first, from the Dockerfile of its record.

    Empty where nobody wrote one down, or where the record of that name is that of another image than `image_id`.
    """
    from builder.engine.snapshot import read_dockerfile, read_snapshot

    kept = read_snapshot(tag)
    if kept is None or (image_id and kept.image_id != image_id):
        return []
    parts = re.split(r"^FROM (\S+) AS (\S+)\n", read_dockerfile(tag), flags=re.MULTILINE)
    stages = {name: (base, text) for base, name, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)}
    found = []
    name = kept.target
    while name in stages:
        base, text = stages.pop(name)
        found.append((name, text))
        name = base
    return found


class ImageReader:
    """Reads images, each once, and remembers them by their ids."""

    def __init__(self, settings: Settings, *, quiet: bool = False) -> None:
        from builder.engine.host import connect

        check_installed()
        self._settings, self._quiet = settings, quiet
        self.engine: Engine = connect()

    def name(self, word: str, *, platform: str = "", variant: str = "", until: str = "") -> str:
        """Return the image that a model's name or an image's own means.

        Raises:
            UsageError: options of a plan for something that is no model.
            PlanError: there is no such combination.
        """
        if self.is_model(word):
            from builder.engine.build import default_tag

            plan = self._settings.plan(word, platform=platform, variant=variant or "stock", options={})
            return default_tag(plan, until)
        model, _, named = word.partition(":")
        if self.is_model(model) and (platform or "/" not in word) and not self.engine.image(word):
            variants = sorted({each for item in self._settings.catalog().platforms.values() for each in item.variants})
            raise UsageError(f"{model} has no variant {named!r}", hint=one_of(named, variants))
        if platform or variant or until:
            raise UsageError(
                f"{word} is no model, and --platform, --variant and --until are a model's",
                hint="name an image without them, or a model; see `drivebuild list`",
            )
        return word

    def named(self, word: str, *, platform: str = "") -> str:
        """Return the image that a name means; `MODEL:VARIANT` is a model's.

        Raises:
            UsageError: as `name`.
            PlanError: as `name`.
        """
        model, _, variant = word.partition(":")
        if self.is_model(model) and (not variant or self.is_variant(variant)):
            return self.name(model, platform=platform, variant=variant)
        return self.name(word, platform=platform)

    def is_model(self, word: str) -> bool:
        """Return whether a word is a model's name."""
        return word in self._settings.catalog().models

    def is_variant(self, word: str) -> bool:
        """Return whether any platform has such a variant."""
        return any(word in platform.variants for platform in self._settings.catalog().platforms.values())

    def layers(self, name: str) -> tuple[tuple[str, int], ...]:
        """Return the digests of an image's layers with their bytes, the lowest first."""
        from builder.footprint.layers import Made, match_layers

        image = self.engine.image(name)
        if image is None:
            raise self._missing(name)
        history = [Made(*entry) for entry in self.engine.history_sizes(name)]
        return tuple((layer.id, layer.size) for layer in match_layers(image.layers, history, ()))

    def snapshot(self, name: str) -> Snapshot:
        """Return an image's files, from the cache where it was read before.

        Raises:
            BuildError: there is no such image, or it cannot be exported.
        """
        from builder.engine.contents import described, exported
        from builder.engine.folders import cache_folder
        from builder.provenance.cache import read_cached, write_cached
        from builder.provenance.snapshot import Config, Snapshot, read_archive

        found = described(self.engine, name)
        if found is None:
            raise self._missing(name)
        folder = cache_folder() / "contents"
        known = read_cached(folder, found.id)
        if known is not None:
            return known
        self._say(name)
        try:
            with exported(self.engine, found.id) as pieces:
                entries, texts, left_out = read_archive(pieces)
        except tarfile.TarError as error:
            raise BuildError(f"{name}: what the engine exports ends early: {error}", hint="run it again") from error
        config = Config(
            labels=found.labels,
            environment=found.environment,
            user=found.user,
            folder=found.folder,
            entrypoint=found.entrypoint,
            command=found.command,
        )
        snapshot = Snapshot(
            id=found.id,
            created=found.created,
            architecture=found.architecture,
            config=config,
            layers=found.layers,
            identity=found.identity,
            entries=entries,
            texts=texts,
            left_out=left_out,
        )
        try:
            write_cached(folder, snapshot)
        except OSError as error:
            typer.echo(f"note: {folder}: {error.strerror}: the image will be read anew next time", err=True)
        return snapshot

    def inventory(self, name: str) -> Inventory:
        """Return what an image is made of.

        Raises:
            BuildError: as `snapshot`; or its own rpm cannot be asked.
        """
        from builder.provenance.gather import gather
        from builder.provenance.rpm import database_of

        snapshot = self.snapshot(name)
        folder = database_of(snapshot)
        rpms = self._rpms(snapshot, folder) if folder else ()
        return gather(snapshot, self._facts(snapshot), rpms)

    def _rpms(self, snapshot: Snapshot, folder: str) -> tuple[Rpm, ...]:
        from builder.engine.process import SystemRunner
        from builder.provenance.rpm import query_command, read_query

        result = SystemRunner().run(query_command(snapshot.id, folder))
        if result.code != 0:
            raise BuildError(
                f"the image has a database of rpm's, and its own rpm cannot be asked: {result.complaint}",
                hint="only rpm itself can read its database",
            )
        return read_query(result.stdout.decode("utf-8", "backslashreplace"))

    def _facts(self, snapshot: Snapshot) -> Facts:
        from builder.provenance.inventory import Facts
        from builder.provenance.manifest import read_manifest

        catalog = self._settings.catalog()
        manifest = read_manifest(snapshot)
        model = catalog.models.get(manifest.model or snapshot.config.labels.get("drivebuild.model", ""))
        licences = {name: source.licence for name, source in catalog.sources.items()}
        licences |= {name: component.licence for name, component in catalog.components.items() if component.licence}
        if model is not None:
            licences.setdefault(model.tree.source, "")
            licences[model.tree.source] = licences[model.tree.source] or model.licence
        kept: dict[str, str] = {}
        for use in model.components if model else ():
            origin = catalog.components[use.name].versions.get(use.version)
            names = {use.source, origin.npu or "", origin.cpu or ""} if origin else {use.source}
            used = sorted((names - {""}) & set(manifest.sources))
            if model and use.keep_tree and used:
                kept[f"/workspace/{model.name}/{use.keep_tree}/"] = used[0]
        packages: dict[str, str] = {}
        for system in catalog.systems.values():
            for name, debs in (("tcmalloc", system.tcmalloc), ("jemalloc", system.jemalloc)):
                there = [each for each in debs if f"/usr/share/doc/{each}/copyright" in snapshot.entries]
                packages |= {name: there[0]} if there else {}
        return Facts(
            distributions={name: component.package for name, component in catalog.components.items()},
            licences=licences,
            tree=model.tree.source if model else "",
            kept=kept,
            packages=packages,
        )

    def _say(self, name: str) -> None:
        if not self._quiet:
            from builder.cli.live import human_bytes

            image = self.engine.image(name)
            size = human_bytes(image.size) if image else "?"
            typer.echo(f"reading {name}, {size}; it is remembered by its id", err=True)

    def _missing(self, name: str) -> BuildError:
        from builder.recipe.suggest import did_you_mean

        tags = [tag for each in self.engine.client.images() for tag in each.get("RepoTags") or ()]
        near = did_you_mean(name, [*tags, *self._settings.catalog().models])
        return BuildError(f"there is no image {name}", hint=near or "`drivebuild image MODEL` builds one")
