"""The nouns of a recipe, as frozen values. Pure data: nothing here reads, writes or decides.

A model *names* its platform and components; nothing inherits and nothing is merged, so a file says
all there is to know about the thing it describes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

# One line of text: no control characters, so that no value can leave its comment, label or argument; none that turn
# the direction of what follows, so that a reader sees the command that runs; no lone surrogates: no file can hold
# them.
Line = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]*\Z",
        max_length=2000,
    ),
]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*\Z",
        max_length=64,
        description="kebab-case name: lower-case letters, digits, '.', '_' and '-'",
    ),
]
# One pattern and not a union with "": msgspec would hold the pattern against the empty string, too.
OptionalName = Annotated[
    str,
    Meta(
        pattern=r"^([a-z0-9]+([._-][a-z0-9]+)*)?\Z",
        max_length=64,
        description="kebab-case name, or nothing: lower-case letters, digits, '.', '_' and '-'",
    ),
]
Version = Annotated[
    str,
    Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]*\Z", max_length=64, description="a version, quoted"),
]
Commit = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}\Z", description="a full commit: 40 hexadecimal digits")]
Blob = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}\Z", description="a git blob id: 40 hexadecimal digits")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="a sha256: 64 hexadecimal digits")]
Digest = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}\Z", description="an OCI digest: sha256:<64 hex digits>")]
Url = Annotated[
    str,
    Meta(
        pattern=r"^(https://|ssh://|file:///)[A-Za-z0-9._~:/?%&=+@,;-]+\Z",
        max_length=1000,
        description="an https, ssh or file URL",
    ),
]
ImageRef = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([a-z0-9._/:-]*[a-z0-9])?(:[A-Za-z0-9._-]+)?\Z",
        max_length=255,
        description="an image reference without digest",
    ),
]
# BuildKit's ADD takes a URL for a git repository by its ending; without it, it would download a web page.
GitUrl = Annotated[
    str,
    Meta(
        pattern=r"^(https://|ssh://|file:///)[A-Za-z0-9._~:/%+@-]+\.git\Z",
        max_length=1000,
        description="an https, ssh or file URL that ends in .git",
    ),
]
# Relative, and no component may be '..' or start with '-': a path can neither leave its tree nor be an option.
Path = Annotated[
    str,
    Meta(
        pattern=r"^(?!/)(?!-)(?!.*(^|/)\.\.(/|$))(?!.*//)[A-Za-z0-9._@+=/-]+\Z",
        max_length=300,
        description="a relative path that does not leave its folder",
    ),
]
OptionalPath = Annotated[
    str,
    Meta(
        pattern=r"^((?!/)(?!-)(?!.*(^|/)\.\.(/|$))(?!.*//)[A-Za-z0-9._@+=/-]+)?\Z",
        max_length=300,
        description="a relative path that does not leave its folder, or nothing",
    ),
]
OptionalGlob = Annotated[
    str,
    Meta(
        pattern=r"^((?!/)(?!-)(?!.*(^|/)\.\.(/|$))(?!.*//)[A-Za-z0-9._@+=/*-]+)?\Z",
        max_length=300,
        description="a relative path in which `*` stands for anything within one name, or nothing",
    ),
]
PathPattern = Annotated[
    str,
    Meta(
        pattern=r"^/(?!.*(^|/)\.\.(/|$))[A-Za-z0-9._*/-]*\Z",
        max_length=300,
        description="a pattern of absolute paths, with `*`",
    ),
]
AbsolutePath = Annotated[
    str,
    Meta(
        pattern=r"^/(?!.*(^|/)\.\.(/|$))[A-Za-z0-9._@+=/-]*\Z",
        max_length=300,
        description="an absolute path without '..'",
    ),
]
EnvName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z", description="an environment variable's name")]
OsPackage = Annotated[str, Meta(pattern=r"^[a-z0-9][A-Za-z0-9.+_-]*\Z", description="a distribution's package name")]
PackageName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z",
        max_length=64,
        description="a Python distribution's name as locks have it: lower-case letters, digits and '-'",
    ),
]
_CLAUSE = r"(===?|!=|<=|>=|~=|<|>)[ ]*[0-9A-Za-z.*+!_-]+"
# A requirement is one PEP 508 line; URLs, options and markers stay out.
Requirement = Annotated[
    str,
    Meta(
        pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,_-]+\])?[ ]*({_CLAUSE}([ ]*,[ ]*{_CLAUSE})*)?\Z",
        max_length=200,
        description="a requirement such as 'numpy==1.23.5', without URL, option or marker",
    ),
]
AgreementName = Literal["cann", "bisheng"]
Accelerator = Literal["npu", "cpu"]
JobKind = Literal["train", "eval", "prepare"]
Architecture = Literal["x86_64", "aarch64"]
TcmallocWay = Literal["package", "git", "release", "source-package"]
Variant = Literal["stock", "lto", "lto-full", "pgo-instrument", "pgo"]


class Noun(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen value whose unknown keys are errors."""


