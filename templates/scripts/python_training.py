"""What the optimised interpreter is trained with, besides CPython's own tests: the work of a training's data pipeline.

    python python_training.py [ROUNDS]

CPython's tests visit every corner once; a profile of them alone tells the compiler that floats, parsers and long loops
are rare. Here are the things that the models' Python does between two steps on a device: tables of a dataset as JSON
and pickles, boxes and poses in plain floats, annotations in XML, configuration, logging, sampling, queues. It prints a
number, which is the same for every interpreter. No program of pyperformance is in here: what it shows must not be what
was trained. Python 3.8 and newer, standard library only; nothing is read but what it makes itself.
"""

import bisect
import collections
import copy
import hashlib
import heapq
import io
import itertools
import json
import logging
import math
import operator
import pickle
import random
import re
import string
import struct
import sys
import xml.etree.ElementTree as ElementTree
import zlib
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache, partial, reduce

CLASSES = ("car", "truck", "bus", "trailer", "pedestrian", "bicycle", "barrier", "traffic_cone")
LINE = re.compile(r"Epoch \[(\d+)\]\[(\d+)/(\d+)\]\s+lr: ([\d.e+-]+), eta: (\S+), time: ([\d.]+), (.*)$")


@dataclass
class Box:
    """One annotated box."""

    centre: tuple
    size: tuple
    yaw: float
    label: str
    points: int = 0
    attributes: dict = field(default_factory=dict)

    @property
    def volume(self):
        """Return the box's volume."""
        return self.size[0] * self.size[1] * self.size[2]

    def corners(self):
        """Return the corners on the ground."""
        cosine, sine = math.cos(self.yaw), math.sin(self.yaw)
        for x, y in ((1, 1), (1, -1), (-1, -1), (-1, 1)):
            dx, dy = x * self.size[0] / 2, y * self.size[1] / 2
            yield self.centre[0] + dx * cosine - dy * sine, self.centre[1] + dx * sine + dy * cosine


class Node:
    """A registry's or a scene's node."""

    __slots__ = ("children", "name", "parent")

    def __init__(self, name, parent=None):
        self.name, self.parent, self.children = name, parent, []
        if parent is not None:
            parent.children.append(self)

    def walk(self):
        yield self
        for child in self.children:
            yield from child.walk()


class Transform:
    """One step of a pipeline."""

    def __init__(self, chance):
        self.chance = chance

    def __call__(self, sample):
        return self.apply(sample) if sample["draw"] < self.chance else sample

    def apply(self, sample):
        raise NotImplementedError


class Flip(Transform):
    """Mirrors the boxes."""

    def apply(self, sample):
        sample["boxes"] = [
            Box((-b.centre[0], *b.centre[1:]), b.size, math.pi - b.yaw, b.label, b.points) for b in sample["boxes"]
        ]
        return sample


class Scale(Transform):
    """Scales the boxes."""

    def apply(self, sample):
        factor = 0.95 + sample["draw"] / 10
        for box in sample["boxes"]:
            box.centre = tuple(value * factor for value in box.centre)
            box.size = tuple([value * factor for value in box.size])
        return sample


class Select(Transform):
    """Keeps boxes with points, within a range."""

    def apply(self, sample):
        kept = (b for b in sample["boxes"] if b.points > 2 and abs(b.centre[0]) < 51.2 and abs(b.centre[1]) < 51.2)
        sample["boxes"] = sorted(kept, key=lambda b: (-b.volume, b.label))
        return sample


def boxes(draw, count):
    return [
        Box(
            (draw.uniform(-60, 60), draw.uniform(-60, 60), draw.gauss(0, 1)),
            (draw.uniform(0.5, 10), draw.uniform(0.5, 3), draw.uniform(0.5, 4)),
            draw.uniform(-math.pi, math.pi),
            draw.choice(CLASSES),
            draw.randrange(50),
        )
        for _ in range(count)
    ]


def pipeline(draw):
    """Objects, methods, attributes, closures."""
    steps, total = (Flip(0.5), Scale(0.9), Select(2.0)), 0.0
    for _ in range(20):
        sample = {"boxes": boxes(draw, 30), "draw": draw.random()}
        for step in steps:
            sample = step(sample)
        total += sum(x * y for box in sample["boxes"] for x, y in box.corners())
        copied = copy.deepcopy(sample)
        total += len(copied["boxes"])
    return total


def multiply(a, b):
    return [[sum(x * y for x, y in zip(row, column)) for column in zip(*b)] for row in a]


