"""Measures one part of a model's own data pipeline, and prints its seconds as one line of JSON.

    dataloader_sample.py SITE CLOCK SECONDS PART [WORKERS]

The dataset is built from the config that the image's jobs name first, on /data/nuscenes and /data/prepared, through
mmdet3d's build_dataset, batches through its build_dataloader with the config's samples_per_gpu. PART is `jpeg` (decode
one picture), `pipeline` (one sample: decode, augment, format), `collate` (one batch of samples that are made already)
or `loader` (one batch, in steady state, with WORKERS processes). SITE is not used.
"""

from __future__ import annotations

import glob
import importlib
import itertools
import json
import os
import random
import re
import sys
from functools import partial
from typing import Any, Callable, Iterator

from sampling import answer, clock_of, figure

JOBS = "/opt/drivebuild/jobs.json"
PICTURES = "/data/nuscenes/samples/CAM_*/*.jpg"
FOR_NPUS = ("mindspeed", "mx_driving", "torch_npu")
SEED = 20240229
SAMPLES, BATCHES, TIMES = 6, 6, 1000
"""Samples that are made by themselves; batches of one figure; how often a small dataset is gone through, at most."""


class AbsentError(Exception):
    """This image has no such pipeline."""


def find_config(jobs: dict[str, Any]) -> tuple[str, str]:
    """Return the folder of the model's jobs, and the config they name first, relative to it."""
    for job in jobs["jobs"].values():
        folder = os.path.join(jobs["workspace"], job["directory"])
        words = [word for text in job["command"] for word in re.split(r"[\s'\"(),;=]+", text)]
        for word in words:
            known = word.endswith(".py") and re.search(r"(^|/)configs?/", word)
            if known and os.path.isfile(os.path.join(folder, word)):
                return folder, word
    raise AbsentError("no job of this image names a config for mmdet3d")


def build() -> tuple[Any, int]:
    """Return the model's training dataset, and how many of its samples are a batch."""
    try:
        with open(JOBS, encoding="utf-8") as file:
            folder, path = find_config(json.load(file))
        from mmcv import Config
        from mmdet3d.datasets import build_dataset
    except (ImportError, OSError) as error:
        raise AbsentError(str(error)) from error
    os.chdir(folder)
    sys.path.insert(0, folder)
    config = Config.fromfile(path)
    if not config.get("data"):
        raise AbsentError("%s describes no dataset for mmdet3d" % path)
    missing = fill_registries(config, path)
    try:
        return build_dataset(config.data.train), config.data.samples_per_gpu
    except (KeyError, ImportError) as error:
        raise RuntimeError("%s%s" % (error, missing and "; not imported: " + missing)) from error


def fill_registries(config: Any, path: str) -> str:
    """Import the config's plugin; return what it wanted and this image lacks: models of NPUs, behind the datasets."""
    if not config.get("plugin"):
        return ""
    try:
        importlib.import_module(os.path.dirname(config.get("plugin_dir", path)).replace("/", "."))
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in FOR_NPUS:
            raise
        return str(error.name)
    return ""


def seed() -> None:
    """Let augmentation draw the same figures in every process."""
    import numpy
    import torch

    random.seed(SEED)
    numpy.random.seed(SEED)
    torch.manual_seed(SEED)


def tensors(value: Any) -> Iterator[Any]:
    """Yield all tensors of a sample or a batch, those in mmcv's containers, too."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(map(tensors, value.values()))
    elif isinstance(value, (list, tuple)):
        yield from itertools.chain.from_iterable(map(tensors, value))
    elif type(value).__name__ == "DataContainer":
        yield from tensors(value.data)


def check(value: Any, like: Any = None) -> None:
    """Raise AssertionError unless all tensors are finite, and the largest is varied and shaped as another's."""
    import torch

    found = [tensor for tensor in tensors(value) if tensor.numel()]
    if not found:
        raise AssertionError("no tensors in it")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in found if tensor.is_floating_point()):
        raise AssertionError("not finite")
    largest = max(found, key=torch.Tensor.numel)
    if float(largest.double().std()) == 0:
        raise AssertionError("the pictures are of one colour")
    if like is not None and largest.shape != max(tensors(like), key=torch.Tensor.numel).shape:
        raise AssertionError("batches of different shapes")


def jpeg(clock: Callable[[], float]) -> float:
    """Return the seconds of decoding one picture."""
    import mmcv

    paths = sorted(glob.glob(PICTURES))[: 2 * SAMPLES]
    if not paths:
        raise RuntimeError("no pictures in %s" % PICTURES)

    def call() -> list[Any]:
        return [mmcv.imread(path, "unchanged") for path in paths]

    if any(picture is None or picture.shape[2] != 3 or not picture.std() for picture in call()):
        raise AssertionError("a picture that is none")
    return float(figure(call, clock)) / len(paths)


def pipeline(clock: Callable[[], float], dataset: Any) -> float:
    """Return the seconds of making one sample."""
    count = min(SAMPLES, len(dataset))

    def call() -> list[Any]:
        seed()
        return [dataset[number] for number in range(count)]

    for sample in call():
        check(sample)
    return float(figure(call, clock)) / count


def collate(clock: Callable[[], float], dataset: Any, size: int) -> float:
    """Return the seconds of making one batch of samples that are there."""
    from mmcv.parallel import collate as call

    seed()
    samples = [dataset[number % len(dataset)] for number in range(size)]
    check(call(samples, samples_per_gpu=size))
    return float(figure(lambda: call(samples, samples_per_gpu=size), clock))


def loader(clock: Callable[[], float], dataset: Any, size: int, workers: int) -> float:
    """Return the seconds of one batch while as many are begun as are taken: start and end of an epoch do not count."""
    from mmdet.datasets import RepeatDataset
    from mmdet3d.datasets import build_dataloader

    # Workers want their first batches, two each, and whole rounds of the workers are measured.
    warm, count = 2 * max(1, workers), BATCHES if workers == 0 else BATCHES * workers
    times = min(TIMES, -(-(warm + count + 4 * workers) * size // len(dataset)) + 1)
    seed()
    made = build_dataloader(
        RepeatDataset(dataset, times), size, workers, num_gpus=1, dist=False, shuffle=False, seed=SEED
    )
    batches = iter(made)
    first = next(batches)
    check(first)
    for _ in range(warm - 1):
        check(next(batches), first)
    start = clock()
    for _ in range(count - 1):
        next(batches)
    last = next(batches)
    seconds = clock() - start
    check(last, first)
    return seconds / count


def measure(clock: str, part: str, workers: int) -> dict[str, Any]:
    """Return the figure, or why there is none."""
    try:
        import cv2
        import torch

        torch.set_num_threads(1)
        # As mmdet's setup_multi_processes has it, so that no picture is decoded by threads nobody counts.
        cv2.setNumThreads(0)
        time, name = clock_of(clock), part if part != "loader" else "loader-%d" % workers
        if part == "jpeg":
            seconds = jpeg(time)
        else:
            dataset, size = build()
            if part == "loader":
                seconds = loader(time, dataset, size, workers)
            else:
                seconds = collate(time, dataset, size) if part == "collate" else pipeline(time, dataset)
    except (AbsentError, ImportError) as error:
        return {"error": str(error), "absent": True}
    return {"values": {name: seconds}, "version": "%s, torch %s" % (sys.version.split()[0], torch.__version__)}


if __name__ == "__main__":
    answer(partial(measure, sys.argv[2], sys.argv[4], int((*sys.argv[5:], "0")[0])), int(sys.argv[3]))
