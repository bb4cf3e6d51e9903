"""refused.py: where CANN is a stand-in, the entrypoint refuses the scripts that want NPUs, and nothing else.

The expectations are JSON on standard input. Run without the entrypoint, because this calls it.
"""

import json
import os
import subprocess
import sys

from _report import finish, report

ENTRYPOINT, REFUSED = "/opt/drivebuild/entrypoint", "/opt/drivebuild/refused"
CODE = 125


def call(*words):
    result = subprocess.run([ENTRYPOINT, *words], capture_output=True, text=True, check=False, timeout=60)
    return result.returncode, result.stderr


def main():
    expect = json.load(sys.stdin)
    scripts = expect["refused"]
    listed = []
    if os.path.exists(REFUSED):
        with open(REFUSED, encoding="utf-8") as file:
            listed = file.read().split("\n")
    wanted = [expect["twin"], *scripts] if scripts else []
    report("list of refused scripts", [line for line in listed if line] == wanted, {"found": listed})
    if expect["cann_way"] == "stub":
        report("an image on a stand-in refuses something", bool(scripts), scripts)
    for script in scripts:
        code, said = call("bash", script)
        sentence = script in said and "stand-in" in said and expect["twin"] in said
        report(f"entrypoint refuses {script}", code == CODE and sentence, {"exit code": code, "says": said.strip()})
    code, said = call("true")
    report("entrypoint starts other commands", code == 0, {"exit code": code, "says": said.strip()})
    finish()


if __name__ == "__main__":
    main()