# --- sources -------------------------------------------------------------------------------------


class GitSource(Noun, frozen=True, kw_only=True, tag_field="type", tag="git"):
    """A repository at one commit; `ref` is only what the README called it."""

    url: GitUrl
    commit: Commit
    ref: Line = ""
    submodules: bool = False
    """Whether the tree is not whole without them. BuildKit fetches them with the commit; a store does not have them."""
    licence: Line = ""
    note: Line = ""


class Agreement(Noun, frozen=True, kw_only=True):
    """A licence agreement that downloading a file accepts. Only the user can: --accept-<name>-eula."""

    name: AgreementName
    url: Url
    """Where it can be read."""


class ArchiveSource(Noun, frozen=True, kw_only=True, tag_field="type", tag="archive"):
    """A file behind a URL. `sha256: null` where upstream publishes none: `drivebuild lock` records the first seen."""

    url: Url
    sha256: Sha256 | None
    unpack: bool = True
    referer: Url | None = None
    """The page that the server wants to have linked to the file."""
    eula: Agreement | None = None
    """What downloading it accepts; none for what anybody may download."""
    licence: Line = ""
    note: Line = ""


class IndexSource(Noun, frozen=True, kw_only=True, tag_field="type", tag="index"):
    """One file of a package on the Python package index, by its sha256."""

    package: Name
    version: Version
    file: Path
    sha256: Sha256
    licence: Line = ""
    note: Line = ""


class DebianSource(Noun, frozen=True, kw_only=True, tag_field="type", tag="debian-source"):
    """The pristine upstream tarball inside a distribution's source package, by its sha256."""

    package: OsPackage
    suite: Name
    file: Path
    sha256: Sha256
    licence: Line = ""
    note: Line = ""


Source = GitSource | ArchiveSource | IndexSource | DebianSource


class SourcesFile(Noun, frozen=True, kw_only=True):
    """`sources.yaml`: what several recipes share. A model may add its own under `sources`."""

    sources: Mapping[Name, Source]


# --- steps on a source tree ----------------------------------------------------------------------


class Patch(Noun, frozen=True, kw_only=True, tag_field="do", tag="patch"):
    """`git apply --ignore-whitespace`, strictly: blob ids before and after must be those in the patch."""

    source: Name
    path: Path
    on: Accelerator | None = None
    when: Mapping[Name, Name] = field(default_factory=dict)
    note: Line = ""


class Copy(Noun, frozen=True, kw_only=True, tag_field="do", tag="copy"):
    """Copy a file or folder. `source: ""` copies from the model's own patched tree.

    `replaces` is the git blob id of the file that is overwritten: a whole-file copy must not silently
    drop what upstream changed since.
    """

    path: Path
    to: Path
    source: OptionalName = ""
    replaces: Blob | None = None
    on: Accelerator | None = None
    when: Mapping[Name, Name] = field(default_factory=dict)
    note: Line = ""