def poses(draw):
    """Floats in lists and locals: rotations, matrices, a recursive filter, a grid."""
    total, w, x, y, z = 0.0, 1.0, 0.0, 0.0, 0.0
    for step in range(3000):
        half = 0.001 * (step % 7)
        c, s = math.cos(half), math.sin(half)
        w, x, y, z = w * c - z * s, x * c + y * s, y * c - x * s, z * c + w * s
        norm = (w * w + x * x + y * y + z * z) ** 0.5
        w, x, y, z = w / norm, x / norm, y / norm, z / norm
        total += 2.0 * (w * z + x * y)
    points = [[draw.random() for _ in range(4)] for _ in range(60)]
    pose = [[draw.random() - 0.5 for _ in range(4)] for _ in range(4)]
    for _ in range(6):
        points = multiply(points, pose)
    state, velocity = [0.0] * 50, [0.0] * 50
    for _ in range(60):
        for i in range(1, 49):
            velocity[i] += 0.1 * (state[i - 1] - 2.0 * state[i] + state[i + 1]) - 0.01 * velocity[i]
        state = [a + 0.1 * b for a, b in zip(state, velocity)]
        state[25] += 1.0
    grid = [[0] * 64 for _ in range(64)]
    for point in points:
        grid[int(abs(point[0]) * 1e3) % 64][int(abs(point[1]) * 1e3) % 64] += 1
    return total + sum(map(sum, grid)) + round(sum(state), 6)


def tables(draw):
    """A dataset's tables: JSON, pickles, indices, tokens."""
    rows = [
        {
            "token": hashlib.md5(b"%d" % number).hexdigest(),
            "timestamp": 1532402927000000 + 50000 * number,
            "translation": [draw.uniform(0, 2000) for _ in range(3)],
            "rotation": [draw.random() for _ in range(4)],
            "is_key_frame": number % 10 == 0,
            "filename": 'samples/CAM_FRONT/n015-%d__\u767d__"%s".jpg' % (number, draw.choice(CLASSES)),
            "prev": None,
            "attributes": dict.fromkeys(CLASSES[:3], number % 3),
        }
        for number in range(150)
    ]
    text = json.dumps(rows)
    again = json.loads(text)
    index = {row["token"]: row for row in again}
    by_label = collections.defaultdict(list)
    for row in index.values():
        by_label[row["filename"].rpartition("__")[2]].append(row)
    total = len(text) + sum(index[row["token"]]["timestamp"] % 1000 for row in rows)
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        total += len(pickle.loads(pickle.dumps({"infos": rows, "boxes": boxes(draw, 20)}, protocol))["infos"])
    json.loads(json.dumps(rows[:10], indent=1, sort_keys=True))
    return total + len(zlib.compress(text.encode("utf-8"), 6)) // 1000


def annotations(draw):
    """XML in and out, as maps and label tools write it."""
    root = ElementTree.Element("annotations", version="1.1")
    for number, box in enumerate(boxes(draw, 300)):
        image = ElementTree.SubElement(root, "image", id=str(number), name="frame_%06d.png" % number)
        child = ElementTree.SubElement(
            image, "box", label=box.label, points="%.2f,%.2f;%.2f,%.2f" % (*box.centre[:2], *box.size[:2])
        )
        child.text, child.tail = "occluded & <cut>", "\n"
    data = ElementTree.tostring(root, encoding="utf-8")
    found = ElementTree.fromstring(data)
    total = sum(len(child.get("points")) for child in found.iter("box"))
    for _, element in ElementTree.iterparse(io.BytesIO(data)):
        if element.tag == "image":
            total += len(element.findall("box"))
            element.clear()
    return total


