"""npu_ops.py: mmcv._ext holds the operators for NPUs, linked to torch_npu and registered for its tensors.

None of them is run: that wants a device. What can be seen without one:
- the file: what it is linked to, which kernels for NPUs it defines, which of torch_npu's classes these call, and what
  the compiler recorded about where it found their headers;
- the process that has imported it: mmcv keeps a table of functions by kind of device for every operator, and the place
  for torch_npu's tensors must hold the address of a kernel for NPUs.
"""

import ctypes
import re

from _elf import Elf
from _report import finish, guard, not_verified, report

# at::DeviceType of torch 2: the kind that torch_npu takes for its own.
PRIVATE_USE_1 = 20
LINKED = ("libc10.so", "libtorch_cpu.so", "libtorch_python.so", "libtorch_npu.so")
TABLE = re.compile(r"_ZZN14DeviceRegistryI.*?XadL_Z(\d+)(\w+)8instanceEvE4inst\Z")
# Of those that the models use, with the function that an NPU runs for each.
WANTED = {
    "nms_impl": "nms_npu",
    "roi_align_forward_impl": "roi_align_forward_npu",
    "sigmoid_focal_loss_forward_impl": "sigmoid_focal_loss_forward_npu",
    "hard_voxelize_forward_impl": "hard_voxelize_forward_npu",
    "ms_deform_attn_impl_forward": "ms_deform_attn_forward_npu",
}


def plain(symbol):
    """Return the name of a mangled function outside of any namespace; empty for another symbol."""
    match = re.match(r"_Z(\d+)", symbol)
    return symbol[match.end() : match.end() + int(match[1])] if match else ""


def tables(symbols):
    """Return the symbol of the table of each operator: {operator: symbol}."""
    found = {}
    for symbol, _, section in symbols:
        match = TABLE.match(symbol)
        if match and section:
            found[match[2][: int(match[1])]] = symbol
    return found


def registered(path, symbols):
    """Return {operator: name of the function for NPUs} of the extension as it is loaded into this process."""
    library = ctypes.CDLL(path)
    defined = [symbol for symbol, _, section in symbols if section and plain(symbol)]
    names = {ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value: plain(symbol) for symbol in defined}
    found = {}
    for operator, symbol in tables(symbols).items():
        function = (ctypes.c_void_p * (PRIVATE_USE_1 + 1)).in_dll(library, symbol)[PRIVATE_USE_1]
        if function:
            found[operator] = names.get(function, hex(function))
    return found


def look():
    # Not mmcv.ops: a model may have put functions of mx_driving into that.
    import mmcv
    from mmcv.utils import ext_loader

    path = ext_loader.load_ext("_ext", ["nms"]).__file__
    elf = Elf(path)
    symbols = list(elf.entries(".dynsym"))
    needed = elf.needed()
    report("mmcv._ext is linked to torch_npu", set(LINKED) <= set(needed), {"needed": needed, "mmcv": mmcv.__version__})
    kernels = sorted({plain(s) for s, _, section in symbols if section and plain(s).endswith("_npu")})
    report("mmcv._ext defines kernels for NPUs", len(kernels) >= 30, {"count": len(kernels), "names": kernels})
    wanted = sorted({s for s, _, section in symbols if not section and re.search(r"at_npu|c10_npu|\Aacl", s)})
    commands = [s for s in wanted if "9OpCommand" in s]
    report("mmcv._ext calls torch_npu's OpCommand", commands, {"OpCommand": len(commands), "in all": len(wanted)})
    headers = recorded_headers(elf)
    detail = {"compiler": sorted(set(elf.strings(".comment"))), "folders": headers}
    if headers:
        report("mmcv._ext was compiled with NpuExtension's folders of headers", wanted_headers(headers), detail)
    else:
        not_verified("mmcv._ext was compiled with NpuExtension's folders of headers", "needs debug information", detail)
    found = registered(path, symbols)
    odd = {key: name for key, name in found.items() if name not in kernels}
    report(
        "mmcv registers kernels for NPU tensors",
        len(found) >= 30 and not odd,
        {"registered": len(found), "operators": len(tables(symbols)), "not kernels for NPUs": odd},
    )
    for operator, kernel in WANTED.items():
        report(f"mmcv registers {kernel}", found.get(operator) == kernel, {operator: found.get(operator)})


def recorded_headers(elf):
    """Return the folders below torch_npu in which the compiler found headers."""
    strings = {*elf.strings(".debug_line_str"), *elf.strings(".debug_str")}
    return sorted(s for s in strings if "/torch_npu/include" in s)


def wanted_headers(folders):
    """Return whether the folders that NpuExtension names are among them; an older torch_npu includes none of HCCL."""
    parts = ("/torch_npu/include/torch_npu", "/include/third_party/acl/inc")
    return all(any(part in folder for folder in folders) for part in parts)


if __name__ == "__main__":
    if guard("mmcv._ext is imported beside torch_npu", lambda: __import__("torch_npu").__version__):
        look()
    not_verified("mmcv's kernels for NPUs compute what they should", "needs a device")
    finish()