class Edit(Noun, frozen=True, kw_only=True, tag_field="do", tag="edit"):
    """Replace `find` by `replace`; an error unless `find` is there exactly `count` times."""

    file: Path
    find: Annotated[Line, Meta(min_length=1)]
    replace: Line
    count: Annotated[int, Meta(ge=1, le=100)] = 1
    on: Accelerator | None = None
    when: Mapping[Name, Name] = field(default_factory=dict)
    note: Line = ""


class Remove(Noun, frozen=True, kw_only=True, tag_field="do", tag="remove"):
    """Remove a file or folder that must be there: what a component is not built from must not rebuild it."""

    path: Path
    on: Accelerator | None = None
    when: Mapping[Name, Name] = field(default_factory=dict)
    note: Line = ""


Step = Patch | Copy | Edit | Remove


# --- systems, platforms --------------------------------------------------------------------------


class CrossTarget(Noun, frozen=True, kw_only=True):
    """What a machine of another architecture compiles with for this one."""

    triplet: OsPackage
    """What the names of the cross compiler's programs begin with: `aarch64-linux-gnu`."""
    foreign: Name
    """The distribution's name of the architecture, for `dpkg --add-architecture`: `arm64`."""
    packages: tuple[OsPackage, ...]


class Cross(Noun, frozen=True, kw_only=True):
    """How a system compiles for another architecture, with the distribution's own cross compilers; apt only."""

    packages: tuple[OsPackage, ...]
    """What runs on the builder's own processor whatever the target, a compiler for that processor among it."""
    python_libraries: tuple[OsPackage, ...]
    """Those of `python_build` that are linked: the target's are installed beside the machine's own."""
    targets: Mapping[Architecture, CrossTarget]


class System(Noun, frozen=True, kw_only=True):
    """An operating system: its package manager, and what each role needs from it."""

    name: Name
    title: Line
    manager: Literal["apt", "dnf"]
    runtime: tuple[OsPackage, ...]
    build: tuple[OsPackage, ...]
    python_build: tuple[OsPackage, ...]
    tcmalloc_build: tuple[OsPackage, ...] = ()
    """What gperftools' own sources are configured with."""
    tcmalloc: tuple[OsPackage, ...] = ()
    """The distribution's package of libtcmalloc."""
    tcmalloc_library: Mapping[Architecture, AbsolutePath] = field(default_factory=dict)
    """The file in that package."""
    tcmalloc_ways: tuple[TcmallocWay, ...] = ()
    """How libtcmalloc can come into an image, the default first; by default the package, or gperftools' tag."""
    jemalloc: tuple[OsPackage, ...] = ()
    """The distribution's package of libjemalloc; an image that has tcmalloc has it, too."""
    jemalloc_library: Mapping[Architecture, AbsolutePath] = field(default_factory=dict)
    cross: Cross | None = None
    """Without it whatever is compiled for another architecture is compiled under emulation."""
    no_cross: Line = ""
    """Why there is no `cross`: one sentence without its full stop, which a build for another architecture says."""
    note: Line = ""


class Bootstrap(Noun, frozen=True, kw_only=True):
    """How the base image is made where no registry is needed: mmdebstrap from the distribution's packages."""

    suite: Name
    include: tuple[OsPackage, ...]
    exclude: tuple[PathPattern, ...] = ()
    """Files that dpkg leaves out, of these packages and of all that are installed later."""
    keep: tuple[PathPattern, ...] = ()
    """What is kept of the excluded."""


class BaseImage(Noun, frozen=True, kw_only=True):
    """The image a platform starts from. `digest: null` where the registry was not asked; `drivebuild lock` asks it."""

    image: ImageRef
    digest: Digest | None = None
    bootstrap: Bootstrap | None = None
    note: Line = ""


