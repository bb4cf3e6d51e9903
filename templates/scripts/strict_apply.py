"""Apply patches, copies and edits strictly: what does not fit exactly stops the build and says where.

    strict_apply.py patch --tree DIR --patch FILE
    strict_apply.py copy  --tree DIR --from FILE-OR-DIR --to PATH [--replaces BLOB]
    strict_apply.py edit  --tree DIR --file PATH --find TEXT --replace TEXT --count N

Standard library only, Python 3.6 and newer: it runs with the base image's own python3.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys

# Names with blanks are ambiguous here and quoted names need decoding; neither is needed, both are refused.
HEADER = re.compile(rb"^diff --git a/([^\s\"]+) b/([^\s\"]+)\r?\n$")
INDEX = re.compile(rb"^index ([0-9a-f]+)\.\.([0-9a-f]+)")


def fail(message):
    sys.exit("strict_apply: " + message)


def blob(path):
    """Return the git blob id of a file, or None where there is none."""
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        data = file.read()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def inside(tree, path):
    """Return the absolute path of `path` in `tree`; nothing may lead out of it, not even a link."""
    root = os.path.realpath(tree)
    target = os.path.realpath(os.path.join(root, path))
    if target != root and not target.startswith(root + os.sep):
        fail("%s leads out of the tree" % path)
    return target


def files_of(patch):
    """Return (old path, new path, old blob, new blob) for each file of a git patch; "" for a blob it does not name."""
    found = []
    with open(patch, "rb") as file:
        for line in file:
            if line.startswith(b"diff --git "):
                header = HEADER.match(line)
                if not header:
                    fail("%s: cannot read the names in %r" % (patch, line.decode("utf-8", "replace").strip()))
                found.append([header.group(1).decode(), header.group(2).decode(), "", ""])
            elif INDEX.match(line) and found:
                found[-1][2:] = [blob.decode() for blob in INDEX.match(line).groups()]
            elif line.startswith((b"rename from ", b"copy from ")) and found:
                found[-1][0] = line.split(b" ", 2)[2].strip().decode()
            elif line.startswith((b"rename to ", b"copy to ")) and found:
                found[-1][1] = line.split(b" ", 2)[2].strip().decode()
    return found


def check_blobs(tree, files, patch, after):
    wrong = []
    for old, new, before_id, after_id in files:
        expected = after_id if after else before_id
        actual = blob(inside(tree, new if after else old))
        if set(expected) == {"0"}:
            if actual is not None:
                wrong.append("%s: should not exist" % (new if after else old))
        elif actual is None:
            wrong.append("%s: missing, the patch knows %s" % (new if after else old, expected or "it"))
        elif not actual.startswith(expected):
            wrong.append("%s: is %s, the patch knows %s" % (new, actual[: len(expected)], expected))
    if wrong:
        when = "after" if after else "before"
        fail("%s: the files are not those of the patch %s applying it:\n  %s" % (patch, when, "\n  ".join(wrong)))


def git_apply(tree, patch, *flags):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment.update(
        # Without a .git of its own a tree below another work tree would be skipped, with exit status 0.
        GIT_CEILING_DIRECTORIES=os.path.dirname(os.path.realpath(tree)),
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL=os.devnull,
        LC_ALL="C",
    )
    command = ["git", "-c", "core.autocrlf=false", "apply", "--ignore-whitespace", "--verbose"]
    # Files with CRLF are why whitespace is ignored; the blob ids checked afterwards make that safe.
    result = subprocess.run(
        command + list(flags) + [os.path.realpath(patch)],
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = result.stdout.decode("utf-8", "replace")
    if result.returncode != 0 or "Skipped patch" in output:
        wanted = [line for line in output.splitlines() if not line.startswith("Checking patch")]
        fail("%s does not apply:\n  %s" % (patch, "\n  ".join(wanted) or output))


def do_patch(arguments):
    if not os.path.isfile(arguments.patch):
        fail("%s: no such patch" % arguments.patch)
    files = files_of(arguments.patch)
    if not files:
        fail("%s: no git patch (no line 'diff --git a/* b/*')" % arguments.patch)
    git_apply(arguments.tree, arguments.patch, "--check")
    check_blobs(arguments.tree, files, arguments.patch, after=False)
    git_apply(arguments.tree, arguments.patch)
    check_blobs(arguments.tree, files, arguments.patch, after=True)
    print("patched %d files: %s" % (len(files), arguments.patch))


def do_copy(arguments):
    target = inside(arguments.tree, arguments.to)
    source = arguments.source
    if not os.path.exists(source):
        fail("nothing to copy: %s does not exist" % source)
    if arguments.replaces:
        actual = blob(target)
        if actual != arguments.replaces:
            fail("%s: the file to replace is %s, expected %s" % (arguments.to, actual or "missing", arguments.replaces))
    elif os.path.exists(target):
        fail("%s exists already; say which file the copy replaces" % arguments.to)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.isdir(source):
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copyfile(source, target)
    print("copied %s to %s" % (source, arguments.to))


def do_edit(arguments):
    path = inside(arguments.tree, arguments.file)
    if not os.path.isfile(path):
        fail("%s: no such file to edit" % arguments.file)
    # Bytes: upstream has sources that are not UTF-8, and line endings must stay as they are.
    with open(path, "rb") as file:
        data = file.read()
    find, replace = os.fsencode(arguments.find), os.fsencode(arguments.replace)
    count = data.count(find)
    if count != arguments.count:
        fail("%s: %r is there %d times, expected %d" % (arguments.file, arguments.find, count, arguments.count))
    with open(path, "wb") as file:
        file.write(data.replace(find, replace))
    print("edited %s: %r -> %r" % (arguments.file, arguments.find, arguments.replace))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command")
    patch = commands.add_parser("patch")
    patch.add_argument("--patch", required=True)
    patch.set_defaults(run=do_patch)
    copy = commands.add_parser("copy")
    copy.add_argument("--from", required=True, dest="source")
    copy.add_argument("--to", required=True)
    copy.add_argument("--replaces", default="")
    copy.set_defaults(run=do_copy)
    edit = commands.add_parser("edit")
    edit.add_argument("--file", required=True)
    edit.add_argument("--find", required=True)
    edit.add_argument("--replace", required=True)
    edit.add_argument("--count", required=True, type=int)
    edit.set_defaults(run=do_edit)
    for command in (patch, copy, edit):
        command.add_argument("--tree", required=True)
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error("one of patch, copy, edit is needed")
    if not os.path.isdir(arguments.tree):
        fail("%s: no such tree" % arguments.tree)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
