"""mmdet3d_forward.py [CONFIG]: a 3D detector from a config that mmdet3d ships, random weights,
simple_test on made points, on the CPU."""

import os
import sys
import warnings

import torch
from _report import finish, guard
from _stand_ins import install

install()
warnings.filterwarnings("ignore")
name = sys.argv[1] if len(sys.argv) > 1 else "pointpillars/hv_pointpillars_secfpn_6x8_160e_kitti-3d-3class.py"


def forward():
    import mmcv
    import mmdet3d
    from mmdet3d.core.bbox import LiDARInstance3DBoxes
    from mmdet3d.models import build_model

    config = mmcv.Config.fromfile(os.path.join(os.path.dirname(mmdet3d.__file__), ".mim", "configs", name))
    config.model.pretrained = None
    config.model.train_cfg = None
    torch.manual_seed(0)
    model = build_model(config.model, test_cfg=config.get("test_cfg")).eval()
    low, high = (torch.tensor(config.model.voxel_layer.point_cloud_range).view(2, 3)).unbind()
    points = torch.cat([low + torch.rand(3000, 3) * (high - low), torch.rand(3000, 1)], dim=1)
    meta = {"box_type_3d": LiDARInstance3DBoxes, "box_mode_3d": 0, "pcd_scale_factor": 1.0, "sample_idx": 0}
    with torch.no_grad():
        features = model.extract_feat([points], [meta])
        result = model.simple_test([points], [meta])
    boxes = result[0]["boxes_3d"].tensor
    if boxes.shape[1] != 7 or len(result[0]["scores_3d"]) != len(boxes) or not bool(torch.isfinite(boxes).all()):
        raise AssertionError("boxes are not seven finite numbers each with a score")
    if not all(bool(torch.isfinite(f).all()) for f in features) or float(features[0].abs().max()) == 0:
        raise AssertionError("features are not finite or nothing but zeros")
    return {
        "model": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "boxes": len(boxes),
        "features": [list(f.shape) for f in features],
        "mmdet3d": mmdet3d.__version__,
    }


guard("mmdet3d forward", forward)
finish()