class Cann(Noun, frozen=True, kw_only=True):
    """The CANN release of a platform, how the image comes by it, and the driver (HDK) it wants.

    `image`: the base image has it. `run`: installers are run on a plain system, once the user has accepted their
    licence. `stub`: link-only libraries generated from the torch_npu wheel, to import and to compile, not to run.
    """

    version: Version
    way: Literal["image", "run", "stub"] = "image"
    installers: Mapping[Architecture, tuple[Name, ...]] = field(default_factory=dict)
    """Sources of the installers, in the order they are run; for `way: run`."""
    packages: tuple[OsPackage, ...] = ()
    """What the installers want from a plain system; for `way: run`."""
    adapter: Version
    hdk_recommended: Version
    hdk_floor: Version | None
    hdk_compatible: tuple[Version, ...] = ()
    """Other drivers that Huawei's tables name beside this CANN; each stands for its patches, too."""
    home: AbsolutePath = "/usr/local/Ascend/ascend-toolkit"
    note: Line = ""


class Tools(Noun, frozen=True, kw_only=True):
    """Where one set of tools lies, below its prefix: all of one version, for they read each other's files."""

    cc: Path
    cxx: Path
    ar: Path
    ranlib: Path
    nm: Path
    linker: OptionalPath = ""
    """An own linker; '' where the compiler's plugin for the system's linker is used (GCC)."""
    profdata: OptionalPath = ""
    """What merges raw profiles; '' where the compiler writes them merged (GCC)."""


class Toolchain(Noun, frozen=True, kw_only=True):
    """A compiler with its linker, archiver and profile tool: `toolchains/<name>.yaml`."""

    name: Name
    title: Line
    family: Literal["gcc", "clang"]
    version: Version
    """What every tool of it must say with `--version`, as far as it is given: `19`, `4.1.0`."""
    marker: Line = ""
    """A text that `--version` of the compiler must have: another vendor's clang under the same name is an error."""
    architectures: tuple[Architecture, ...]
    systems: tuple[Name, ...]
    """Systems it is for."""
    packages: tuple[OsPackage, ...] = ()
    """The distribution's packages that bring it; or it comes from `source`."""
    source: OptionalName = ""
    """An archive that is unpacked at `prefix`. It never gets into a finished image."""
    prefix: AbsolutePath
    tools: Tools
    gnu_compatibility: bool = False
    """Whether the compiler knows -fGNU-compatibility, which torch_npu's own LTO build wants."""
    interpreter: tuple[Annotated[str, Meta(pattern=r"^-[A-Za-z0-9=_-]+\Z", max_length=100)], ...] = ()
    """Options of LLVM's code generator that an interpreter's loop wants; the linker passes them on when it does LTO."""
    runtime: tuple[Path, ...] = ()
    """Libraries below `prefix` that what it compiles needs at run time, and only those go into the image: libomp."""
    licence: Line = ""
    note: Line = ""


class Optimised(Noun, frozen=True, kw_only=True):
    """What the variants `lto-full`, `pgo-instrument` and `pgo` compile beyond Python, and with what."""

    toolchain: Mapping[Architecture, Name]
    """One compiler for all of it; `--toolchain` chooses another one."""
    framework: tuple[Name, ...] = ()
    """Components that replace packages of the framework's locks: PyTorch, then torch_npu."""
    components: tuple[Name, ...] = ()
    """Components whose wheels are compiled with it."""
    workload: Literal["job", "ops"] = "job"
    """What a profile is made of: the model's performance job, or operators on a CPU."""
    note: Line = ""


class PythonBuild(Noun, frozen=True, kw_only=True):
    """The interpreter a platform compiles for itself, by variant."""

    version: Annotated[str, Meta(pattern=r"^3\.[0-9]+\.[0-9]+\Z", description="a quoted X.Y.Z")]
    source: Name
    shared: bool
    compiler: Mapping[Literal["stock", "lto"], Name]
    """The toolchain of each build. Every variant beyond `lto` has the Python of `lto`."""
    profile_task: Annotated[
        # make and the shell read it again when it runs.
        str, Meta(pattern=r"^-[A-Za-z0-9._/=,: -]*\Z", max_length=1000, description="arguments of the interpreter")
    ]
    configure: tuple[Line, ...] = ()
    note: Line = ""

    @property
    def series(self) -> str:
        """X.Y of the version: the name of the executable and of the folder of packages."""
        return self.version.rpartition(".")[0]


