"""The programs of suite `python`: pyperformance's own, and which are not here and why; those of `ops`. Pure."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["OPERATORS", "PROGRAMS"]

# Name, words for the script (a folder of pyperformance, then options as in its .toml files), whether `--fast` has it.
#
# Left out: what needs a package without wheels for these Pythons (crypto_pyaes, hg_startup), or many packages for one
# figure (dask, fastapi, sphinx, websockets, tornado_http); what measures sockets rather than the interpreter
# (asyncio_tcp, concurrent_imap); what needs Python 3.12 (async_tree_eager*); what takes ten times as long as the others
# (2to3, async_tree's other kinds, barnes_hut, base64, bpe_tokeniser, decimal_*, docutils, gc_collect, mdp, networkx,
# pprint); what fails with the wheels there are (mako); and python_startup, whose children --clock processor misses.
PROGRAMS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("argparse_many_optionals", ("argparse", "many_optionals"), False),
    ("argparse_subparsers", ("argparse", "subparsers"), False),
    ("async_generators", ("async_generators",), False),
    ("async_tree", ("async_tree", "none"), False),
    ("chameleon", ("chameleon",), False),
    ("chaos", ("chaos",), True),
    ("comprehensions", ("comprehensions",), True),
    ("coroutines", ("coroutines",), True),
    ("coverage", ("coverage",), False),
    ("deepcopy", ("deepcopy",), True),
    ("deltablue", ("deltablue",), True),
    ("django_template", ("django_template",), True),
    ("dulwich_log", ("dulwich_log",), False),
    ("fannkuch", ("fannkuch",), False),
    ("float", ("float",), True),
    ("gc_traversal", ("gc_traversal",), False),
    ("generators", ("generators",), True),
    ("genshi", ("genshi",), True),
    ("go", ("go",), True),
    ("hexiom", ("hexiom",), True),
    ("html5lib", ("html5lib",), True),
    ("json_dumps", ("json_dumps",), True),
    ("json_loads", ("json_loads",), True),
    ("logging", ("logging",), True),
    ("meteor_contest", ("meteor_contest",), True),
    ("nbody", ("nbody",), True),
    ("nqueens", ("nqueens",), True),
    ("pathlib", ("pathlib",), True),
    ("pickle", ("pickle", "pickle"), True),
    ("pickle_dict", ("pickle", "pickle_dict"), True),
    ("pickle_list", ("pickle", "pickle_list"), True),
    ("pickle_pure_python", ("pickle", "--pure-python", "pickle"), True),
    ("pidigits", ("pidigits",), False),
    ("pyflate", ("pyflate",), True),
    ("raytrace", ("raytrace",), True),
    ("regex_compile", ("regex_compile",), True),
    ("regex_dna", ("regex_dna",), True),
    ("regex_effbot", ("regex_effbot",), True),
    ("regex_v8", ("regex_v8",), True),
    ("richards", ("richards",), True),
    ("richards_super", ("richards_super",), False),
    ("scimark", ("scimark",), True),
    ("spectral_norm", ("spectral_norm",), True),
    ("sqlalchemy_declarative", ("sqlalchemy_declarative",), False),
    ("sqlalchemy_imperative", ("sqlalchemy_imperative",), False),
    ("sqlglot_normalize", ("sqlglot_v2", "normalize"), False),
    ("sqlglot_optimize", ("sqlglot_v2", "optimize"), False),
    ("sqlglot_parse", ("sqlglot_v2", "parse"), True),
    ("sqlite_synth", ("sqlite_synth",), True),
    ("sympy", ("sympy",), False),
    ("telco", ("telco",), True),
    ("tomli_loads", ("tomli_loads",), False),
    ("typing_runtime_protocols", ("typing_runtime_protocols",), False),
    ("unpack_sequence", ("unpack_sequence",), True),
    ("unpickle", ("pickle", "unpickle"), True),
    ("unpickle_list", ("pickle", "unpickle_list"), True),
    ("unpickle_pure_python", ("pickle", "--pure-python", "unpickle"), True),
    ("xdsl", ("xdsl",), False),
    ("xml_etree", ("xml_etree",), True),
    ("yaml", ("yaml",), False),
)

# By the part of builder/bench/inside that has them, and whether `--fast` has them. mmcv's are all of mmcv-full 1.7.2
# that have a kernel for CPUs and compute on tensors; pixel_group and contour_expand, which read text in pictures, are
# left out. roi_pool, carafe, ball_query, three_nn and the sparse convolutions have kernels for devices only.
OPERATORS: Mapping[str, Mapping[str, bool]] = {
    "mmcv": {
        "nms": True,
        "soft_nms": False,
        "nms_match": False,
        "nms_rotated": True,
        "bbox_overlaps": False,
        "box_iou_rotated": True,
        "box_iou_quadri": False,
        "roi_align": True,
        "roi_align_rotated": False,
        "deform_conv2d": True,
        "modulated_deform_conv2d": True,
        "hard_voxelization": True,
        "dynamic_voxelization": False,
        "points_in_boxes": True,
        "rotated_feature_align": False,
        "active_rotated_filter": False,
        "psa_mask": False,
    },
    "torch": {
        "conv2d": True,
        "batch_norm_relu": False,
        "linear": True,
        "attention": False,
        "deformable_attention": True,
        "grid_sample": True,
        "layer_norm": False,
        "softmax": False,
        "index_add": False,
        "gather_scatter": False,
        "interpolate_nearest": False,
        "interpolate_bilinear": False,
    },
}
