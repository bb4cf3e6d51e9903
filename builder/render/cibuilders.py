"""Builders elsewhere that CI's jobs build on, as a site's configuration names them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from builder.recipe.types import Architecture, Noun

__all__ = ["Ci", "CiBuilder", "KubernetesBuilder", "RemoteBuilder", "builder_lines"]

# None has a blank, a quote or a dollar: they are words of a line that a script reads, and of a workflow.
Endpoint = Annotated[
    str,
    Meta(
        pattern=r"^(tcp://([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\]):[0-9]{1,5}|unix:///[A-Za-z0-9._/-]+)\Z",
        max_length=300,
        description="where buildkitd listens: tcp://HOST:PORT, or unix:///PATH on the runner",
    ),
]
HostName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*\Z", max_length=255, description="the name in a certificate")
]
OptionName = Annotated[
    str,
    Meta(pattern=r"^[a-z][a-z0-9.-]*\Z", max_length=60, description="a --driver-opt of the Kubernetes driver"),
]
OptionValue = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9._/:=,;@+-]+\Z",
        max_length=500,
        description="the option's value, as text: no blanks, no quotes",
    ),
]
RepositoryPath = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*\Z",
        max_length=300,
        description="a file of the repository",
    ),
]


class RemoteBuilder(Noun, frozen=True, kw_only=True, tag_field="driver", tag="remote"):
    """A buildkitd that listens; over TCP it and its client know each other by certificates."""

    endpoint: Endpoint
    servername: HostName | None = None
    """The name in its certificate, where it is another than the host's."""


class KubernetesBuilder(Noun, frozen=True, kw_only=True, tag_field="driver", tag="kubernetes"):
    """Pods that buildx starts, and finds again: a Deployment for each architecture, whose cache outlives a job."""

    options: Mapping[OptionName, OptionValue] = msgspec.field(default_factory=dict)
    config: RepositoryPath | None = None
    """Their buildkitd.toml."""


CiBuilder = RemoteBuilder | KubernetesBuilder


class Ci(Noun, frozen=True, kw_only=True):
    """What CI's rendered jobs do otherwise than by default."""

    builders: Mapping[Architecture, CiBuilder] = msgspec.field(default_factory=dict)
    """Where jobs of an architecture build; without one on the runner's own engine."""


def builder_lines(builders: Mapping[Architecture, CiBuilder]) -> tuple[str, ...]:
    """Return a line for each architecture, as templates/ci/builder.sh reads it: machine, driver, place, options."""
    return tuple(f"{name} {_words(builder)}" for name, builder in sorted(builders.items()))


def _words(builder: CiBuilder) -> str:
    if isinstance(builder, RemoteBuilder):
        named = [f"servername={builder.servername}"] if builder.servername else []
        return " ".join(("remote", builder.endpoint, *named))
    options = (f"{key}={value}" for key, value in sorted(builder.options.items()))
    return " ".join(("kubernetes", builder.config or "-", *options))
