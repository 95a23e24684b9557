"""The original's network with the goldens' parameters, built from this package's parts."""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor

import semidff.registry  # noqa: F401 (registers the package's parts)
from semidff.converters.mxnet.names import convert, targets
from semidff.models import SemiDFF
from tests.original_params import make_params
from tests.shared_data import shared

SEMANTIC = ('loss_rpn_cls', 'loss_rpn_box', 'loss_roi_cls', 'loss_roi_box')


@lru_cache(maxsize=4)
def arrays(name: str) -> dict[str, np.ndarray]:
    """All arrays of a golden file."""
    if name == 'net_golden.npz':
        repeated = {'cur_conv_feat': arrays('semi_reg_golden.npz')['cur_conv_feat']}
        return _Network(arrays('net_golden_small.npz') | repeated)
    with np.load(shared(f'golden/{name}')) as file:
        return {key: file[key] for key in file.files}


class _Network(dict):
    """Arrays of net_golden.npz; large maps are read from the whole file, which is optional."""

    def __missing__(self, key: str) -> np.ndarray:
        with np.load(shared('golden/net_golden.npz')) as file:
            self[key] = file[key]
        return self[key]


@lru_cache(maxsize=4)
def read_json(name: str) -> dict:
    """A golden json file."""
    return json.loads(shared(f'golden/{name}').read_text())


@lru_cache(maxsize=2)
def parameters(salt: str = '', parts: tuple[str, ...] | None = None) -> dict[str, Tensor]:
    """State dict of the goldens' parameters, of some parts or of all."""
    spec = read_json('params_spec.json')
    if parts is None:
        return convert(make_params(spec, salt))
    names = targets(parts)
    return convert(make_params(spec, salt, only=names.__contains__), parts)


@lru_cache(maxsize=1)
def stage_two() -> Config:
    """The config of stage two with the original's conventions."""
    root = Path(__file__).resolve().parents[2]
    name = 'semi-dff_r101-original_imagenet-det-vid.py'
    return Config.fromfile(root / 'configs' / 'semi_dff' / name)


def config() -> ConfigDict:
    """The model of the config."""
    return stage_two().model


def enter_step(model: SemiDFF, name: str) -> None:
    """Enters a step of the config, ``reg`` or ``sem``."""
    [step] = [step for step in stage_two().train_cfg.steps if step.name == name]
    model.set_objectives(step.objectives, step.trainable)


def head(name: str) -> torch.nn.Module:
    """``rpn_head`` or ``roi_head`` of the config, with random weights."""
    init_default_scope('mmdet')
    detector = config().detector
    key = name.removesuffix('_head').replace('roi', 'rcnn')
    settings = dict(train_cfg=detector.train_cfg[key], test_cfg=detector.test_cfg[key])
    return MODELS.build(ConfigDict(detector[name], **settings))


def build() -> SemiDFF:
    """The network with the goldens' parameters, teacher and student alike, in training mode."""
    init_default_scope('mmdet')
    model = MODELS.build(config())
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
    meta = dict(img_shape=shape, pad_shape=shape, batch_input_shape=shape)
    scale = float(arrays('net_golden.npz')['im_scale'])
    meta.update(ori_shape=tuple(round(side / scale) for side in shape), scale_factor=(scale, scale))
    return DetDataSample(metainfo=dict(meta, frame_id=5, key_frame_id=5 if same else 0))


def give_proposals(model: SemiDFF, *rois: np.ndarray) -> None:
    """Makes the teacher pool given RoIs (R, 5), one array per image."""
    given = [InstanceData(bboxes=torch.as_tensor(np.asarray(r))[:, 1:]) for r in rois]
    model.teacher.spatial.heads.proposals = lambda *_: given


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
    """Parameters that learn by the original's names, with their channel orders."""
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


def in_original_classes(scores: Tensor) -> Tensor:
    """Background first."""
    return scores.detach().roll(1, dims=1)


def in_original_scores(maps: Tensor) -> Tensor:
    """RPN scores (1, 18, H, W): the background of all anchors, then their foreground."""
    return maps.detach().unflatten(1, (9, 2)).transpose(1, 2).flip(1).flatten(1, 2)


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