class Pin(Noun, frozen=True, kw_only=True):
    """A package's version on a platform or for a model, and why. It replaces what a requirement list asks for.

    `version: null` keeps the package out altogether.
    """

    package: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
    version: Version | None
    reason: Line
    force: bool = False
    """Whether it holds against other packages' metadata, too; `pip check` will then complain."""
    on: Accelerator | None = None


class Platform(Noun, frozen=True, kw_only=True):
    """A stack that was released together."""

    name: Name
    title: Line
    accelerator: Accelerator
    system: Name
    architectures: tuple[Architecture, ...]
    base: BaseImage
    python: PythonBuild
    framework: tuple[Requirement, ...]
    pins: tuple[Pin, ...]
    adapter: tuple[Requirement, ...] = ()
    """What makes the framework one for NPUs: torch_npu and what CANN's tools import. A layer of its own."""
    common: tuple[PackageName, ...] = ()
    """What most models lock alike: a layer of its own below what is theirs, in the versions that a model locks. Without
    any there is no such layer."""
    libraries: Mapping[Architecture, tuple[OsPackage, ...]] = field(default_factory=dict)
    """The distribution's packages, beside the system's, that locked packages of an architecture open at run time. They
    are installed above the framework: neither it nor what is compiled against it moves."""
    wheels: Mapping[Architecture, tuple[Name, ...]] = field(default_factory=dict)
    """Sources of framework wheels that an architecture takes instead of the package index' files."""
    cann: Cann | None = None
    driving_sdk: Line = ""
    environment: Mapping[EnvName, Line] = field(default_factory=dict)
    tcmalloc: TcmallocWay | None = None
    """How libtcmalloc comes into an image unless the caller chooses, where it is not the first of the system's ways."""
    variants: tuple[Variant, ...] = ("stock", "lto")
    optimised: Optimised | None = None
    """What the variants beyond `lto` compile; they exist only where this says so."""
    locks: OptionalName = ""
    """The platform whose locks this one shares, where Python, framework and pins are the same."""
    twin: OptionalName = ""
    """The platform this one stands in for: every model of that platform is locked and rendered for this one, too."""
    note: Line = ""


# --- components ----------------------------------------------------------------------------------


class Origin(Noun, frozen=True, kw_only=True):
    """Where one version of a component comes from, by accelerator; absent means: not to be had there."""

    npu: Name | None = None
    cpu: Name | None = None
    index: Requirement | None = None
    """Instead of a source: a wheel that the package index has; a lock of its own pins it, nothing is compiled."""
    ways: Mapping[TcmallocWay, Name] = field(default_factory=dict)
    """Of tcmalloc: the source of each way that compiles it, in place of one for each accelerator."""
    unverified: Line = ""
    """Why nobody can say that it works on the platforms it is offered for; the image's labels repeat it."""
    steps: tuple[Step, ...] = ()
    """What is changed in this version's source for every model, before a model's own steps."""
    note: Line = ""


