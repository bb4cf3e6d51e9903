"""A plan as Mermaid and DOT. Pure."""

from __future__ import annotations

from builder.plan.stage import Plan

__all__ = ["edges", "to_dot", "to_mermaid"]


def edges(plan: Plan) -> list[tuple[str, str]]:
    """Return (what is needed, what needs it) for each pair of stages."""
    return [(need, stage.name) for stage in plan.stages for need in plan.needs(stage.name)]


def to_mermaid(plan: Plan) -> str:
    """Return a Mermaid flow chart; arrows go from what is needed to what needs it."""
    # Mermaid takes no dots or dashes in an identifier, so stages are numbered and labelled.
    number = {name: f"s{index}" for index, name in enumerate(plan.names)}
    lines = ["flowchart LR"]
    for stage in plan.stages:
        left, right = ("([", "])") if stage.template.startswith("source-") else ("[", "]")
        lines.append(f'  {number[stage.name]}{left}"{stage.name}"{right}')
    lines += [f"  {number[need]} --> {number[name]}" for need, name in edges(plan)]
    return "\n".join(lines)


def to_dot(plan: Plan) -> str:
    """Return a Graphviz digraph; arrows go from what is needed to what needs it."""
    lines = [f'digraph "{plan.tag}" {{', "  rankdir=LR;", "  node [shape=box];"]
    lines += [f'  "{stage.name}" [shape=ellipse];' for stage in plan.stages if stage.template.startswith("source-")]
    lines += [f'  "{need}" -> "{name}";' for need, name in edges(plan)]
    return "\n".join([*lines, "}"])
