"""Write what an image is made of: what was planned, and what each step really did to which file.

    manifest.py --plan PLAN.json [--applied STAGE=FILE]... --output FILE

PLAN.json has sources, versions, flags and options; each FILE has the lines that strict_apply.py appended in that stage.
No time and no machine is in it: the same image has the same manifest. Standard library only, Python 3.6 and newer.
"""

import argparse
import json
import os
import sys

FORMAT = 1


def read(path):
    """Return a file's text: UTF-8, whatever the locale is."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        sys.exit("manifest: %s: cannot be read: %s" % (path, error))


def parse(text, where):
    """Return the JSON object in a text."""
    try:
        data = json.loads(text)
    except ValueError as error:
        sys.exit("manifest: %s: no JSON: %s" % (where, error))
    if not isinstance(data, dict):
        sys.exit("manifest: %s: a JSON object is wanted" % where)
    return data


def records(path):
    """Return the steps that were applied in one stage, in their order."""
    lines = read(path).splitlines()
    return [parse(line, "%s:%d" % (path, number)) for number, line in enumerate(lines, 1)]


def merge(plan, applied):
    """Return the manifest of a plan and of (stage, file of records) pairs."""
    found = {}
    for word in applied:
        stage, sign, path = word.partition("=")
        if not stage or not sign or stage in found:
            sys.exit("manifest: --applied %s: STAGE=FILE is wanted, each stage once" % word)
        found[stage] = records(path)
    taken = sorted({"format", "applied"} & set(plan))
    if taken:
        sys.exit("manifest: the plan may not have the key %s" % taken[0])
    return dict(plan, format=FORMAT, applied=found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plan", required=True)
    parser.add_argument("--applied", action="append", default=[], metavar="STAGE=FILE")
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()
    manifest = merge(parse(read(arguments.plan), arguments.plan), arguments.applied)
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    try:
        with open(arguments.output + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(arguments.output + ".new", arguments.output)
    except OSError as error:
        sys.exit("manifest: %s: cannot be written: %s" % (arguments.output, error))


if __name__ == "__main__":
    main()
