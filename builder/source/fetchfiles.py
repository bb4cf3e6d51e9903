"""The part of `fetch` that downloads files: behind URLs that recipes name, and behind those that the index knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from builder.plan.needs import FileNeed, Need, PackageNeed, WeightNeed
from builder.source.download import Download, download
from builder.source.index import Located, locate
from builder.source.parallel import run_all
from builder.source.web import Web
from builder.source.work import Work, environment_of

if TYPE_CHECKING:
    from builder.source.network import Network
    from builder.source.runs import Stop, Tell
    from builder.source.store import Entry

__all__ = ["fetch_files"]


def _located(needs: Sequence[PackageNeed], work: Work) -> Located:
    environment = environment_of(work.network)
    if work.network.index:
        environment["UV_DEFAULT_INDEX"] = work.network.index
    return locate(needs, lambda argv: work.runner.run(argv, env=environment))


def fetch_files(todo: Sequence[Need], work: Work, jobs: int) -> None:
    """Download what a URL is known of, and what the index knows a URL of."""
    packages = [need for need in todo if isinstance(need, PackageNeed)]
    wanted = [
        (need.title, _download_of(need), work.network) for need in todo if isinstance(need, FileNeed | WeightNeed)
    ]
    if packages:
        # Where the index says that a file is, it may be asked for, whatever holds for the recipes' own addresses.
        known = replace(work.network, upstream=True)
        found = _located(packages, work)
        _fail_packages([need for need in packages if need.sha256 not in found.files], found, work)
        for need in packages:
            if one := found.files.get(need.sha256):
                item = Download(key=need.key, url=one.url, sha256=one.sha256, file=need.file or one.name)
                wanted.append((need.title, item, known))
    if wanted:
        _download(wanted, work, jobs)


def _fail_packages(needs: Sequence[PackageNeed], found: Located, work: Work) -> None:
    """Say each reason once: an index that does not answer is one failure, not one of each package."""
    reasons: dict[str, list[PackageNeed]] = {}
    for need in needs:
        reasons.setdefault(found.failures[need.sha256], []).append(need)
    for why, group in reasons.items():
        names = ", ".join(need.title for need in group[:3])
        more = f" and {len(group) - 3} more" if len(group) > 3 else ""
        work.fail(group[0].title, f"{names}{more}: {why}")


def _download_of(need: FileNeed | WeightNeed) -> Download:
    referer = need.referer if isinstance(need, FileNeed) else ""
    return Download(key=need.key, url=need.url, sha256=need.sha256, file=need.file, referer=referer)


def _download(wanted: Sequence[tuple[str, Download, Network]], work: Work, jobs: int) -> None:
    web = Web(work.network, at_once=jobs)

    def task(name: str, item: Download, network: Network) -> Callable[[Stop], None]:
        def run(stop: Stop) -> None:
            def action(tell: Tell) -> list[tuple[str, Entry]]:
                found = download(item, work.store, network, web=web, tell=tell, stop=work.either(stop))
                return [(item.key, found)]

            work.attempt(name, action)

        return run

    # The large ones first would be better still, but the index does not tell sizes.
    run_all([task(*one) for one in wanted], at_once=jobs)
