"""`sign`: a signature, and a signed SBOM, for an image in a registry, through cosign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli.main import Settings, app
from builder.errors import UsageError

if TYPE_CHECKING:
    from builder.engine.process import Runner
    from builder.engine.sign import Signing


@app.command()
def sign(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME@DIGEST", help="An image in a registry, by its digest.")],
    key: Annotated[
        str,
        typer.Option("--key", metavar="KEY", help="A key: a file, or cosign's word for a key service; none: keyless."),
    ] = "",
    sbom: Annotated[
        Path | None,
        typer.Option("--sbom", metavar="FILE", help="Attest this SBOM, too; it must be of this very image."),
    ] = None,
    no_log: Annotated[bool, typer.Option("--no-log", help="Without a transparency log, which is public.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Look at signature and SBOM instead of writing them.")
    ] = False,
    identity: Annotated[
        str,
        typer.Option("--identity", metavar="WHO", help="With --verify, without a key: whose signature it is to be."),
    ] = "",
    issuer: Annotated[str, typer.Option("--issuer", metavar="URL", help="And who vouches for that.")] = "",
    ca_bundle: Annotated[
        Path | None, typer.Option("--ca-bundle", metavar="FILE", help="Certificates that the registry's is signed by.")
    ] = None,
) -> None:
    """Sign an image in a registry with cosign, which must be installed; with --sbom its SBOM as an attestation, too."""
    settings: Settings = context.obj
    from builder.engine.process import SystemRunner
    from builder.engine.sign import Signing, digest_of

    if verify and not key and not (identity and issuer):
        raise UsageError("--verify: with whose key?", hint="--key FILE, or --identity WHO --issuer URL")
    if not verify and (identity or issuer):
        raise UsageError("--identity and --issuer are words about --verify")
    configured = settings.network().ca_bundle
    ca = ca_bundle or (Path(configured) if configured else None)
    signing = Signing(place=digest_of(name), key=key, log=not no_log, ca=ca, identity=identity, issuer=issuer)
    runner = SystemRunner()
    if verify:
        _verify(signing, sbom, runner)
    else:
        _sign(signing, sbom, runner)


def _sign(signing: Signing, sbom: Path | None, runner: Runner) -> None:
    from builder.engine.manifests import Tools
    from builder.engine.sign import attest_command, check_sbom, read_sbom, run_cosign, sign_command

    kind = ""
    if sbom is not None:
        kind, about = read_sbom(sbom)
        check_sbom(signing.place, about, Tools(runner=runner))
    run_cosign(sign_command(signing), runner, signing.place.host)
    typer.echo(f"signed    {signing.place}")
    if sbom is not None:
        run_cosign(attest_command(signing, sbom, kind), runner, signing.place.host)
        typer.echo(f"attested  {sbom}, as {kind}")


def _verify(signing: Signing, sbom: Path | None, runner: Runner) -> None:
    from builder.engine.sign import read_sbom, run_cosign, verify_commands

    kind = read_sbom(sbom)[0] if sbom is not None else ""
    for command in verify_commands(signing, kind):
        said = run_cosign(command, runner, signing.place.host)
        if command[1] == "verify-attestation" and sbom is not None:
            from builder.engine.sign import same_statement

            same_statement(said, sbom)
        typer.echo(f"{command[1]}: {signing.place} is good")
