"""train_script.py: what the model's train script imports is there, and the model's plugin is imported after it.

The expectations are JSON on standard input; the working folder is the model's. Apart from models.py, because a train
script makes `cuda` mean `npu` for the whole process, and then some modules want a device as soon as they are imported.
"""

import importlib
import json
import os
import sys
import warnings

from _attempts import Attempts
from _models import imports, is_experiment, main_config, plugin_module, train_script
from _report import finish, not_verified, report
from _stand_ins import install

ROOT = os.getcwd()
# A model's modules may have the names of scripts here.
sys.path[0] = ROOT
warnings.filterwarnings("ignore")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def import_all(script, attempts):
    """Report each import of a train script that fails, by its text, and how many did not."""
    space, count = {"__name__": "imports"}, 0
    for text, code in imports(read(script)):

        def run(code=code):
            exec(code, space)

        try:
            run()
            count += 1
        except Exception:
            # Once more, for the report: what failed fails again, with the same reason.
            attempts.attempt(f"{script}: {text.splitlines()[0]}", run)
    report(f"{script}: its imports", count > 0, {"imported": count})


def main():
    expect = json.load(sys.stdin)
    attempts = Attempts(expect["accelerator"], ROOT)
    install()
    path = main_config(expect["commands"], ROOT)
    script = path if path and is_experiment(read(path)) else train_script(ROOT)
    if script:
        import_all(script, attempts)
    else:
        not_verified("train script: its imports", "needs a train script where one is looked for")
    if path and script != path:
        from mmcv import Config

        plugin = plugin_module(Config.fromfile(path), path)
        if plugin:

            def load():
                return importlib.import_module(plugin).__name__

            attempts.attempt(f"plugin {plugin} is imported after {script}'s imports", load)
    finish()


if __name__ == "__main__":
    main()