class Component(Noun, frozen=True, kw_only=True):
    """One thing that is built once and for all who need it."""

    name: Name
    title: Line
    template: Literal["wheel", "tcmalloc", "pytorch", "torch-npu"]
    package: Line
    """Name of the distribution it installs, as `pip list` shows it."""
    module: Line = ""
    licence: Line = ""
    needs: tuple[Name, ...] = ("torch",)
    versions: Mapping[Version, Origin]
    environment: Mapping[EnvName, Line] = field(default_factory=dict)
    environment_npu: Mapping[EnvName, Line] = field(default_factory=dict)
    reports_version: bool = True
    """Whether the installed distribution's version is the one named here; mx_driving always says 1.0.0."""
    cann: Literal["none", "libraries", "toolkit"] = "none"
    """What compiling it for NPUs needs of CANN: libraries to link to, which a stub has as well, or its compilers."""
    hot: Mapping[Accelerator, tuple[Line, ...]] = field(default_factory=dict)
    """Regular expressions of the names that a compiler gives its functions, mangled: a profile must have run a function
    for each."""
    minutes: Annotated[int, Meta(ge=0)] = 0
    pure: bool = False
    """Whether the wheel is Python alone: its setup.py runs without a network. A compiler's cache may be a server."""
    note: Line = ""


# --- models --------------------------------------------------------------------------------------


class ComponentUse(Noun, frozen=True, kw_only=True):
    """How one model uses a component: which version, and what is changed before it is built."""

    name: Name
    version: Version
    source: OptionalName = ""
    steps: tuple[Step, ...] = ()
    keep_tree: OptionalPath = ""
    """Folder of the workspace in which the changed source tree is kept as well (configs are read from it)."""
    on: Accelerator | None = None
    when: Mapping[Name, Name] = field(default_factory=dict)
    note: Line = ""


class Overlay(Noun, frozen=True, kw_only=True):
    """Changes to an installed component's Python files, for this model only, after the shared wheel was built."""

    component: Name
    steps: tuple[Step, ...]
    on: Accelerator | None = None
    when: Mapping[Name, Name] = field(default_factory=dict)
    note: Line = ""


class Tree(Noun, frozen=True, kw_only=True):
    """The model's own source: where it comes from, where it lies, what is done to it, in order."""

    source: Name
    directory: Path
    """Folder below the workspace, /workspace/<model>/."""
    steps: tuple[Step, ...] = ()


class Readme(Noun, frozen=True, kw_only=True):
    """The README a recipe follows."""

    commit: Commit
    """DrivingSDK's commit of the README; `source` is the checkout whose files equal it."""
    source: Name
    path: Path
    table: Line = ""
    """Versions the README's own table names."""


class DataEntry(Noun, frozen=True, kw_only=True):
    """One thing a model expects below `data.root`."""

    path: Path
    kind: Literal["folder", "file"] = "folder"
    generated: bool = False
    readers: tuple[JobKind, ...] = ()
    """Kinds of jobs that read it; none named: all that read data."""
    required: bool = True
    """Whether a job stops without it. What is not required is linked all the same: a README lists it, or it is read
    when it is there."""
    holds: Literal["", "train", "val", "test", "samples"] = ""
    """Of a generated entry: the split of which a pickle has one info for each key frame, or `samples` for a folder with
    one file named by each key frame."""
    parts: tuple[Name, ...] = ()
    """Pieces of the entry with a download or a name of their own that are read, too: a map expansion, CAN messages."""
    url: Url | None = None
    note: Line = ""


class Data(Noun, frozen=True, kw_only=True):
    """The dataset a model reads, and what its own conversion writes beside it."""

    dataset: Name
    root: Path
    entries: tuple[DataEntry, ...]
    sensors: tuple[Literal["camera", "lidar", "radar"], ...] = ("camera", "lidar", "radar")
    """Kinds of sensors whose files are opened, by the conversion or in training."""
    note: Line = ""


class Weight(Noun, frozen=True, kw_only=True):
    """A file of weights, brought by the user or fetched; never baked into an image."""

    file: Path
    target: Path
    """Where the model looks for it, below its own folder, or below TORCH_HOME with `home: torch`."""
    home: Literal["model", "torch"] = "model"
    url: Url | None = None
    sha256: Sha256 | None = None
    required: bool = True
    note: Line = ""


ConfigKey = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*\Z", max_length=200, description="a.dotted.key"),
]


