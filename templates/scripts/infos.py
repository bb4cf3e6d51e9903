"""Count what a model's conversion of nuScenes wrote: one info for each key frame of its split, no more and no other.

    python infos.py DATASET FOLDER SPLIT=FILE...

Runs inside the model's image, where its packages are, and where a pickle can do no harm: whoever can write a pickle can
have any code run by who reads it. Prints one JSON object for each file. The splits are those of nuScenes' devkit.
"""

import json
import os
import pickle
import sys


def samples_of(dataset, version):
    """Return the name of the scene of each key frame by its token."""
    tables = {}
    for table in ("scene", "sample"):
        with open(os.path.join(dataset, version, table + ".json")) as file:
            tables[table] = json.load(file)
    names = {scene["token"]: scene["name"] for scene in tables["scene"]}
    return {sample["token"]: names[sample["scene_token"]] for sample in tables["sample"]}


def expected(dataset, split, versions):
    """Return the tokens of a split. As the conversions do: what is not in `train` is `val`."""
    from nuscenes.utils import splits

    if split == "test":
        return set(samples_of(dataset, "v1.0-test"))
    version = "v1.0-mini" if "v1.0-trainval" not in versions else "v1.0-trainval"
    train = set(splits.mini_train if version == "v1.0-mini" else splits.train)
    samples = samples_of(dataset, version)
    return {token for token, scene in samples.items() if (scene in train) == (split == "train")}


def judge(dataset, folder, split, name):
    """Return what is found in one file."""
    found = {"file": name, "split": split, "infos": 0, "wrong": ""}
    try:
        with open(os.path.join(folder, name), "rb") as file:
            infos = pickle.load(file)["infos"]
        tokens = [info["token"] for info in infos]
    except Exception as error:  # noqa: BLE001 - a broken pickle raises anything
        return dict(found, wrong="cannot be read: %s: %s" % (type(error).__name__, str(error)[:200]))
    wanted = expected(dataset, split, os.listdir(dataset))
    found["infos"] = len(tokens)
    if len(tokens) != len(set(tokens)):
        found["wrong"] = "%d key frames are in it twice" % (len(tokens) - len(set(tokens)))
    elif set(tokens) != wanted:
        other = len(set(tokens) - wanted)
        found["wrong"] = "%d of %d key frames are missing, %d are of no table" % (
            len(wanted - set(tokens)),
            len(wanted),
            other,
        )
    return found


def main(dataset, folder, *files):
    """Print a line for each file."""
    for pair in files:
        split, _, name = pair.partition("=")
        print("infos: " + json.dumps(judge(dataset, folder, split, name)))


if __name__ == "__main__":
    main(*sys.argv[1:])