def logs(draw):
    """Logging, formatting, and reading it back with regular expressions."""
    stream = io.StringIO()
    logger = logging.Logger("training")  # noqa: LOG001
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s - %(levelname)s - %(message)s"))
    logger.addHandler(handler)
    for step in range(200):
        losses = {name: draw.random() for name in ("loss", "loss_cls", "loss_bbox", "grad_norm")}
        text = ", ".join(f"{name}: {value:.4f}" for name, value in losses.items())
        logger.info(
            "Epoch [%d][%d/%d]\tlr: %.3e, eta: %s, time: %.3f, %s",
            step // 50 + 1,
            step,
            200,
            2e-4,
            "1:02:03",
            0.6,
            text,
        )
        logger.debug("not shown %s", step)
    total = 0.0
    for line in stream.getvalue().splitlines():
        match = LINE.search(line)
        if match:
            pairs = dict(part.split(": ") for part in match.group(7).split(", "))
            total += float(pairs["loss"]) + int(match.group(2))
    words = re.findall(r"[A-Za-z_]+", stream.getvalue())
    common = collections.Counter(words).most_common(5)
    template = string.Template("$name has $count")
    out = [template.substitute(name=name.upper().center(12), count=count) for name, count in common]
    replaced = re.sub(r"(\d+)\.(\d+)", lambda m: m.group(2) + "." + m.group(1), stream.getvalue())
    return round(total, 4) + len(replaced) + len("".join(out).encode("utf-16").decode("utf-16").title().split("Has"))


def configuration(draw):
    """Nested dictionaries, inheritance, lookups, exceptions, text."""
    base = {
        "model": {"type": "Detector", "backbone": {"depth": 50, "stages": [0, 1, 2]}},
        "lr": 2e-4,
        "steps": [16, 22],
    }

    def merge(into, other):
        for key, value in other.items():
            if isinstance(value, dict) and isinstance(into.get(key), dict):
                merge(into[key], value)
            else:
                into[key] = value
        return into

    def find(tree, path, default=None):
        try:
            for part in path.split("."):
                tree = tree[part]
        except (KeyError, TypeError):
            return default
        return tree

    total, registry = 0, {name: partial(len, name) for name in CLASSES}
    for number in range(150):
        made = merge(
            copy.deepcopy(base),
            {"model": {"backbone": {"depth": number}, "neck": {"a": number}}, "work": "x%d" % number},
        )
        total += find(made, "model.backbone.depth") + find(made, "model.head.loss", 1) + find(made, "lr.x", 2)
        total += registry[CLASSES[number % len(CLASSES)]]()
        total += len(repr(made)) + hash(tuple(sorted(made["model"]["backbone"]["stages"]))) % 7
    root = Node("root")
    nodes = [root]
    for number in range(600):
        nodes.append(Node("node%d" % number, draw.choice(nodes)))
    return total + sum(len(node.name) + (node.parent is root) for node in root.walk())


def sampling(draw):
    """Queues, heaps, sets, sorting, integers, bytes, memoisation, generators."""
    queue, heap, seen, total = collections.deque(), [], set(), 0
    for number in range(3000):
        value = (number * 7919 + 13) % 4096
        heapq.heappush(heap, (value & 255, number))
        queue.append(value)
        if value in seen:
            total += 1
        seen.add(value ^ (number << 2))
        if len(queue) > 64:
            total += queue.popleft() >> 3
        if len(heap) > 100:
            total ^= heapq.heappop(heap)[1]

    @lru_cache(maxsize=None)
    def ways(n, k):
        return 1 if k in (0, n) else ways(n - 1, k - 1) + ways(n - 1, k)

    def batches(items, size):
        iterator = iter(items)
        while True:
            batch = list(itertools.islice(iterator, size))
            if not batch:
                return
            yield batch

    order = list(range(2000))
    draw.shuffle(order)
    total += sum(bisect.bisect(range(0, 2000, 3), item) for item in sorted(order, key=operator.neg)[:500])
    total += sum(reduce(operator.xor, batch) for batch in batches(order, 16))
    total += ways(60, 30) % 1000003
    packed = b"".join(struct.pack("<ffI", item * 0.5, item / 3, item) for item in order[:400])
    total += sum(int(a) + c for a, _, c in struct.iter_unpack("<ffI", packed))
    total += pow(3, 2000, 10**40 + 7) % 997 + len(str(7**900)) + zlib.crc32(packed) % 11
    digits = sum((Decimal(item) / Decimal(7)).quantize(Decimal("0.01")) for item in order[:200])
    text = "".join(map(chr, range(97, 123))) * 20
    counts = {letter: text.count(letter) for letter in text}
    table = str.maketrans("abc", "xyz")
    return total + int(digits) + sum(counts.values()) + len(set(text.translate(table))) + len(bytearray(packed)[::-1])


PARTS = (pipeline, poses, tables, annotations, logs, configuration, sampling)


def main(rounds):
    """Run every part a fixed number of times, so that profiles are the same in every build, and print a sum."""
    total = sum(part(random.Random(number)) for number in range(rounds) for part in PARTS)
    print("trained with %d rounds: %.6f" % (rounds, total))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
