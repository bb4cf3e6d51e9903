"""Give a compiler's tools the paths that all stages know, after looking whether they are what the recipe says.

    toolchain.py HOME

HOME/recipe.json names the tools and what must be true of them. Every tool is there; all are of one version; the
compiler says the vendor's name; and link-time optimisation and a profile really work: two files are compiled, archived,
linked and run, and it is looked into what came of it. Then HOME/bin has links to the tools, HOME/runtime the libraries
that compiled things need at run time, HOME/toolchain.json what was found. What is wrong is said in a sentence, and
nothing of HOME/bin is made. Standard library only.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile

HELPER = """\
int drivebuild_helper(int value) {
    int sum = 0;
    for (int i = 0; i < value; i++) sum += i ^ value;
    return sum;
}
int drivebuild_unused(int value) { return value + 1; }
"""
MAIN = """\
int drivebuild_helper(int value);
int main(int count, char **words) { return words[0] && drivebuild_helper(count + 6) == 28 ? 0 : 1; }
"""
CXX = """\
#include <map>
#include <string>
int main() { std::map<std::string, int> counts; counts["one"] = 1; return counts.at("one") == 1 ? 0 : 1; }
"""
OPENMP = """\
int main(void) {
    int sum = 0;
#pragma omp parallel for reduction(+:sum)
    for (int i = 0; i < 4; i++) sum += i;
    return sum != 6;
}
"""
BITCODE = (b"BC\xc0\xde", b"\xde\xc0\x17\x0b")
VERSION = re.compile(r"(?:clang version|LLVM version|LLD) ([0-9]+\.[0-9]+\.[0-9]+)")


class WrongError(Exception):
    """What the recipe says of the compiler is not true."""


class Compiler:
    """The tools of one recipe, and a folder to try them in."""

    def __init__(self, recipe, folder):
        self.recipe, self.folder = recipe, folder
        self.tools = recipe["tools"]
        self.clang = recipe["family"] == "clang"
        self.cc = self.tools["clang" if self.clang else "gcc"]
        self.cxx = self.tools["clang++" if self.clang else "g++"]
        self.ar, self.ranlib, self.nm = (
            self.tools[("llvm-" if self.clang else "gcc-") + name] for name in ("ar", "ranlib", "nm")
        )
        # The linker by its path: another LLVM's may come first in PATH.
        self.link = ["--ld-path=" + self.tools["ld.lld"]] if self.clang else []
        self.lto = ["-O2", "-flto=thin" if self.clang else "-flto"]

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def read(self, name):
        """Return what a tool wrote."""
        if not os.path.isfile(self.path(name)):
            raise WrongError("%s ends well and writes no %s" % (self.cc, name))
        with open(self.path(name), "rb") as file:
            return file.read()

    def try_out(self, what, *command, environment=()):
        """Run a command of the trial, in its folder; what it is for is the first word of a complaint."""
        done = run(*command, cwd=self.folder, env={**os.environ, **dict(environment)})
        if done.returncode:
            said = (done.stderr or done.stdout).strip()[-1500:]
            raise WrongError(
                "%s does not work: %s ended with %d\n%s" % (what, " ".join(command), done.returncode, said)
            )
        return done.stdout


def run(*command, **options):
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        errors="replace",
        check=False,
        **options,
    )


def check_there(recipe):
    """Every tool and every library is where the recipe says, on a machine that it is for."""
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    if machine not in recipe["architectures"]:
        raise WrongError("it exists for %s only; this is %s" % (", ".join(recipe["architectures"]), machine))
    missing = [path for path in recipe["tools"].values() if not os.access(path, os.X_OK) or os.path.isdir(path)]
    missing += [path for path in recipe["runtime"] if not os.path.isfile(path)]
    if missing:
        raise WrongError("missing, or no program: %s" % ", ".join(missing))


def words(path):
    """Return what a tool says of its version; some versions of llvm-profdata say it of a subcommand only."""
    for command in ([path, "--version"], [path, "merge", "--version"]):
        done = run(*command)
        if done.returncode == 0:
            return done.stdout
    raise WrongError("%s says no version: %s" % (path, (done.stderr or done.stdout).strip()[-500:]))


def check_versions(compiler):
    """Return the compiler's own line; all tools are of one version, which is the recipe's."""
    recipe = compiler.recipe
    said = words(compiler.cc)
    line = said.strip().splitlines()[0]
    if not re.search(r"(?<![0-9.])" + re.escape(recipe["version"]), said):
        raise WrongError("the compiler is not of version %s: it says %r" % (recipe["version"], line))
    if recipe["marker"] and recipe["marker"] not in said:
        raise WrongError("the compiler does not call itself %s: it says %r" % (recipe["marker"], line))
    found = {}
    if compiler.clang:
        for path in compiler.tools.values():
            match = VERSION.search(words(path))
            found[path] = match.group(1) if match else "unknown"
    else:
        # The other tools are the linker's, of binutils, with the compiler's plugin.
        for path in (compiler.cc, compiler.cxx):
            found[path] = run(path, "-dumpfullversion").stdout.strip() or "unknown"
    if len(set(found.values())) != 1 or "unknown" in found.values():
        listed = ", ".join("%s %s" % item for item in sorted(found.items()))
        raise WrongError("the tools are not of one version: %s" % listed)
    return line


def check_lto(compiler):
    """A function that nobody calls and everybody could call is gone after the link: it has seen the whole program."""
    helper, main = compiler.write("helper.c", HELPER), compiler.write("main.c", MAIN)
    what = "link-time optimisation"
    for source in (helper, main):
        compiler.try_out(what, compiler.cc, *compiler.lto, "-c", source)
    code = compiler.read("helper.o")
    if not (code.startswith(BITCODE) if compiler.clang else b".gnu.lto_" in code):
        raise WrongError("%s is ignored: helper.o has no intermediate code" % compiler.lto[1])
    compiler.try_out(what, compiler.ar, "rc", "libhelper.a", "helper.o")
    compiler.try_out(what, compiler.ranlib, "libhelper.a")
    if "drivebuild_helper" not in compiler.try_out(what, compiler.nm, "libhelper.a"):
        raise WrongError("%s does not read the compiler's intermediate code" % compiler.nm)
    compiler.try_out(what, compiler.cc, *compiler.lto, *compiler.link, "main.o", "libhelper.a", "-o", "linked")
    compiler.try_out(what, compiler.path("linked"))
    if "drivebuild_unused" in compiler.try_out(what, compiler.nm, "linked"):
        raise WrongError("link-time optimisation did not happen: what nobody calls is still there")
    if compiler.clang and b"LLD" not in compiler.read("linked"):
        raise WrongError("%s was not the linker" % compiler.tools["ld.lld"])


def check_profile(compiler):
    """A profile is written, merged, and read again by the compiler."""
    what = "a profile"
    if compiler.clang:
        flags = ["-O1", "-fno-inline", "-fprofile-instr-generate"]
        compiler.try_out(what, compiler.cc, *flags, *compiler.link, "main.c", "helper.c", "-o", "counting")
        raw = compiler.path("trial.profraw")
        compiler.try_out(what, compiler.path("counting"), environment={"LLVM_PROFILE_FILE": raw}.items())
        profdata = compiler.tools["llvm-profdata"]
        compiler.try_out(what, profdata, "merge", raw, "-o", "trial.profdata")
        shown = compiler.try_out(what, profdata, "show", "--all-functions", "trial.profdata")
        if not re.search(r"drivebuild_helper:(?s:.){0,200}?Function count: 1\n", shown):
            raise WrongError("the profile does not have the call that was made:\n%s" % shown)
        use = ["-O1", "-fprofile-instr-use=trial.profdata", "-S", "-emit-llvm", "helper.c", "-o", "helper.ll"]
        compiler.try_out(what, compiler.cc, *use)
        if b"function_entry_count" not in compiler.read("helper.ll"):
            raise WrongError("the compiler does not use the profile it is given")
        return
    compiler.try_out(what, compiler.cc, "-O1", "-fprofile-generate", "-c", "helper.c", "-o", "helper.o")
    compiler.try_out(what, compiler.cc, "-O1", "-fprofile-generate", "main.c", "helper.o", "-o", "counting")
    compiler.try_out(what, compiler.path("counting"))
    use = ["-O1", "-fprofile-use", "-Wmissing-profile", "-Werror", "-c", "helper.c", "-o", "helper.o"]
    compiler.try_out(what, compiler.cc, *use)


def check_languages(compiler):
    """C++ finds its headers; what the recipe says of flags and of OpenMP is true."""
    compiler.write("trial.cpp", CXX)
    compiler.try_out("C++", compiler.cxx, *compiler.lto, *compiler.link, "trial.cpp", "-o", "plus")
    compiler.try_out("C++", compiler.path("plus"))
    if compiler.recipe["gnu_compatibility"]:
        compiler.try_out("-fGNU-compatibility", compiler.cc, "-fGNU-compatibility", "-c", "main.c", "-o", "main.o")
    for path in compiler.recipe["runtime"]:
        if soname(path) != os.path.basename(path):
            raise WrongError("what is linked to %s asks for %s at run time" % (path, soname(path) or "its path"))
    if any(os.path.basename(path).startswith("libomp.") for path in compiler.recipe["runtime"]):
        compiler.write("openmp.c", OPENMP)
        compiler.try_out("OpenMP", compiler.cc, "-O1", "-fopenmp", *compiler.link, "openmp.c", "-o", "openmp")
        folders = {os.path.dirname(path) for path in compiler.recipe["runtime"]}
        wanted = {"LD_LIBRARY_PATH": ":".join(sorted(folders))}.items()
        compiler.try_out("OpenMP", compiler.path("openmp"), environment=wanted)


def soname(path):
    """Return the name under which programs ask for a library: DT_SONAME of a 64-bit little-endian ELF file, or ''."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:6] != b"\x7fELF\x02\x01":
        raise WrongError("%s is no library of this machine" % path)
    (start,), (size, count) = struct.unpack_from("<Q", data, 40), struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, start + size * number) for number in range(count)]
    for section in sections:
        if section[1] == 6:
            names = sections[section[6]][4]
            for place in range(section[4], section[4] + section[5], 16):
                tag, value = struct.unpack_from("<qQ", data, place)
                if tag == 14:
                    return data[names + value : data.index(b"\0", names + value)].decode()
    return ""


def put(home, recipe):
    """Make HOME/bin and HOME/runtime."""
    os.makedirs(os.path.join(home, "bin"))
    for name, path in recipe["tools"].items():
        os.symlink(path, os.path.join(home, "bin", name))
    os.makedirs(os.path.join(home, "runtime"))
    for path in recipe["runtime"]:
        shutil.copyfile(path, os.path.join(home, "runtime", os.path.basename(path)))


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def main(home):
    """Look, then put everything in its place."""
    with open(os.path.join(home, "recipe.json"), encoding="utf-8") as file:
        recipe = json.load(file)
    try:
        check_there(recipe)
        with tempfile.TemporaryDirectory() as folder:
            compiler = Compiler(recipe, folder)
            line = check_versions(compiler)
            check_lto(compiler)
            check_profile(compiler)
            check_languages(compiler)
        found = {"name": recipe["name"], "version": line, "sha256": sha256(os.path.realpath(compiler.cc))}
        put(home, recipe)
    except WrongError as wrong:
        sys.exit("toolchain %s: %s" % (recipe["name"], wrong))
    with open(os.path.join(home, "toolchain.json"), "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1, sort_keys=True)
        file.write("\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
