"""Apply patches, copies, edits and removals strictly: what does not fit exactly stops the build and says where.

    strict_apply.py patch  --tree DIR --patch FILE
    strict_apply.py copy   --tree DIR --from FILE-OR-DIR --to PATH [--replaces BLOB]
    strict_apply.py edit   --tree DIR --file PATH --find TEXT --replace TEXT --count N
    strict_apply.py remove --tree DIR --path PATH [--replaces BLOB]

All take --upstream TEXT, which a message then names, and --record FILE, to which what was done is appended as one line
of JSON. Standard library only, Python 3.6 and newer: it runs with the python3 of any base image.
"""

import argparse
import difflib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

# Names with blanks are ambiguous here and quoted names need decoding; neither is needed, both are refused.
HEADER = re.compile(rb"^diff --git a/([^\s\"]+) b/([^\s\"]+)\r?\n?$")
# Fewer digits than git itself writes prove nothing.
INDEX = re.compile(rb"^index ([0-9a-f]{7,})\.\.([0-9a-f]{7,})")
MOVED = re.compile(rb"^(rename|copy) (from|to) (.*?)\r?\n?$")
HUNK = re.compile(rb"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
# Bounds of what a message shows: misses of a patch, lines of each, characters of a line.
MISSES, LINES, WIDTH = 20, 9, 150


class Misfit(Exception):
    """What does not fit. `misses` has the places as data, `applied` says whether the patch is in the tree already."""

    def __init__(self, message, misses=(), *, applied=False):
        Exception.__init__(self, message)
        self.misses = list(misses)
        self.applied = applied


def object_id(path):
    """Return the id git gives a file, link or folder; "" where there is nothing."""
    if os.path.islink(path):
        kind, data = b"blob", os.fsencode(os.readlink(path))
    elif os.path.isdir(path):
        kind, data = b"tree", tree_data(path)
    elif os.path.exists(path):
        with open(path, "rb") as file:
            kind, data = b"blob", file.read()
    else:
        return ""
    return hashlib.sha1(b"%s %d\0" % (kind, len(data)) + data).hexdigest()


def tree_data(folder):
    """Return a folder as git's tree: it knows no empty folders, and sorts folders as if they ended in a slash."""
    entries = []
    for name in os.listdir(folder):
        path, key = os.path.join(folder, name), os.fsencode(name)
        if os.path.islink(path):
            mode = b"120000"
        elif os.path.isdir(path):
            mode, key = b"40000", key + b"/"
            if not files_below(path):
                continue
        else:
            mode = b"100755" if os.stat(path).st_mode & 0o100 else b"100644"
        entries.append((key, b"%s %s\0%s" % (mode, os.fsencode(name), bytes.fromhex(object_id(path)))))
    return b"".join(entry for _, entry in sorted(entries))


def files_below(folder):
    """Return the paths of all files and links below a folder, relative to it, sorted."""
    found = []
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        found += [os.path.relpath(os.path.join(root, name), folder) for name in files + links]
    return sorted(found)


def inside(tree, path):
    """Return the absolute path of `path` in `tree`; nothing may lead out of it, and no link may be on the way."""
    root = os.path.realpath(tree)
    target = os.path.normpath(os.path.join(root, path))
    parent = os.path.realpath(os.path.dirname(target))
    if not target.startswith(root + os.sep) or not (parent + os.sep).startswith(root + os.sep):
        raise Misfit("%s leads out of the tree" % path)
    if parent != os.path.dirname(target):
        raise Misfit("%s leads through a link" % path)
    return target


# --- patches -------------------------------------------------------------------------------------


class Part:
    """What a patch does to one file: its names and blob ids, "" for an id that it does not give, and its hunks."""

    def __init__(self, old, new):
        self.old, self.new = old, new
        self.before = self.after = ""
        self.copies = False
        self.hunks = []  # (the @@ line, line number, lines before, lines after)


def read_patch(path):
    """Return the parts of a git patch. A part without a git header, which git would apply unproven, is refused."""
    if not os.path.isfile(path):
        raise Misfit("%s: no such patch" % path)
    with open(path, "rb") as file:
        lines = file.readlines()
    parts, at = [], 0
    while at < len(lines):
        at = read_line(lines, at, parts, path)
    if not parts:
        raise Misfit("%s: no git patch (no line 'diff --git a/* b/*')" % path)
    unproven = [part.new for part in parts if part.hunks and not part.after]
    if unproven:
        raise Misfit("%s: no blob ids (line 'index') for %s: nothing says what it fits" % (path, unproven[0]))
    return parts


def read_line(lines, at, parts, path):
    """Read a line of a patch, or all of a hunk, into the parts; return where the next one is."""
    line = lines[at]
    if line.startswith(b"diff --git "):
        header = HEADER.match(line)
        if not header:
            raise Misfit("%s: cannot read the names in %r" % (path, shown(line)))
        parts.append(Part(*(os.fsdecode(name) for name in header.groups())))
    elif line.startswith(b"--- ") and b"".join(lines[at + 1 : at + 2]).startswith(b"+++ "):
        names = {os.fsdecode(text[4:].split(b"\t")[0].strip()) for text in lines[at : at + 2]}
        if not parts or not names <= {os.devnull, "a/" + parts[-1].old, "b/" + parts[-1].new}:
            raise Misfit("%s:%d: no git patch: no line 'diff --git' for %r" % (path, at + 1, shown(line)))
    elif parts and HUNK.match(line):
        return read_hunk(lines, at, parts[-1])
    elif parts:
        read_header(line, parts[-1])
    return at + 1


def read_header(line, part):
    index, moved = INDEX.match(line), MOVED.match(line)
    if index:
        part.before, part.after = (text.decode() for text in index.groups())
    elif moved and moved.group(2) == b"from":
        part.old, part.copies = os.fsdecode(moved.group(3)), moved.group(1) == b"copy"
    elif moved:
        part.new = os.fsdecode(moved.group(3))


def read_hunk(lines, at, part):
    """Read a hunk by the counts in its header, for its lines may look like anything; return where it ends."""
    header = lines[at]
    start, old, _, new = (1 if text is None else int(text) for text in HUNK.match(header).groups())
    before, after = [], []
    at += 1
    while at < len(lines) and (len(before) < old or len(after) < new):
        sign, text = lines[at][:1], lines[at][1:]
        if sign in b"\r\n":  # an empty line of context whose blank an editor took away
            sign, text = b" ", lines[at]
        if sign in b" -":
            before.append(text)
        if sign in b" +":
            after.append(text)
        at += 1
    part.hunks.append((header, start, before, after))
    return at


def same(one, other):
    """Return whether two ids, perhaps cut short, are those of one object; "" and zeros are none."""
    one, other = one.strip("0") and one, other.strip("0") and other
    length = min(len(one), len(other))
    return bool(one) == bool(other) and one[:length] == other[:length]


def compare(tree, parts):
    """Return what is wrong before a patch is applied, by file; the ids after it; and those before it."""
    wrong, after, before = {}, {}, {}
    for part in parts:
        for path in (part.old, part.new):
            if path not in before:
                before[path] = after[path] = object_id(inside(tree, path))
        # A file may come twice in one patch: then it is what the first part made of it.
        actual = after[part.old]
        if part.before and not part.before.strip("0"):
            if actual:
                wrong[part.old] = "should not exist"
        elif not actual:
            wrong[part.old] = "missing, the patch knows %s" % (part.before or "it")
        elif part.before and not same(actual, part.before):
            wrong[part.old] = "is %s, the patch knows %s" % (actual[: len(part.before)], part.before)
            if same(actual, part.after):
                wrong[part.old] += "; it is what the patch makes of it already"
        if part.old != part.new and not part.copies:
            after[part.old] = ""
        after[part.new] = part.after or actual
    return wrong, after, before


def git_apply(tree, patch, *flags):
    """Run git apply; return what it complains about, or nothing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment.update(
        # In a work tree that begins above the tree git would skip every file, with exit status 0; one that begins
        # here has settings of its own. There is no repository at all, whatever lies around.
        GIT_DIR=os.devnull,
        GIT_CEILING_DIRECTORIES=os.path.dirname(os.path.realpath(tree)),
        # Nobody's settings: the first two for git 2.32 and newer, HOME for older ones.
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL=os.devnull,
        HOME=os.devnull,
        XDG_CONFIG_HOME=os.devnull,
        GIT_ATTR_NOSYSTEM="1",
        LC_ALL="C",
    )
    # Files with CRLF are why whitespace is ignored; the blob ids checked afterwards make that safe.
    command = ["git", "-c", "core.autocrlf=false", "apply", "--ignore-whitespace", "--whitespace=nowarn", "--verbose"]
    try:
        result = subprocess.run(
            command + list(flags) + [os.path.realpath(patch)],
            cwd=tree,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as error:
        raise Misfit("git cannot be run: %s" % error) from error
    output = result.stdout.decode("utf-8", "replace")
    if result.returncode == 0 and "Skipped patch" not in output:
        return []
    wanted = [line for line in output.splitlines() if line.startswith(("error: ", "fatal: ", "Skipped patch"))]
    # What git searched for is shown with what is there instead.
    wanted = [shown(line.encode()) for line in wanted if "while searching for" not in line]
    return wanted[:MISSES] or ["git apply ended with %d: %s" % (result.returncode, shown(output.strip().encode()))]


def patch(tree, file):
    """Apply a git patch: the blob ids of all its files must be those it names, before and after. All or nothing."""
    parts = read_patch(file)
    wrong, after, before = compare(tree, parts)
    said = git_apply(tree, file, *(["--check"] if wrong else []))
    if wrong or said:
        raise misfit(tree, file, parts, wrong, said)
    actual = {path: object_id(inside(tree, path)) for path in after}
    bad = [
        "%s: is %s, the patch knows %s" % (path, actual[path] or "missing", after[path] or "it as deleted")
        for path in sorted(after)
        if not same(actual[path], after[path])
    ]
    if bad:
        raise Misfit("%s: the files are not those of the patch after applying it:\n  %s" % (file, "\n  ".join(bad)))
    with open(file, "rb") as content:
        sha256 = hashlib.sha256(content.read()).hexdigest()
    files = [{"path": path, "before": before[path], "after": actual[path]} for path in sorted(after)]
    return {"do": "patch", "patch": os.path.basename(file), "patch_sha256": sha256, "files": files}


def misfit(tree, file, parts, wrong, said):
    """Return all that can be said about a patch that does not fit: files, hunks, and whether it is there already."""
    applied = not git_apply(tree, file, "--check", "--reverse")
    lines = ["%s does not %s:" % (file, "apply" if said else "fit: its hunks do, but the files are not those it knows")]
    if applied:
        lines.append("it is applied already: upstream has taken it since, or an earlier step did it")
    lines += ["%s: %s" % item for item in sorted(wrong.items())] + said
    suspects = [part for part in parts if part.old in wrong or not wrong] if said and not applied else []
    misses = [miss for part in suspects for miss in misses_of(tree, part)]
    for miss in misses[:MISSES]:
        lines += describe(miss)
    if len(misses) > MISSES:
        lines.append("and %d more hunks" % (len(misses) - MISSES))
    return Misfit("\n  ".join(lines), misses, applied=applied)


def misses_of(tree, part):
    """Return the hunks of a part whose lines are not in its file, each with the lines that are most like them."""
    path = inside(tree, part.old)
    if not os.path.isfile(path) or os.path.islink(path):
        return []
    with open(path, "rb") as file:
        lines = file.readlines()
    plain = [loose(line) for line in lines]
    found = []
    for number, (header, start, before, after) in enumerate(part.hunks, 1):
        place, equal = nearest(plain, [loose(line) for line in before], start - 1)
        if equal == len(before):
            continue
        _, done = nearest(plain, [loose(line) for line in after], start - 1)
        # From a little before the first line that differs.
        there = plain[place : place + len(before)]
        differs = [loose(line) for line in before[: len(there)]]
        first = next((i for i, line in enumerate(there) if line != differs[i]), len(there))
        first = max(0, min(first, len(before) - 1) - 2)
        found.append(
            {
                "file": part.old,
                "hunk": number,
                "at": shown(header),
                "line": place + first + 1,
                "expected": [shown(line) for line in before[first : first + LINES]],
                "found": [shown(line) for line in lines[place + first : place + min(first + LINES, len(before))]],
                "applied": done == len(after),
            }
        )
    return found


def nearest(lines, wanted, start):
    """Return where most of the wanted lines are, the closest to `start` among equals, and how many of them are."""
    where = {}
    for at, line in enumerate(lines):
        where.setdefault(line, []).append(at)
    votes = {}
    for i, line in enumerate(wanted):
        for at in where.get(line, ()):
            if at >= i:
                votes[at - i] = votes.get(at - i, 0) + 1
    if not votes:
        return max(0, min(start, len(lines) - 1)), 0
    best = min(votes, key=lambda at: (-votes[at], abs(at - start)))
    return best, votes[best]


def loose(line):
    """Return a line as `git apply --ignore-whitespace` compares it."""
    return b" ".join(line.split())


def shown(line):
    text = line.decode("utf-8", "replace").rstrip("\r\n")
    return text if len(text) <= WIDTH else text[:WIDTH] + "..."


def describe(miss):
    """Return the lines that show one miss."""
    head = "%s: hunk %d, %s" % (miss["file"], miss["hunk"], miss["at"])
    if miss["applied"]:
        return [head, "  this hunk is applied already"]
    lines = [head, "  expected:"] + ["    | " + line for line in miss["expected"]]
    return lines + ["  found at line %d:" % miss["line"]] + ["    | " + line for line in miss["found"] or ["(nothing)"]]


# --- copies, edits, removals ---------------------------------------------------------------------


def copy(tree, source, to, replaces=""):
    """Copy a file or folder; an existing file only when it is the very one that `replaces` names."""
    target = inside(tree, to)
    if not os.path.exists(source):
        raise Misfit("nothing to copy: %s does not exist" % source)
    if os.path.islink(source):
        raise Misfit("%s is a link: name what it leads to" % source)
    # What it leads to may be of this machine, and not of the source.
    if os.path.realpath(source) != os.path.abspath(source):
        raise Misfit("%s leads through a link, to %s" % (source, os.path.realpath(source)))
    before = object_id(target)
    if replaces:
        if before != replaces or not os.path.isfile(target) or os.path.islink(target):
            raise Misfit("%s: the file to replace is %s, expected %s" % (to, before or "missing", replaces))
    elif os.path.lexists(target):
        raise Misfit("%s exists already; say which file the copy replaces" % to)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    names = [""]
    if os.path.isdir(source):
        # The time is that of the copy: an overlay finds by it what is new.
        shutil.copytree(source, target, symlinks=True, copy_function=shutil.copy)
        names = files_below(target)
    else:
        shutil.copyfile(source, target)
    paths = [os.path.join(to, name) if name else to for name in names]
    files = [{"path": path, "before": before, "after": object_id(inside(tree, path))} for path in paths]
    return {"do": "copy", "from": source, "files": files}


def edit(tree, file, find, replace, count):
    """Replace a text that must be there exactly `count` times."""
    path = inside(tree, file)
    if not os.path.isfile(path) or os.path.islink(path):
        raise Misfit("%s: no such file to edit" % file)
    # Bytes: upstream has sources that are not UTF-8, and line endings must stay as they are.
    with open(path, "rb") as content:
        data = content.read()
    actual = data.count(os.fsencode(find))
    if actual != count:
        raise misfit_of_edit(file, find, replace, count, data)
    before = object_id(path)
    with open(path, "wb") as content:
        content.write(data.replace(os.fsencode(find), os.fsencode(replace)))
    files = [{"path": file, "before": before, "after": object_id(path)}]
    return {"do": "edit", "find": find, "replace": replace, "count": count, "files": files}


def misfit_of_edit(file, find, replace, count, data):
    """Return what can be said about a text that is not there as often as expected."""
    text = data.decode("utf-8", "replace")
    actual, done = text.count(find), text.count(replace) if replace else 0
    applied = not actual and done >= count
    lines = ["%s: %r is there %d times, expected %d" % (file, find, actual, count)]
    if applied:
        lines.append("its replacement is there %d times: perhaps applied already" % done)
    all_lines = text.splitlines()
    near = [] if actual else difflib.get_close_matches(find, [line.strip() for line in all_lines], 1)
    misses = []
    if near:
        number = next(at for at, line in enumerate(all_lines, 1) if line.strip() == near[0])
        misses = [{"file": file, "line": number, "expected": [find], "found": near, "applied": applied}]
        lines.append("nearest, at line %d: %s" % (number, near[0][:WIDTH]))
    return Misfit("\n  ".join(lines), misses, applied=applied)


def remove(tree, path, replaces=""):
    """Remove a file, link or folder that must be there."""
    target = inside(tree, path)
    before = object_id(target)
    if not before:
        raise Misfit("%s: nothing to remove" % path)
    if replaces and before != replaces:
        raise Misfit("%s: what is to be removed is %s, expected %s" % (path, before, replaces))
    if os.path.isdir(target) and not os.path.islink(target):
        shutil.rmtree(target)
    else:
        os.remove(target)
    return {"do": "remove", "files": [{"path": path, "before": before, "after": ""}]}


def arguments_of(words):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command")
    patching = commands.add_parser("patch")
    patching.add_argument("--patch", required=True)
    copying = commands.add_parser("copy")
    copying.add_argument("--from", required=True, dest="source")
    copying.add_argument("--to", required=True)
    editing = commands.add_parser("edit")
    editing.add_argument("--file", required=True)
    editing.add_argument("--find", required=True)
    editing.add_argument("--replace", required=True)
    editing.add_argument("--count", required=True, type=int)
    removing = commands.add_parser("remove")
    removing.add_argument("--path", required=True)
    for command in (copying, removing):
        command.add_argument("--replaces", default="")
    for command in (patching, copying, editing, removing):
        command.add_argument("--tree", required=True)
        command.add_argument("--upstream", default="")
        command.add_argument("--record", default="")
    arguments = parser.parse_args(words)
    if not arguments.command:
        parser.error("one of patch, copy, edit, remove is needed")
    return arguments


def run(arguments):
    """Do what the arguments say; return what was done."""
    tree = arguments.tree
    if not os.path.isdir(tree):
        raise Misfit("%s: no such tree" % tree)
    if arguments.command == "patch":
        return patch(tree, arguments.patch)
    if arguments.command == "copy":
        return copy(tree, arguments.source, arguments.to, arguments.replaces)
    if arguments.command == "edit":
        return edit(tree, arguments.file, arguments.find, arguments.replace, arguments.count)
    return remove(tree, arguments.path, arguments.replaces)


def main():
    arguments = arguments_of(sys.argv[1:])
    try:
        done = run(arguments)
        if arguments.record:
            done.update(tree=os.path.abspath(arguments.tree), upstream=arguments.upstream)
            with open(arguments.record, "a") as file:
                file.write(json.dumps(done, sort_keys=True) + "\n")
    except (Misfit, OSError) as error:
        sys.exit("strict_apply: %s%s" % (error, "\n  for " + arguments.upstream if arguments.upstream else ""))
    name = done.get("patch") or done.get("from") or done["files"][0]["path"]
    print("%s: %d files: %s" % (done["do"], len(done["files"]), name))


if __name__ == "__main__":
    main()
