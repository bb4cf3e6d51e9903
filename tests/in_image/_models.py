"""What a model's own files say about how it is started: main config, train script. Pure, but for reading files."""

import ast
import os
import re

TRAIN_SCRIPTS = ("migrate_to_ascend/train.py", "tools/train.py", "train.py")


def config_folder(path):
    """Return the part of a path that ends in its first folder called `config` or `configs`; empty without one."""
    parts = path.split("/")[:-1]
    at = next((n for n, part in enumerate(parts) if part in ("config", "configs")), None)
    return "" if at is None else "/".join(parts[: at + 1])


def main_config(commands, root):
    """Return the config that the jobs name first: a file below a folder of configs, or the name of one; or ''."""
    words = [word for command in commands for word in re.split(r"[\s'\"(),;=]+", command) if word]
    paths = (os.path.normpath(path) for word in words for path in (word, f"configs/{word}.py"))
    wanted = (path for path in paths if path.endswith(".py") and config_folder(path))
    return next((path for path in wanted if os.path.isfile(os.path.join(root, path))), "")


def has_configs(root):
    """Return whether there is a folder of configs anywhere below a model's root, and a file of Python in it."""
    return any(
        name.endswith(".py") and config_folder(os.path.join(os.path.relpath(where, root), name))
        for where, _, names in os.walk(root)
        for name in names
    )


def configs(folder, root):
    """Return all configs below a folder of `root`, relative to `root`, sorted."""
    found = []
    for where, _, names in os.walk(os.path.join(root, folder)):
        found += [os.path.relpath(os.path.join(where, n), root) for n in names if n.endswith(".py") and n[0] != "_"]
    return sorted(found)


def is_experiment(text):
    """Return whether a config is a program that defines or imports a class Exp, not a list of values for mmcv."""
    names = []
    for node in ast.parse(text).body:
        names += [node.name] if isinstance(node, ast.ClassDef) else []
        names += [part.asname or part.name for part in node.names] if isinstance(node, ast.ImportFrom) else []
    return "Exp" in names


def train_script(root):
    """Return the train script of a model, relative to its root; empty without one."""
    return next((path for path in TRAIN_SCRIPTS if os.path.isfile(os.path.join(root, path))), "")


def imports(text):
    """Return the import statements of a program that it makes when it is started, in order, as text and compiled."""
    nodes = []
    for node in ast.parse(text).body:
        # `if __name__ == "__main__":` is the other place where they stand.
        main = isinstance(node, ast.If) and "__name__" in ast.dump(node.test)
        nodes += [part for part in (node.body if main else [node]) if isinstance(part, (ast.Import, ast.ImportFrom))]
    return [(ast.get_source_segment(text, node), compile(ast.Module([node], []), "imports", "exec")) for node in nodes]


def plugin_module(config, path):
    """Return the module that a config's train script imports to fill the registries; empty without one."""
    if not config.get("plugin"):
        return ""
    folder = os.path.dirname(config.get("plugin_dir", path))
    return folder.replace("/", ".")


def innermost(dataset):
    """Return the description of a dataset inside of all its wrappers."""
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    return dataset


def pretrained(node):
    """Return the weights that a description names, wherever they stand in it."""
    found = []
    if isinstance(node, dict):
        if node.get("type") == "Pretrained" and isinstance(node.get("checkpoint"), str):
            found.append(node["checkpoint"])
        found += [node["pretrained"]] if isinstance(node.get("pretrained"), str) else []
        found += [name for value in node.values() for name in pretrained(value)]
    elif isinstance(node, (list, tuple)):
        found += [name for value in node for name in pretrained(value)]
    return found


def parts(model):
    """Return the parts of a network and how large they are, in millions of parameters."""
    sizes = {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}
    kinds = {name: type(child).__name__ for name, child in model.named_children()}
    return {name: f"{kinds[name]}, {size / 1e6:.2f} M" for name, size in sizes.items()}