class Launch(Noun, frozen=True, kw_only=True):
    """How a job runs on several nodes, in place of its command, which starts what one node has."""

    command: Annotated[tuple[Line, ...], Meta(min_length=1)]
    """What every node runs: a program and its arguments, or with torchrun the Python script and its arguments."""
    by: Literal["torchrun", "environment"] = "torchrun"
    """`torchrun` starts one process for each NPU. With `environment` the program does so itself, and takes MASTER_ADDR,
    MASTER_PORT, WORLD_SIZE as the number of nodes and RANK as the number of its own node."""
    processes: Annotated[int, Meta(ge=0, le=64)] = 0
    """Processes on each node; 0: one for each NPU."""
    divided: Mapping[ConfigKey, Annotated[int, Meta(ge=1)]] = field(default_factory=dict)
    """Keys of the config that count steps, with their value on one node: divided by the number of nodes, because
    each step then takes that many times the samples, and handed on with --cfg-options."""
    success: Line = ""
    """What node 0 must print, where it is not what the job itself asks for."""
    note: Line = ""


class Job(Noun, frozen=True, kw_only=True):
    """Something run in the image; it becomes the compose service `<model>-<name>`."""

    name: Name
    title: Line
    command: Annotated[tuple[Line, ...], Meta(min_length=1)]
    directory: Path = "."
    npus: Annotated[int, Meta(ge=0, le=16)] = 8
    shm_gib: Annotated[int, Meta(ge=1, le=1024)] = 64
    environment: Mapping[EnvName, Line] = field(default_factory=dict)
    outputs: tuple[Path, ...] = ()
    """Folders below the workspace that the job writes."""
    log: OptionalPath = ""
    success: Line = ""
    """A regular expression that a line must match: upstream scripts exit 0 after a failed training."""
    checkpoint: OptionalGlob = ""
    """What is evaluated, below the outputs of an earlier training; the newest becomes the variable CHECKPOINT."""
    quiet_minutes: Annotated[int, Meta(ge=1, le=1440)] = 30
    """After so long without output a job counts as hanging."""
    batch: Annotated[int, Meta(ge=0, le=4096)] = 0
    """Samples for each NPU and step of the training; times the cards it is the global batch. 0: trains nothing."""
    epochs: Annotated[int, Meta(ge=0, le=10000)] = 0
    """Epochs it trains, or that are behind what it evaluates; 0: not a whole number of them, or not known."""
    launch: Launch | None = None
    """How it runs on several nodes of a cluster."""
    single_node: Line = ""
    """Why it cannot, where the README leads one to think that it could."""
    on: Accelerator | None = None
    when: Mapping[Name, Name] = field(default_factory=dict)
    note: Line = ""


class StepNames(Noun, frozen=True, kw_only=True):
    """What the log calls the figures of a step that drivebuild knows; all others are shown under their own names."""

    loss: Line = "loss"
    time: Line = "time"
    """Seconds of a step."""
    rate: Line = "lr"
    memory: Line = "memory"
    """MiB, the largest so far."""
    data: Line = "data_time"
    """Seconds of a step that were spent waiting for data."""


class StepLine(Noun, frozen=True, kw_only=True):
    """A line with the figures of a step: a head, then pairs of a name and a number."""

    find: Annotated[Line, Meta(min_length=4)]
    """Text that is in every such line and in few others: only lines that have it are looked at more closely."""
    match: Annotated[Line, Meta(min_length=4)]
    """Regular expression of the head, up to the first pair; groups `step`, and `epoch`, `of`, `stamp` if printed."""
    between: Annotated[Line, Meta(min_length=1)] = ", "
    """What stands between two pairs."""
    equals: Annotated[Line, Meta(min_length=1)] = ": "
    """What stands between a name and its number."""
    ends: Line = ""
    """Regular expression that whole lines end with: one that was cut off in its time must not be read."""
    names: StepNames = StepNames()
    first_epoch: Annotated[int, Meta(ge=0, le=1)] = 1
    """The number of the first epoch in the log."""
    time: Literal["interval", "step", "stamps"] = "interval"
    """What the time is: the mean since the line before, that of this one step, or to be had from time stamps only."""


