"""What a manifest says of files, and where they lie in the image. Pure, but for reading files."""

import hashlib
import os

BUILD, SITE = "/build", "/build/site"


def object_id(path):
    """Return git's id of a file or link; empty where there is none."""
    if os.path.islink(path):
        data = os.fsencode(os.readlink(path))
    elif os.path.isfile(path):
        with open(path, "rb") as file:
            data = file.read()
    else:
        return ""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def rank(stage):
    """Sources are changed first, then the model's tree, which may hold one; overlays lie over what was built."""
    if stage.endswith("-source"):
        return 0
    return 2 if stage.startswith("overlay-") else 1


def last_records(applied):
    """Return {(stage, path): id} after all steps of each stage; the last record of a path wins, "" is a file gone."""
    found = {}
    for stage in sorted(applied, key=lambda name: (rank(name), name)):
        for record in applied[stage]:
            for file in record["files"]:
                path = os.path.normpath(os.path.join(record["tree"], file["path"]))
                if not file["after"]:
                    # A folder goes with all that is in it.
                    for key in [key for key in found if key[0] == stage and key[1].startswith(path + "/")]:
                        del found[key]
                found[stage, path] = file["after"]
    return found


def places(stage, path, *, site, kept):
    """Return ([paths in the image that must hold the file], [paths where it may lie, as a package's data]).

    `kept` is where the image keeps the source of a component, by component.
    """
    if stage.startswith("overlay-"):
        return [os.path.join(site, os.path.relpath(path, SITE))], []
    if not stage.endswith("-source"):
        return [path], []
    component = stage[: -len("-source")]
    inner = os.path.relpath(path, f"{BUILD}/{component}")
    tree = [os.path.join(kept[component], inner)] if component in kept else []
    if os.path.isdir(os.path.join(site, inner.split("/")[0])) and "/" in inner:
        return [os.path.join(site, inner), *tree], []
    # OpenMMLab's setup.py copies configs and tools into the package, in a folder of this name.
    return tree, [os.path.join(site, inner), os.path.join(site, component, ".mim", inner)]


def expected(applied, *, site, kept):
    """Return {path in the image: (id, stage)} of what must be there, and the same of what may be there."""
    must, may = {}, {}
    for (stage, path), blob in last_records(applied).items():
        sure, perhaps = places(stage, path, site=site, kept=kept)
        must.update((place, (blob, stage)) for place in sure)
        if not sure or perhaps:
            may.update((place, (blob, stage)) for place in perhaps)
    return must, may


def pin(source):
    """Return what a source is pinned by, as an image's label says it."""
    if source.get("commit"):
        return f"git:{source['commit']}"
    return f"sha256:{source['sha256']}" if source.get("sha256") else "unpinned"
