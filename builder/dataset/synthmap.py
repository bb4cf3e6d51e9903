"""A map of the expansion, version 1.3, with every layer that the devkit's NuScenesMap reads: one straight road."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CANVAS", "HEADING", "START", "make_map", "on_road"]

CANVAS = {
    "boston-seaport": (2979.5, 2118.1),
    "singapore-hollandvillage": (2808.3, 2922.9),
    "singapore-onenorth": (1585.6, 2025.0),
    "singapore-queenstown": (3228.6, 3687.1),
}
"""Width and height of each map in metres, as the map expansion has them."""
START = (611.7, 903.3)
"""Where the road's axis begins, in metres of the map."""
HEADING = 0.31
"""Direction of the road in radians: no edge is parallel to an axis."""
LENGTH = 400.0
_LANE = 3.6


def on_road(along: float, left: float) -> tuple[float, float]:
    """Return the place `along` metres down the road and `left` metres from its axis, in metres of the map."""
    cos, sin = math.cos(HEADING), math.sin(HEADING)
    return START[0] + along * cos - left * sin, START[1] + along * sin + left * cos


@dataclass
class _Layers:
    token: Callable[[str], str]
    layers: dict[str, Any] = field(default_factory=dict)

    def add(self, layer: str, **record: Any) -> str:
        rows = self.layers.setdefault(layer, [])
        token = self.token(f"{layer}/{len(rows)}")
        rows.append({"token": token, **record})
        return token

    def node(self, along: float, left: float) -> str:
        x, y = on_road(along, left)
        return self.add("node", x=x, y=y)

    def line(self, points: Iterable[tuple[float, float]]) -> str:
        return self.add("line", node_tokens=[self.node(*point) for point in points])

    def polygon(self, start: float, end: float, right: float, left: float) -> str:
        corners = ((start, right), (end, right), (end, left), (start, left))
        return self.add("polygon", exterior_node_tokens=[self.node(*corner) for corner in corners], holes=[])


def make_map(location: str, token: Callable[[str], str]) -> dict[str, Any]:
    """Return the map of one location; `token` gives a token for a text, always the same for the same."""
    made = _Layers(token)
    wide = 2 * _LANE
    area = made.add("drivable_area", polygon_tokens=[made.polygon(0, LENGTH, -wide, wide)])
    segments = [_segment(made, area, start, wide) for start in (0.0, LENGTH / 2)]
    made.add("walkway", polygon_token=made.polygon(0, LENGTH, wide + 1.1, wide + 3.2))
    made.add("walkway", polygon_token=made.polygon(0, LENGTH, -wide - 3.3, -wide - 1.2))
    lanes = [_lane(made, index) for index in range(4)]
    _crossings(made, segments)
    connectivity: dict[str, dict[str, list[str]]] = {lane: {"incoming": [], "outgoing": []} for lane in lanes}
    arcs = {lane: [_arc(index)] for index, lane in enumerate(lanes)}
    empty: dict[str, Any] = {"lane_connector": []}
    rest = {"arcline_path_3": arcs, "connectivity": connectivity, "version": "1.3", "canvas_edge": CANVAS[location]}
    return {**empty, **made.layers, **rest}


def _segment(made: _Layers, area: str, start: float, wide: float) -> tuple[str, str]:
    end = start + LENGTH / 2
    polygon = made.polygon(start, end, -wide, wide)
    segment = made.add("road_segment", polygon_token=polygon, is_intersection=False, drivable_area_token=area)
    block = made.add(
        "road_block",
        polygon_token=made.polygon(start, end, -wide, 0),
        from_edge_line_token=made.line([(start, -wide), (start, 0)]),
        to_edge_line_token=made.line([(end, -wide), (end, 0)]),
        road_segment_token=segment,
    )
    axis = [(start + step, 0.01 * (step % 3)) for step in range(0, int(LENGTH / 2) + 1, 20)]
    made.add("road_divider", line_token=made.line(axis), road_segment_token=segment)
    return segment, block


def _lane(made: _Layers, index: int) -> str:
    right = (index - 2) * _LANE
    left = right + _LANE
    points = [(float(along), left) for along in range(0, int(LENGTH) + 1, 25)]
    divider = made.line(points)
    kinds = [
        {"node_token": node, "segment_type": "DOUBLE_DASHED_WHITE"} for node in made.layers["line"][-1]["node_tokens"]
    ]
    if index in (0, 2):
        made.add("lane_divider", line_token=divider, lane_divider_segments=kinds)
    return made.add(
        "lane",
        polygon_token=made.polygon(0, LENGTH, right, left),
        lane_type="CAR",
        from_edge_line_token=made.line([(0, right), (0, left)]),
        to_edge_line_token=made.line([(LENGTH, right), (LENGTH, left)]),
        left_lane_divider_segments=kinds,
        right_lane_divider_segments=[],
    )


def _arc(index: int) -> dict[str, Any]:
    middle = (index - 1.5) * _LANE
    start, end = (*on_road(0, middle), HEADING), (*on_road(LENGTH, middle), HEADING)
    return {
        "start_pose": start,
        "end_pose": end,
        "shape": "LSL",
        "radius": 999.999,
        "segment_length": [0.0, LENGTH, 0.0],
    }


def _crossings(made: _Layers, segments: list[tuple[str, str]]) -> None:
    wide = 2 * _LANE
    segment, block = segments[0]
    for along in (43.7, 91.3, 139.1):
        crossing = made.add(
            "ped_crossing", polygon_token=made.polygon(along, along + 4.2, -wide, wide), road_segment_token=segment
        )
        made.add(
            "stop_line",
            polygon_token=made.polygon(along - 1.6, along - 0.9, -wide, 0),
            stop_line_type="PED_CROSSING",
            ped_crossing_tokens=[crossing],
            traffic_light_tokens=[],
            road_block_token=block,
        )
    place = made.polygon(60, 72, -wide - 9.5, -wide - 3.9)
    made.add("carpark_area", polygon_token=place, orientation=HEADING, road_block_token=block)
    x, y = on_road(40.1, wide + 1.4)
    made.add(
        "traffic_light",
        line_token=made.line([(40.1, wide + 1.4), (40.6, wide + 1.4)]),
        traffic_light_type="VERTICAL",
        from_road_block_token=block,
        items=[_light(colour) for colour in ("RED", "YELLOW", "GREEN")],
        pose=_pose(x, y, 0),
    )


def _light(colour: str) -> dict[str, Any]:
    return {"color": colour, "shape": "CIRCLE", "rel_pos": _pose(0, 0, 0), "to_road_block_tokens": []}


def _pose(x: float, y: float, z: float) -> dict[str, float]:
    return {"tx": x, "ty": y, "tz": z, "rx": 0.0, "ry": 0.0, "rz": 0.0}