class MetricLine(Noun, frozen=True, kw_only=True):
    """A line that ends an evaluation with one figure; the last one counts."""

    name: Line
    """As in `results`."""
    find: Annotated[Line, Meta(min_length=4)]
    match: Annotated[Line, Meta(min_length=4)]
    """Regular expression with the group `value`."""
    unit: Literal["fraction", "percent"] = "fraction"
    """The unit of `results`, which is the README's."""
    printed: Literal["fraction", "percent"] | None = None
    """The unit of the log, where it is another one."""


class TrainingLog(Noun, frozen=True, kw_only=True):
    """How to read what the model's training and evaluation print. mmcv's own `*.log.json` is read without."""

    steps: StepLine
    metrics: tuple[MetricLine, ...] = ()
    warmup: Annotated[int, Meta(ge=0, le=100000)] = 50
    """Steps at the beginning of a run whose time does not count; the first line never does."""
    epoch_steps: Annotated[int, Meta(ge=0)] = 0
    """Steps of one epoch at the published global batch, by which another batch or dataset shows; 0: not known."""
    failures: tuple[Annotated[Line, Meta(min_length=4)], ...] = ()
    """Texts that say that something was given up although the program goes on."""
    note: Line = ""


class Result(Noun, frozen=True, kw_only=True):
    """One published row: metrics in the unit the README prints, step time in seconds."""

    chip: Line
    cards: int
    global_batch: int
    epochs: int
    metrics: Mapping[Line, float]
    step_seconds: float | None = None
    fps: float | None = None
    precision: Line = ""
    build: Line = "stock"
    source: Line = "README"
    """Where the row is printed. Rows of another release than the recipe's README are shown and never compared."""
    reference: bool = False
    """Whether a run of the recipe as it stands is held against this row first; one for each batch and cards."""
    note: Line = ""


class Choice(Noun, frozen=True, kw_only=True):
    """One choice of an option."""

    title: Line
    note: Line = ""


class Option(Noun, frozen=True, kw_only=True):
    """A question the facts leave open. The default is what the README does."""

    name: Name
    title: Line
    default: Name
    choices: Mapping[Name, Choice]


class Requirements(Noun, frozen=True, kw_only=True):
    """The model's Python dependencies, as its requirement files ask for them after their defects are mended."""

    packages: tuple[Requirement, ...]
    pins: tuple[Pin, ...] = ()
    conflicts: Mapping[Name, tuple[Line, ...]] = field(default_factory=dict)
    """By platform: the lines that `pip check` is expected to print."""


class Model(Noun, frozen=True, kw_only=True):
    """All that is particular to one model."""

    name: Name
    title: Line
    summary: Line
    licence: Line
    readme: Readme
    platform: Name
    sources: Mapping[Name, Source]
    tree: Tree
    requirements: Requirements
    components: tuple[ComponentUse, ...]
    data: Data
    weights: tuple[Weight, ...]
    jobs: tuple[Job, ...]
    results: tuple[Result, ...]
    log: TrainingLog | None = None
    overlays: tuple[Overlay, ...] = ()
    environment: Mapping[EnvName, Line] = field(default_factory=dict)
    tcmalloc: bool = False
    render_all: bool = False
    """Whether the Dockerfiles of the variants beyond `lto` are committed for it, too: of a platform's models one
    suffices, as they share all that these variants compile."""
    options: tuple[Option, ...] = ()
    note: Line = ""


class Catalog(Struct, frozen=True, kw_only=True):
    """Every recipe there is. `sources` already holds the models' own."""

    models: Mapping[str, Model]
    platforms: Mapping[str, Platform]
    systems: Mapping[str, System]
    toolchains: Mapping[str, Toolchain]
    components: Mapping[str, Component]
    sources: Mapping[str, Source]
    locks: Mapping[str, str]
    """Text of each lock file by its path below `locks/`."""
