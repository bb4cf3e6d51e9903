"""models.py: the model is what its recipe says, as far as that can be seen without a device and without data.

The expectations are JSON on standard input; the working folder is the model's. Every config of the model's own folder
is parsed, and from the main config (the one its jobs name) the network, the dataset's class and its pipeline are built
as the train script does. What cannot be done here is a line of its own that says what it needs. Some modules ask for
devices or for mx_driving when they are imported: see _stand_ins.py.
"""

import importlib
import importlib.util
import json
import os
import sys
import tempfile
import warnings

from _attempts import PATCHES, Attempts
from _models import (
    config_folder,
    configs,
    has_configs,
    innermost,
    is_experiment,
    main_config,
    parts,
    plugin_module,
    pretrained,
)
from _report import NotHereError, finish, not_verified, report
from _stand_ins import empty_weights, install

ROOT = os.getcwd()
# A model's modules may have the names of scripts here.
sys.path[0] = ROOT
warnings.filterwarnings("ignore")
NOT_THERE = "needs what could not be built"


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


class Model(Attempts):
    """What is known of the model under test."""

    def __init__(self, expect):
        super().__init__(expect["accelerator"], ROOT)
        self.expect = expect
        self.main = main_config(expect["commands"], ROOT)
        self.network = None

    def built(self, network):
        """Return what there is to say about a network, after holding its size against what was once measured."""
        self.network = network
        millions = sum(p.numel() for p in network.parameters()) / 1e6
        wanted = self.expect["parameters"]
        if wanted and round(millions, 2) != wanted:
            raise ValueError(f"{millions:.2f} M parameters, measured were {wanted}")
        kind = type(network).__name__
        return {"model": kind, "parameters": f"{millions:.2f} M", "measured": wanted, "parts": parts(network)}


def parse_configs(model):
    """Report every config of the model's folder; return the main one as mmcv read it."""
    from mmcv import Config

    folder = config_folder(model.main)
    for path in configs(folder, ROOT):
        if is_experiment(read(path)):
            model.attempt(f"experiment {path} is imported", lambda path=path: imported(model, path))
        else:
            model.attempt(f"config {path} is parsed", lambda path=path: parsed(model, path))
    return None if is_experiment(read(model.main)) else Config.fromfile(model.main)


def parsed(model, path):
    """Return how many values a config has. One that names a file that its own repository lacks is upstream's fault."""
    from mmcv import Config

    try:
        return len(Config.fromfile(path))
    except FileNotFoundError as error:
        missing = os.path.relpath(str(error).split('"')[1], ROOT) if '"' in str(error) else ".."
        kept = [os.path.relpath(tree, ROOT) + "/" for tree in model.expect["kept"].values()]
        if path == model.main or missing.startswith(("..", *kept)):
            raise
        raise NotHereError("needs a file that its repository does not have") from error


def imported(model, path):
    """Return the class of an experiment. One that wants a name that its own repository lacks is upstream's fault."""
    try:
        return experiment(path).__name__
    except ImportError as error:
        inside = (error.path or "").startswith(ROOT + os.sep)
        if path == model.main or isinstance(error, ModuleNotFoundError) or not inside:
            raise
        raise NotHereError("needs a name that its repository does not have") from error


def experiment(path):
    """Return the class Exp of a config that is a program; like one, it finds what lies beside it."""
    before, folder = set(sys.modules), os.path.dirname(os.path.join(ROOT, path))
    specification = importlib.util.spec_from_file_location("experiment", os.path.join(ROOT, path))
    module = importlib.util.module_from_spec(specification)
    sys.path.insert(0, folder)
    try:
        specification.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
        # An experiment changes the one that it is based on, for the whole process.
        for name in set(sys.modules) - before:
            if os.path.dirname(getattr(sys.modules[name], "__file__", None) or "") == folder:
                del sys.modules[name]
    return module.Exp


