"""The original's network with the goldens' parameters, built from this package's parts."""

import importlib.util
import json
from functools import lru_cache

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor

import semidff  # noqa: F401  (registers the parts)
from semidff.converters.mxnet_names import convert, targets
from semidff.models import SemiDFF
from tests.shared_data import shared

SEMANTIC = ('loss_rpn_cls', 'loss_rpn_box', 'loss_roi_cls', 'loss_roi_box')


@lru_cache(maxsize=4)
def arrays(name: str) -> dict[str, np.ndarray]:
    """All arrays of a golden file."""
    with np.load(shared(f'golden/{name}')) as file:
        return {key: file[key] for key in file.files}


@lru_cache(maxsize=4)
def read_json(name: str) -> dict:
    """A golden json file."""
    return json.loads(shared(f'golden/{name}').read_text())


def parameters(salt: str = '', parts: tuple[str, ...] | None = None) -> dict[str, Tensor]:
    """State dict of the goldens' parameters, of some parts or of all."""
    path = shared('golden/make_params.py')
    spec = importlib.util.spec_from_file_location('make_params', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    table = module.load_spec(shared('golden/params_spec.json'))
    if parts is None:
        return convert(module.make_params(table, salt))
    names = targets(parts)
    return convert(module.make_params(table, salt, only=names.__contains__), parts)


def config() -> dict:
    """SemiDFF as the authors have it."""
    l1 = dict(type='SmoothL1Loss', loss_weight=1.0)
    rpn = dict(
        type='RFCNRPNHead',
        in_channels=512,
        anchor_generator=dict(
            type='AnchorGenerator',
            base_sizes=[16],
            scales=[8, 16, 32],
            ratios=[0.5, 1, 2],
            strides=[16],
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.4, 0.4]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
        loss_bbox=l1,
    )
    head = dict(
        type='RFCNBBoxHead',
        box_groups=2,
        pooling=dict(type='ExactPSRoIPool', spatial_scale=1 / 16),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(type='CrossEntropyLoss'),
        loss_bbox=l1,
    )
    nms = dict(type='nms', iou_threshold=0.7)
    detector = dict(
        type='RFCN',
        backbone=dict(
            type='ResNet',
            depth=101,
            strides=(1, 2, 2, 1),
            dilations=(1, 1, 1, 2),
            out_indices=(3,),
            norm_eval=True,
            style='caffe',
        ),
        neck=dict(type='RFCNNeck'),
        rpn_head=rpn,
        roi_head=dict(type='RFCNRoIHead', bbox_head=head),
        test_cfg=dict(
            rpn=dict(nms_pre=6000, max_per_img=300, nms=nms, min_bbox_size=0),
            rcnn=dict(score_thr=1e-4, nms=dict(type='nms', iou_threshold=0.3), max_per_img=300),
        ),
    )
    temporal = dict(type='TemporalModule', flow_network=dict(type='FlowNetS'))
    return dict(type='SemiDFF', detector=detector, temporal=temporal)


def build() -> SemiDFF:
    """The network with the goldens' parameters, teacher and student alike, in training mode."""
    init_default_scope('mmdet')
    model = MODELS.build(ConfigDict(config()))
    load(model, parameters())
    model.reset_teacher()
    return model.train()


def load(model: SemiDFF, state: dict[str, Tensor]) -> None:
    """Loads a part's state dict; every key of it must be known."""
    unknown = model.load_state_dict(state, strict=False).unexpected_keys
    assert not unknown, unknown


def pair(mirrored: bool = False) -> tuple[Tensor, Tensor]:
    """The goldens' network inputs, key frame and current frame, (3, H, W) each."""
    golden = arrays('net_golden.npz')
    frames = (torch.from_numpy(golden[name][0]) for name in ('data_key', 'data_cur'))
    key, current = (frame.flip(-1) if mirrored else frame for frame in frames)
    return key, current


def sample(same: bool = False) -> DetDataSample:
    """The data sample of a pair; ``same`` is the original's eq_flag."""
    height, width = arrays('net_golden.npz')['im_info'][0, :2].astype(int)
    shape = (int(height), int(width))
    meta = dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0), frame_id=5)
    return DetDataSample(metainfo=dict(meta, key_frame_id=5 if same else 0))


def give_proposals(model: SemiDFF, *rois: np.ndarray) -> None:
    """Makes the teacher pool given RoIs (R, 5), one array per image."""
    given = [InstanceData(bboxes=torch.as_tensor(np.asarray(r))[:, 1:]) for r in rois]
    model.teacher.proposals = lambda features, samples: given


class Recorder:
    """An objective that keeps what it is asked to compare."""

    def __call__(self, batch) -> dict:
        self.batch = batch
        return dict(loss=batch.propagated[0].sum() * 0)


def compared(model: SemiDFF, same: bool = False, pairs: list | None = None):
    """What the objectives compare on a pair, by way of the model's own loss."""
    recorder = Recorder()
    model.objectives = [recorder]
    inputs = torch.stack([torch.stack(p) for p in (pairs or [pair()])])
    model.loss(inputs, [sample(same) for _ in inputs])
    return recorder.batch


def student(model: SemiDFF) -> dict[str, tuple[torch.nn.Parameter, np.ndarray | None]]:
    """Parameters of temporal module and task network by the original's names, with their channel orders."""
    own = dict(model.named_parameters())
    parts = targets(('temporal', 'task_network'))
    return {name: (own[target.key], target.order) for name, target in parts.items()}


def in_original_order(value: Tensor, order: np.ndarray | None) -> np.ndarray:
    """Undoes the converter's channel order."""
    array = value.detach().numpy()
    if order is None:
        return array
    original = np.empty_like(array)
    original[order] = array
    return original


def relative(value, golden) -> float:
    """Largest difference, relative to the largest value of the golden."""
    value, golden = (np.asarray(v, dtype=np.float64) for v in (value, golden))
    assert value.shape == golden.shape, (value.shape, golden.shape)
    return float(np.abs(value - golden).max() / max(np.abs(golden).max(), 1e-30))


def norm(array: np.ndarray) -> float:
    """Euclidean norm; millions of squares want double precision."""
    return float(torch.linalg.vector_norm(torch.from_numpy(array), dtype=torch.float64))


def probes(array: np.ndarray) -> np.ndarray:
    """The 16 values that the goldens keep of an array."""
    flat = array.reshape(-1)
    return flat[np.linspace(0, flat.size - 1, 16).astype(int)]
