"""Checks of a model's modules: why one that fails cannot be made here, where that is no fault of the image."""

import os
import sys

from _report import NotHereError, guard, missing_here

ONLY_NPU = ("torch_npu", "mx_driving", "detectron2", "mindspeed")
PATCHES = "migrate_to_ascend.patch_main"
"""Replaces modules at run time, those among them that nobody installs."""


class Attempts:
    """Makes checks one after another, and remembers what was missing: later ones lack what would have been imported."""

    def __init__(self, accelerator, root):
        self.accelerator = accelerator
        self.patches = os.path.isfile(os.path.join(root, PATCHES.replace(".", "/") + ".py"))
        self.missing = ""
        self.why = ""
        """What the last check needed that could not be made."""

    def attempt(self, check, function):
        """As guard: return whether it passed."""

        def run():
            self.why = ""
            try:
                return function()
            except Exception as error:
                reason = self.reason(error)
                if reason:
                    self.why = reason
                    raise NotHereError(reason) from error
                raise

        return guard(check, run)

    def reason(self, error):
        """Return what an exception says is missing here; empty for a real failure."""
        if isinstance(error, ModuleNotFoundError) and error.name:
            top = error.name.partition(".")[0]
            if self.accelerator != "npu" and top in ONLY_NPU:
                self.missing = f"needs {top}, which only platforms with NPUs have"
                return self.missing
            if self.patches and PATCHES not in sys.modules:
                self.missing = f"needs {error.name}, which the run-time patches for NPUs replace"
                return self.missing
        if isinstance(error, (KeyError, ValueError)) and "registry" in str(error) and self.missing:
            return self.missing
        return missing_here(error)