def patched(model):
    """Apply the run-time patches of a model that has them, as its train script does, for the rest of this process."""
    if not model.patches:
        return

    def enter():
        patches = sys.modules[PATCHES].generate_patcher_builder().build()
        patches.__enter__()
        return type(patches).__name__

    if model.attempt(f"{PATCHES} is imported", lambda: importlib.import_module(PATCHES).__name__):
        model.attempt("run-time patches are applied", enter)
    else:
        not_verified("run-time patches are applied", model.why or NOT_THERE)


def build_network(config):
    """Return the network, built as the model's train script does."""
    if importlib.util.find_spec("builder") and os.path.isdir(os.path.join(ROOT, "builder")):
        kind = "occupancy" if config.get("occupancy", False) else "lidarseg"
        return importlib.import_module(f"builder.tpv_{kind}_builder").build(config.model)
    options = {"train_cfg": config.get("train_cfg"), "test_cfg": config.get("test_cfg")}
    if importlib.util.find_spec("mmdet3d"):
        from mmdet3d.models import build_model as build
    elif importlib.util.find_spec("mmdet"):
        from mmdet.models import build_detector as build
    else:
        from mmseg.models import build_segmentor as build
    return build(config.model, **options)


def parts_alone(model, description):
    """Report each part of a network that could not be built as a whole: the rest of it is not left out."""
    for name, part in description.items():
        if isinstance(part, dict) and "type" in part:

            def alone(part=part):
                network = look_up("models", "MODELS", part["type"]).build(part)
                return f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M"

            model.attempt(f"part {name} of the network is built: {part['type']}", alone)


def look_up(folder, registry, name):
    """Return the registry of one kind that has a name, of all installed packages'."""
    for package in ("mmdet3d", "mmdet", "mmseg"):
        if importlib.util.find_spec(package):
            found = getattr(importlib.import_module(f"{package}.{folder}.builder"), registry)
            if name in found.module_dict:
                return found
    raise ValueError(f"no registry has {name}")


def dataset(model, split, description):
    """Report the class of a dataset and the transforms of its pipeline."""
    from mmcv.utils import build_from_cfg

    inner = innermost(description)

    def class_of():
        found = look_up("datasets", "DATASETS", inner["type"]).get(inner["type"])
        return f"{found.__module__}.{found.__name__}"

    def pipeline():
        found = ((step, look_up("datasets", "PIPELINES", step["type"])) for step in inner["pipeline"])
        return [type(build_from_cfg(step, registry)).__name__ for step, registry in found]

    model.attempt(f"dataset class of {split}: {inner['type']}", class_of)
    if inner.get("pipeline"):
        model.attempt(f"pipeline of {split}", pipeline)
    not_verified(f"dataset of {split}: {inner['type']} is read", "needs data", inner.get("ann_file", ""))


def optimizer(model, description):
    """Report the optimizer; those for NPUs are registered only where there is one."""
    from mmcv.runner.optimizer.builder import OPTIMIZERS

    kind = description["type"]
    if kind not in OPTIMIZERS.module_dict and kind.startswith("NpuFused"):

        def there():
            importlib.import_module("torch_npu.optim")
            return getattr(sys.modules["torch_npu.optim"], kind).__module__

        model.attempt(f"optimizer {kind} is in torch_npu", there)
        not_verified(f"optimizer {kind} is built", "needs a device")
    elif model.network is not None:
        model.attempt(f"optimizer {kind} is built", lambda: made_optimizer(model.network, description))
    else:
        not_verified(f"optimizer {kind} is built", model.missing or NOT_THERE)


def made_optimizer(network, description):
    """Return the class of the optimizer; run-time patches may make it one for NPUs."""
    from mmcv.runner import build_optimizer

    try:
        return type(build_optimizer(network, description)).__name__
    except KeyError as error:
        if "NpuFused" in str(error):
            raise NotHereError("needs a device") from error
        raise


