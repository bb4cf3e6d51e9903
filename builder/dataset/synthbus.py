"""CAN bus messages of a synthetic scene, with the keys that the real ones have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from builder.dataset.synthworld import yaw

__all__ = ["bus_messages"]


def bus_messages(
    pose: Callable[[int], tuple[list[float], float]], start: int, end: int, step: int
) -> dict[str, list[Any] | dict[str, Any]]:
    """Return the content of each message file of a scene by its name; times are in microseconds.

    Order of keys matters in `pose`: a converter puts the values behind one another as they come.
    """
    times = range(start - step, end + step, step)
    poses = [
        {
            "accel": [0.02, -0.01, 9.79],
            "orientation": list(yaw(pose(time)[1])),
            "pos": pose(time)[0],
            "rotation_rate": [0.0, 0.0, 0.001],
            "utime": time,
            "vel": [4.3, 0.0, 0.0],
        }
        for time in times
    ]
    renamed = {"accel": "linear_accel", "orientation": "q", "rotation_rate": "rotation_rate", "utime": "utime"}
    imu = [{new: row[old] for old, new in renamed.items()} for row in poses]
    messages: dict[str, list[Any] | dict[str, Any]] = {
        "ms_imu": imu,
        "pose": poses,
        "steeranglefeedback": [{"utime": time, "value": 0.01} for time in times],
        "vehicle_monitor": [_monitor(time) for time in times[::25]],
        "zoe_veh_info": [_wheels(time) for time in times],
        "zoesensors": [
            {"brake_sensor": 0.17, "steering_sensor": 0.31, "throttle_sensor": 0.2, "utime": time} for time in times
        ],
        "route": [pose(time)[0][:2] for time in times],
    }
    meta = {name: {"message_count": len(rows)} for name, rows in messages.items()}
    return {**messages, "meta": meta}


def _monitor(time: int) -> dict[str, float]:
    return {
        "available_distance": 120,
        "battery_level": 80,
        "brake": 0,
        "brake_switch": 1,
        "gear_position": 7,
        "left_signal": 0,
        "rear_left_rpm": 130.0,
        "rear_right_rpm": 130.0,
        "right_signal": 0,
        "steering": 0.6,
        "steering_speed": 0.0,
        "throttle": 20,
        "utime": time,
        "vehicle_speed": 15.5,
        "yaw_rate": 0.1,
    }


def _wheels(time: int) -> dict[str, float]:
    wheels = {f"{corner}_wheel_speed": 130.0 for corner in ("FL", "FR", "RL", "RR")}
    sides = {"left_solar": 90.0, "right_solar": 90.0, "meanEffTorque": 400.0}
    return {
        **wheels,
        **sides,
        "longitudinal_accel": 0.1,
        "odom": 1000.0,
        "odom_speed": 15.5,
        "pedal_cc": 0.0,
        "regen": 0.0,
        "requestedTorqueAfterProc": 400.0,
        "steer_corrected": 0.5,
        "steer_offset_can": 0.1,
        "steer_raw": 0.4,
        "transversal_accel": 0.0,
        "utime": time,
    }
