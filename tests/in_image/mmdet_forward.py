"""mmdet_forward.py [CONFIG]: a detector from a config that mmdet ships, random weights,
forward on the CPU; nothing is downloaded."""

import os
import sys
import warnings

import torch
from _report import finish, guard
from _stand_ins import install

install()
warnings.filterwarnings("ignore")
name = sys.argv[1] if len(sys.argv) > 1 else "faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py"


def strip(node):
    """No pretrained weights: no model zoo can be reached, and none is wanted."""
    if isinstance(node, dict):
        node.pop("pretrained", None)
        if isinstance(node.get("init_cfg"), dict) and node["init_cfg"].get("type") == "Pretrained":
            node.pop("init_cfg")
        for value in node.values():
            strip(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            strip(value)


def forward():
    import mmcv
    import mmdet
    from mmdet.models import build_detector

    path = os.path.join(os.path.dirname(mmdet.__file__), ".mim", "configs", name)
    config = mmcv.Config.fromfile(path)
    strip(config._cfg_dict["model"])
    torch.manual_seed(0)
    model = build_detector(config.model, test_cfg=config.get("test_cfg")).eval()
    image = torch.randn(1, 3, 96, 128)
    meta = {
        "img_shape": (96, 128, 3),
        "ori_shape": (96, 128, 3),
        "pad_shape": (96, 128, 3),
        "scale_factor": 1.0,
        "flip": False,
        "filename": "none",
        "batch_input_shape": (96, 128),
    }
    with torch.no_grad():
        result = model(return_loss=False, rescale=False, img=[image], img_metas=[[meta]])
        features = model.extract_feat(image)
    if len(result) != 1 or not all(part.shape[1] == 5 for part in result[0]):
        raise AssertionError("not one list of boxes by class")
    if not all(bool(torch.isfinite(f).all()) for f in features) or float(features[0].abs().max()) == 0:
        raise AssertionError("features are not finite or nothing but zeros")
    return {
        "model": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "classes": len(result[0]),
        "levels": [list(f.shape) for f in features],
        "mmdet": mmdet.__version__,
    }


guard("mmdet forward", forward)
finish()