def weights(config):
    named = [*pretrained(config.model), *([config.load_from] if config.get("load_from") else [])]
    if named:
        not_verified("weights of the network are loaded", "needs weights", named)


def from_config(model, config):
    """Report what is built from a config of mmcv's."""
    patched(model)
    plugin = plugin_module(config, model.main)
    if plugin:
        model.attempt(f"plugin {plugin} is imported", lambda: importlib.import_module(plugin).__name__)
    if not model.attempt("network of the main config is built", lambda: model.built(build_network(config))):
        parts_alone(model, config.model)
    weights(config)
    data = config.get("data", {})
    for split in ("train", "test"):
        if split in data:
            dataset(model, split, data[split])
    if "train_data_loader" in config:
        loaders(model, config)
    if "optimizer" in config:
        optimizer(model, config.optimizer)


def loaders(model, config):
    """Report the dataset and the loss of a model that has a builder of its own for each."""
    module = "builder.data_builder"
    model.attempt(
        "dataset classes are imported",
        lambda: sorted(
            name for name in vars(importlib.import_module(module)) if name.endswith("NuScenes") and name != "NuScenes"
        ),
    )
    not_verified("dataset of train is read", "needs data", config.train_data_loader.imageset)
    model.attempt(
        "loss is built", lambda: [str(part) for part in importlib.import_module("builder.loss_builder").build()]
    )


def from_experiment(model):
    """Report what is built by a config that is a program."""
    sys.argv = [os.path.join(ROOT, model.main)]
    made = {}

    def load():
        made["exp"] = experiment(model.main)(batch_size_per_device=1, total_devices=8, max_epoch=1)
        return type(made["exp"].exp_config).__name__

    if not model.attempt("experiment of the main config is made", load):
        for what in (
            "dataset and pipeline of train are built",
            "network of the main config is built",
            "optimizer is built",
        ):
            not_verified(what, model.why or NOT_THERE)
        return
    exp = made["exp"]
    backbone = exp.exp_config.model_setup["im_backbone"]["bkb_kwargs"]
    needed = backbone.get("pretrained")
    model.attempt("dataset and pipeline of train are built", lambda: pieces(exp.train_dataloader.dataset))
    not_verified("dataset of train is read", "needs data", str(exp.exp_config.map_conf["anno_root"]))
    with tempfile.TemporaryDirectory() as folder:
        if needed:
            not_verified("weights of the network are loaded", "needs weights", needed)
            backbone["pretrained"] = empty_weights(folder)
        if not model.attempt("network of the main config is built", lambda: model.built(exp.model)):
            not_verified("optimizer is built", model.why or NOT_THERE)
            pieces_alone(model, exp.exp_config.model_setup)
    if model.network is not None:
        model.attempt("optimizer is built", lambda: type(exp.optimizer).__name__)


def pieces_alone(model, setup):
    """Report each part of the network that could not be built as a whole, as its class makes them."""
    network = importlib.import_module("mapmaster.models.network").MapMaster
    for name, description in setup.items():

        def alone(name=name, description=description):
            part = getattr(network, "create_" + name.replace("im_", ""))(**description)
            return f"{sum(p.numel() for p in part.parameters()) / 1e6:.2f} M"

        model.attempt(f"part {name} of the network is built: {description['arch_name']}", alone)


def pieces(data):
    names = [type(step).__name__ for step in data.transforms.transforms]
    return {"class": type(data).__name__, "samples": len(data), "pipeline": names}


def main():
    model = Model(json.load(sys.stdin))
    install()
    if model.main or has_configs(ROOT):
        report("main config is named by the jobs", bool(model.main), model.main)
    else:
        not_verified("network of the main config is built", "needs a folder of configs in the model's tree")
    if model.main:
        config = parse_configs(model)
        if config is None:
            from_experiment(model)
        else:
            from_config(model, config)
        not_verified("a step of training", "needs a device" if model.accelerator == "npu" else "needs data")
    finish()


if __name__ == "__main__":
    main()
