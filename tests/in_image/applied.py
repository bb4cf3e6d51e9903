"""applied.py: the image is what its manifest says: sources, versions, options, and every file that a step changed.

The expectations are JSON on standard input. Every file named in the manifest is hashed again as git does, where it lies
in the image: the model's tree below the workspace, patched packages in site-packages, sources in both where the image
keeps their tree. What is not installed, such as a setup.py, must not be there. And of the packages that overlays
change, every file that no step names must be the one of its wheel.
"""

import base64
import csv
import hashlib
import json
import os
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, distribution, version

from _applied import expected, object_id, pin
from _report import finish, guard, report

MANIFEST, FORMAT = "/opt/drivebuild/manifest.json", 1
SITE = sysconfig.get_path("purelib")


def read():
    with open(MANIFEST, encoding="utf-8") as file:
        return json.load(file)


def plan(manifest, expect):
    """Report what the manifest says of the plan as a whole."""
    found = {key: manifest.get(key) for key in ("model", "platform", "variant")}
    wanted = {key: expect[key] for key in found}
    report("manifest names model, platform and variant", found == wanted, {"expected": wanted, "found": found})
    cann = (manifest.get("cann") or {}).get("way", "")
    report("manifest names the way of CANN", cann == expect["cann_way"], {"found": cann})
    report("manifest has its format", manifest.get("format") == FORMAT, {"found": manifest.get("format")})
    claims = manifest.get("verified_on_hardware")
    report("manifest claims no run on hardware", claims is False, {"found": claims})
    labels = {k[len("drivebuild.source.") :]: v for k, v in expect["labels"].items() if "drivebuild.source." in k}
    sources = {name: pin(source) for name, source in manifest["sources"].items()}
    wrong = sorted(name for name in {*labels, *sources} if labels.get(name) != sources.get(name))
    report(
        "manifest's sources are those of the labels",
        not wrong and bool(sources),
        {"count": len(sources), "wrong": wrong},
    )
    other = {"source " + k[len("drivebuild.override.") :]: v for k, v in expect["labels"].items() if ".override." in k}
    report("manifest's overrides are those of the labels", manifest["overrides"] == other, manifest["overrides"])
    options = {k[len("drivebuild.option.") :]: v for k, v in expect["labels"].items() if "drivebuild.option." in k}
    report("manifest's options are those of the labels", manifest["options"] == options, manifest["options"])


def installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def versions(manifest, expect):
    """Report whether all packages of the manifest are installed in its version."""
    packages = manifest["packages"].get(expect["architecture"], {})
    wrong = {name: [wanted, installed(name)] for name, wanted in packages.items() if installed(name) != wanted}
    report("manifest's packages are installed", bool(packages) and not wrong, {"count": len(packages), "wrong": wrong})
    used = sorted(manifest["components"])
    missing = [name for name in expect["components"] if name not in used]
    report("manifest has all components", not missing, {"components": used, "missing": missing})


def files(manifest, expect):
    """Report every file that a step changed."""
    must, may = expected(manifest["applied"], site=SITE, kept=expect["kept"])
    found = {stage: len(steps) for stage, steps in manifest["applied"].items()}
    # A model may have none.
    right = sorted(found) == expect["changed"] and all(found.values())
    report("manifest has the steps that were applied", right, {"expected": expect["changed"], "found": found})
    for path, (blob, stage) in sorted(must.items()):
        found = object_id(path)
        report(f"file {path} as {stage} left it", found == blob, {"expected": blob or "gone", "found": found or "gone"})
    for path, (blob, stage) in sorted(may.items()):
        found = object_id(path)
        if found:
            report(f"file {path} as {stage} left it", found == blob, {"expected": blob, "found": found})
        else:
            # Nothing of that name may be there in another form either.
            report(f"not installed: {path} of {stage}", not os.path.lexists(path), {"changed to": blob})
    return must


def untouched(manifest, expect, must):
    """Report whether the files of patched packages that no step names are those of their wheels."""
    changed = {path for path, (_, stage) in must.items() if stage.startswith("overlay-")}
    for stage in sorted(name for name in manifest["applied"] if name.startswith("overlay-")):
        package = expect["packages"][stage[len("overlay-") :]]
        found, count = [], 0
        record = distribution(package).read_text("RECORD") or ""
        for name, digest, _ in csv.reader(record.splitlines()):
            path = os.path.normpath(os.path.join(SITE, name))
            if digest and path not in changed:
                count += 1
                found += [] if digest == digest_of(path) else [name]
        report(
            f"other files of {package} are its wheel's", count > 0 and not found, {"files": count, "other": found[:20]}
        )


def digest_of(path):
    """Return a file's digest as wheels record it; empty where there is none."""
    if not os.path.isfile(path):
        return ""
    with open(path, "rb") as file:
        raw = hashlib.sha256(file.read()).digest()
    return "sha256=" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def main():
    expect = json.load(sys.stdin)
    if guard("manifest is there", lambda: len(read()["applied"])):
        manifest = read()
        plan(manifest, expect)
        versions(manifest, expect)
        must = files(manifest, expect)
        untouched(manifest, expect, must)
    finish()


if __name__ == "__main__":
    main()
