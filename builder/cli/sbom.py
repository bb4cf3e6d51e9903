"""`sbom`: what is in an image, its licences and its known vulnerabilities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.main import Settings, app
from builder.cli.options import Lto, Pgo, Platform, Variant, variant_of
from builder.errors import PolicyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.provenance.inventory import Inventory, Package
    from builder.provenance.osv import Database
    from builder.provenance.vulnerable import Finding

FORMATS = ("table", "licences", "cyclonedx", "spdx")
BAD_SHOWN = 3
SHOWN = 20
"""Lines of what a rule forbids that are shown."""


@app.command()
def sbom(
    context: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE|MODEL", help="An image's name or id, or a model's.")],
    form: Annotated[
        str, typer.Option("--format", metavar="F", help="table, licences, cyclonedx (1.6) or spdx (2.3).")
    ] = "table",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there, whole or not at all.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="K", help="Only packages of this kind: deb, rpm, python, wheel, source, …"),
    ] = None,
    fail_on: Annotated[
        str,
        typer.Option(
            "--fail-on",
            metavar="RULE,…",
            help="Exit with 9 when there is any: gpl, agpl, lgpl, non-commercial, proprietary, unknown, data-terms; "
            "vulnerability, critical, high, medium, low.",
        ),
    ] = "",
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="NAME", help="A package, or a vulnerability's id, that --fail-on lets pass."),
    ] = None,
    vulnerabilities: Annotated[
        Path | None,
        typer.Option("--vulnerabilities", metavar="DB", help="An export of the OSV database: zip archive or folder."),
    ] = None,
    unowned: Annotated[bool, typer.Option("--unowned", help="List the files that are of no package.")] = False,
    platform: Platform = "",
    lto: Lto = "",
    pgo: Pgo = "",
    variant: Variant = "",
    until: Annotated[str, typer.Option("--until", metavar="STAGE", help="The stage the image was built until.")] = "",
) -> None:
    """Say what is in an image, read from its files: packages, sources, patches, licences, known vulnerabilities."""
    settings: Settings = context.obj
    rules = _checked(form, fail_on, vulnerabilities)
    from builder.cli.imageread import ImageReader

    reader = ImageReader(settings)
    chosen = variant_of(variant, lto=lto, pgo=pgo) if variant or lto or pgo else ""
    inventory = reader.inventory(reader.name(image, platform=platform, variant=chosen, until=until))
    packages = _of_kinds(inventory, kind or [])
    database, findings = _vulnerable(inventory, vulnerabilities)
    if form in ("cyclonedx", "spdx"):
        _document(inventory, form, findings if vulnerabilities else None, output)
    else:
        lines = list(_table(inventory, packages, form, unowned=unowned))
        lines += _vulnerability_lines(findings, database)
        _write(lines, output)
    _judge(inventory, packages, rules, findings, allow or [])


def _checked(form: str, fail_on: str, vulnerabilities: Path | None) -> tuple[str, ...]:
    """Return the rules; what cannot be meant is refused before an image is read.

    Raises:
        UsageError: for an unknown format or rule, one about vulnerabilities without a database, and a database that is
            neither file nor folder.
    """
    from builder.recipe.suggest import one_of

    if form not in FORMATS:
        raise UsageError(f"--format {form}: there is no such format", hint=one_of(form, FORMATS))
    from builder.cli.imageread import check_installed

    check_installed()
    from builder.provenance.terms import RULES, VULNERABILITY
    from builder.provenance.vulnerable import SEVERITIES

    rules = tuple(word.strip() for word in fail_on.split(",") if word.strip())
    for rule in rules:
        if rule not in RULES:
            raise UsageError(f"--fail-on {rule}: there is no such rule", hint=one_of(rule, RULES))
        if rule in (VULNERABILITY, *SEVERITIES) and vulnerabilities is None:
            raise UsageError(f"--fail-on {rule} needs a database of vulnerabilities", hint="add --vulnerabilities DB")
    # A pipe can be read once and from its beginning; an archive's list of files is at its end.
    if vulnerabilities is not None and not (vulnerabilities.is_file() or vulnerabilities.is_dir()):
        raise UsageError(f"--vulnerabilities {vulnerabilities}: no such file or folder")
    return rules


def _of_kinds(inventory: Inventory, kinds: Sequence[str]) -> tuple[Package, ...]:
    from typing import get_args

    from builder.provenance.inventory import Kind
    from builder.recipe.suggest import one_of

    for each in kinds:
        if each not in get_args(Kind):
            raise UsageError(f"--kind {each}: there is no such kind", hint=one_of(each, get_args(Kind)))
    return tuple(package for package in inventory.packages if not kinds or package.kind in kinds)


def _vulnerable(inventory: Inventory, path: Path | None) -> tuple[Database | None, tuple[Finding, ...]]:
    if path is None:
        return None, ()
    from builder.provenance.osv import read_database
    from builder.provenance.vulnerable import find_vulnerable, packages_by_name

    database = read_database(path, packages_by_name(inventory))
    return database, find_vulnerable(inventory, database)


def _document(inventory: Inventory, form: str, findings: Sequence[Finding] | None, output: Path | None) -> None:
    from builder.provenance.cyclonedx import to_cyclonedx
    from builder.provenance.spdx import to_spdx

    text = (to_cyclonedx if form == "cyclonedx" else to_spdx)(inventory, findings)
    _put(text, output)


def _put(text: str, output: Path | None) -> None:
    if output is None:
        typer.echo(text, nl=False)
        return
    from builder.cli.results import write_page

    write_page(output, text)
    typer.echo(f"wrote {output}", err=True)


def _table(inventory: Inventory, packages: Sequence[Package], form: str, *, unowned: bool) -> list[str]:
    from builder.provenance.document import title_of
    from builder.provenance.tables import class_lines, folder_rows, headline, licence_rows, package_rows
    from builder.provenance.terms import data_notices

    lines = [title_of(inventory), headline(inventory), ""]
    if form == "licences":
        lines += aligned(list(licence_rows(packages)), ("LICENCE", "CLASS", "NUMBER", "PACKAGES"))
    else:
        header = ("KIND", "NAME", "VERSION", "FILES", "CHANGED", "CLASS", "LICENCE")
        lines += aligned(list(package_rows(packages)), header)
    lines += ["", *class_lines(packages, data_notices(inventory))]
    lines += [f"note: {note}" for note in inventory.notes]
    if unowned:
        lines += ["", *aligned(list(folder_rows(inventory)), ("OF NO PACKAGE", "FILES", "BYTES")), ""]
        lines += inventory.unowned
    return lines


def aligned(rows: Sequence[Sequence[str]], header: Sequence[str]) -> list[str]:
    """Return rows in aligned columns, whatever could steer a terminal spelled out, line ends too."""
    from builder.engine.text import printable

    table = [[printable(cell).replace("\n", "\\n").replace("\t", "\\t") for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in table
    ]


def _vulnerability_lines(findings: Sequence[Finding], database: Database | None) -> list[str]:
    if database is None:
        return []
    from builder.provenance.tables import finding_rows, vulnerability_line

    header = ("SEVERITY", "ID", "PACKAGE", "VERSION", "FIXED IN", "WHAT")
    lines = ["", *(aligned(list(finding_rows(findings)), header) if findings else [])]
    lines.append(vulnerability_line(findings, database))
    if database.bad:
        shown = ", ".join(database.bad[:BAD_SHOWN])
        lines.append(f"note: {len(database.bad)} files of the database are no entries: {shown}")
    return lines


def _write(lines: Sequence[str], output: Path | None) -> None:
    from builder.engine.text import printable

    _put("".join(printable(line).replace("\n", "\\n") + "\n" for line in lines), output)


def _judge(
    inventory: Inventory,
    packages: Sequence[Package],
    rules: Sequence[str],
    findings: Sequence[Finding],
    allowed: Sequence[str],
) -> None:
    """Fail where the image has what it must not have.

    Raises:
        PolicyError: naming what, and by which rule.
    """
    from builder.engine.text import printable
    from builder.provenance.terms import broken, data_notices

    lines = broken(rules, packages, data_notices(inventory), findings, allowed)
    if not lines:
        return
    shown = [printable(line).replace("\n", "\\n") for line in lines[:SHOWN]]
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    raise PolicyError(
        "\n  ".join([f"the image has {len(lines)} things that --fail-on forbids", *shown, *more]),
        hint="--allow NAME lets one pass; --kind python --kind wheel --kind source leaves the distribution's out",
    )
