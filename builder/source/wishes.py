"""What `doctor --network` asks: from what plans need to the addresses that could serve it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from builder.plan.needs import (
    DebianNeed,
    FileNeed,
    GitNeed,
    ImageNeed,
    Need,
    PackageNeed,
    SystemNeed,
    WeightNeed,
)
from builder.plan.suites import SUITES
from builder.recipe.types import System
from builder.source.network import Network, host_of, registry_of

__all__ = ["KEYS", "Answer", "Kind", "Question", "Row", "Sites", "Wish", "rows", "wishes"]

Kind = Literal["git", "file", "index", "packages", "registry", "weights"]
State = Literal["ok", "warn", "FAIL"]

KEYS: Mapping[Kind, str] = {
    "git": "mirrors",
    "file": "mirrors",
    "index": "index",
    "packages": "distribution",
    "registry": "registries",
    "weights": "mirrors",
}
"""The key of the configuration that helps where a kind of host does not answer."""
INDEX = "package index"
DEFAULT_PACKAGES = "distribution's default"
_SMALL = ("six", "idna", "toml", "zipp", "packaging", "attrs")
"""Packages without weight and with a wheel: what the index says of one takes milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One address, and how it is asked."""

    kind: Kind
    host: str
    address: str
    referer: str = ""
    eula: bool = False
    python: str = ""
    """For the index: the Python that the package is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a question. `good` is None where it was not asked, and `text` says why."""

    good: bool | None
    text: str
    ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One thing that is needed, and the questions of which one must be answered well."""

    name: str
    questions: tuple[Question, ...]
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: a host in one role."""

    state: State
    host: str
    kind: Kind
    names: tuple[str, ...]
    answer: str
    ms: int


class Sites(Protocol):
    """One model on one platform, as far as it concerns the network."""

    @property
    def needs(self) -> tuple[Need, ...]: ...
    @property
    def system(self) -> System: ...
    @property
    def architecture(self) -> str: ...


def wishes(sites: Iterable[Sites], network: Network) -> tuple[Wish, ...]:
    """Return what all these sites need, each thing once."""
    found: dict[Wish, None] = {}
    packages: dict[PackageNeed, None] = {}
    for site in sites:
        for need in site.needs:
            if isinstance(need, PackageNeed):
                packages[need] = None
                continue
            found.update(dict.fromkeys(_wishes(need, network, site.system)))
        if not any(isinstance(need, SystemNeed) for need in site.needs):
            found[_image_packages(site, network)] = None
    if packages:
        found[_index_wish(packages, network)] = None
    return tuple(found)


def _wishes(need: Need, network: Network, system: System) -> Iterator[Wish]:
    match need:
        case GitNeed(name=name, url=url):
            yield _url_wish("git", name, url, network)
        case FileNeed(name=name, url=url, referer=referer, eula=eula):
            yield _url_wish("file", name, url, network, referer=referer, eula=eula is not None)
        case WeightNeed(file=file, url=url):
            yield _url_wish("weights", file, url, network)
        case ImageNeed(image=image, bootstrap=bootstrap):
            yield _suite_wish(bootstrap.suite, system, network) if bootstrap else _registry_wish(image, network)
        case PackageNeed():
            # One question for all of them: the index has them or it does not.
            return
        case SystemNeed(suite=suite) | DebianNeed(suite=suite):
            yield _suite_wish(suite, system, network)


def _url_wish(kind: Kind, name: str, url: str, network: Network, *, referer: str = "", eula: bool = False) -> Wish:
    # A repository on disk has two spellings, which are one place.
    places = {
        address.removesuffix(".git") if address.startswith("file:") else address: address
        for address in network.candidates(url)
    }
    questions = tuple(
        Question(kind=kind, host=host_of(address) or "this machine", address=address, referer=referer, eula=eula)
        for address in places.values()
    )
    # Nobody may be asked: the table says so in the place of the host that has it.
    questions = questions or (Question(kind=kind, host=host_of(url), address=""),)
    return Wish(name=name, questions=questions, required=kind != "weights")


def _registry_wish(image: str, network: Network) -> Wish:
    wanted = network.registry(image)
    question = Question(kind="registry", host=registry_of(wanted), address=wanted)
    return Wish(name=image.rpartition("/")[2], questions=(question,))


def _suite_wish(suite: str, system: System, network: Network) -> Wish:
    mirror = network.mirror_of(system.name)
    host = host_of(mirror) if mirror else DEFAULT_PACKAGES
    address = f"{mirror.rstrip('/')}/dists/{suite}/InRelease" if mirror else suite
    return Wish(name=f"packages of {suite}", questions=(Question(kind="packages", host=host, address=address),))


def _image_packages(site: Sites, network: Network) -> Wish:
    """The packages that stages install upon a published image: only a mirror's address is known outside of it."""
    system, mirror = site.system, network.mirror_of(site.system.name).rstrip("/")
    host = host_of(mirror) if mirror else f"those of {system.name}'s image"
    suite = SUITES.get(system.name, "")
    file = f"OS/{site.architecture}/repodata/repomd.xml" if system.manager == "dnf" else f"dists/{suite}/InRelease"
    address = f"{mirror}/{file}" if mirror else ""
    name = f"packages of {system.name}"
    return Wish(name=name, questions=(Question(kind="packages", host=host, address=address),), required=bool(mirror))


def _index_wish(packages: Iterable[PackageNeed], network: Network) -> Wish:
    """Ask for the smallest package of the locks; which one it is makes no difference to the answer."""

    def weight(need: PackageNeed) -> tuple[int, str, str]:
        return (_SMALL.index(need.name) if need.name in _SMALL else len(_SMALL), need.name, need.version)

    chosen = min(packages, key=weight)
    host = host_of(network.index) or INDEX
    question = Question(kind="index", host=host, address=f"{chosen.name}=={chosen.version}", python=chosen.python)
    return Wish(name="Python packages", questions=(question,))


def rows(wanted: Iterable[Wish], answers: Mapping[Question, Answer]) -> tuple[Row, ...]:
    """Return a line for each host and role: FAIL where nobody else serves what it did not, else a warning."""
    groups: dict[tuple[str, Kind], dict[Question, list[Wish]]] = {}
    for wish in wanted:
        for question in wish.questions:
            groups.setdefault((question.host, question.kind), {}).setdefault(question, []).append(wish)
    found = [_row(host, kind, asked, answers) for (host, kind), asked in groups.items()]
    return tuple(sorted(found, key=lambda row: (row.state != "FAIL", row.state != "warn", row.host, row.kind)))


def _row(host: str, kind: Kind, asked: Mapping[Question, list[Wish]], answers: Mapping[Question, Answer]) -> Row:
    bad = [question for question in asked if answers[question].good is False]
    lost = [q for q in bad if any(wish.required and not _served(wish, answers) for wish in asked[q])]
    unknown = all(answers[question].good is None for question in asked)
    state: State = "FAIL" if lost else "warn" if bad or unknown else "ok"
    # What is worst is shown, and who must go without it.
    shown = lost or bad or list(asked)
    wanted = dict.fromkeys(wish for question in shown for wish in asked[question])
    text = "; ".join(dict.fromkeys(answers[question].text for question in shown))
    return Row(
        state=state,
        host=host,
        kind=kind,
        names=tuple(dict.fromkeys(wish.name for wish in wanted)),
        answer=f"{len(shown)} of {len(asked)}: {text}" if len(shown) < len(asked) else text,
        ms=max(answers[question].ms for question in shown),
    )


def _served(wish: Wish, answers: Mapping[Question, Answer]) -> bool:
    return any(answers[question].good is not False for question in wish.questions)
