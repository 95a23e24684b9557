"""Every config under configs/ gives a model, and the settings of the papers; that needs no data."""

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet import registry
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

import semidff.registry  # noqa: F401 (registers the package's parts)
from semidff.models import SemiDFF, VideoDetector
from semidff.utils.command_line import parse_settings
from tests.config_files import CONFIGS, ROOT, commands_of, load, trainings

register_all_modules()


@pytest.fixture(autouse=True)
def _scope():
    """Names are looked up in mmdet's registries, whatever another test has set."""
    init_default_scope('mmdet')


def build(cfg: Config, device: str = 'meta') -> torch.nn.Module:
    """Build the config's model, by default without storage for its weights, which is cheap."""
    with torch.device(device):
        return registry.MODELS.build(cfg.model)


def check_optimization(model: torch.nn.Module, settings: dict) -> None:
    """The optimizer can be made; the scale field's bias stays where it is."""
    optimizer = build_optim_wrapper(model, settings['optim_wrapper']).optimizer
    rmsprop = settings['optim_wrapper']['optimizer']['type'] == 'RMSpropMX'
    if rmsprop and hasattr(model.temporal, 'scale'):
        rates = {id(group['params'][0]): group['lr'] for group in optimizer.param_groups}
        assert rates[id(model.temporal.scale.bias)] == 0
        assert rates[id(model.temporal.scale.weight)] == 5e-5


@pytest.mark.parametrize('name', trainings())
def test_model_is_built(name):
    cfg = load(name)
    # The semantic step runs the heads once; mmdet's proposals and SSD's anchors need values.
    values = name.startswith(('quickstart/', 'one_stage/ssd300_semi-dff'))
    model = build(cfg, 'cpu' if values else 'meta')
    assert any(parameter.requires_grad for parameter in model.parameters())
    for part in (cfg.get('load_parts') or {}).values():
        assert model.get_submodule(part.part) is not None
    if isinstance(model, VideoDetector):
        assert not [
            name for name, _ in model.named_parameters() if 'teacher' in name and 'backbone' in name
        ]
    if isinstance(model, SemiDFF):
        features = [p for module in model.part('feature_network') for p in module.parameters()]
        assert not any(parameter.requires_grad for parameter in features)
    for step in (cfg.get('train_cfg') or {}).get('steps', []):
        model.set_objectives(step.objectives, step.trainable)
        check_optimization(model, {**cfg, **step})
    if cfg.get('train_cfg') and 'steps' not in cfg.train_cfg:  # without: only tested
        check_optimization(model, cfg)


@pytest.fixture(scope='module', params=['imagenet', 'quickstart'])
def tables(request):
    """Configs of the trainings of an experiment with the papers' tables, one seed, by name."""
    trainings = commands_of(f'configs/{request.param}/tables.mk')
    return {name: changed(*training) for name, training in trainings.items()}


def changed(path: str, pairs: list[str]) -> Config:
    """Return a config with settings of a command, which must exist."""
    cfg, options = Config.fromfile(ROOT / path), parse_settings(pairs)
    for key in options:
        place = cfg  # of the setting, which may be one with a default
        for part in key.split('.')[:-1]:
            place = place[int(part)] if isinstance(place, list) else place[part]
    cfg.merge_from_dict(options)
    return cfg


@pytest.mark.parametrize(
    'file',
    [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / 'configs').glob('*/*.mk'))  # curve.mk trains nothing
        if '_base_' not in path.parts
    ],
)
def test_experiments_change_settings_that_exist(file, monkeypatch):
    monkeypatch.chdir(ROOT)
    trainings = commands_of(file)
    assert trainings
    for path, pairs in trainings.values():
        if path.removeprefix('configs/') in CONFIGS:  # some need mmsegmentation
            assert changed(path, pairs).train_cfg


def test_ablations_change_one_setting(tables):
    """Rows of semi-DFF's Tables 3b to 3f against the row that they are compared with."""
    rows = {
        'l1': dict(norm='l1'),
        'classes': dict(attention=False, boxes=False),
        'classes-attention': dict(boxes=False),
        'classes-boxes': dict(attention=False),
        't2': dict(temperature=2),
        't4': dict(temperature=4),
        't10': dict(temperature=10),
        't-inf': dict(temperature='inf'),
        'temporal': dict(trainable=['temporal']),
        'temporal-spatial': dict(trainable=['temporal', 'task_network', 'feature_network']),
    }
    reg, _ = tables['two_step'].train_cfg.steps
    [sem] = tables['sem'].train_cfg.steps
    assert tables['steady'].train_cfg.steps[0].objectives == [dict(type='SteadyFeatures')]
    assert tables['steady'].train_dataloader.dataset.dataset.triplets
    for row, changes in rows.items():
        wanted = copy.deepcopy(reg if row == 'l1' else sem)
        (wanted if 'trainable' in changes else wanted.objectives[0]).update(changes)
        cfg = Config(dict(train_cfg=tables[row].train_cfg))
        assert cfg.train_cfg.steps == [wanted]
        assert Config.fromstring(cfg.dump(), '.py').train_cfg == cfg.train_cfg
    [joint] = tables['joint'].train_cfg.steps
    assert joint == dict(sem, name='joint', objectives=reg.objectives + sem.objectives)


def test_tables_with_the_backbone_of_the_papers():
    """Their options make the models of the configs with ``-caffe``, all with one normalization."""
    steps = commands_of('configs/imagenet/tables_caffe.mk')
    names = 'flow', 'vid_rfcn', 'vid_dff', 'sem', 'ssd'
    found = {name: changed(*steps[name]) for name in names}
    assert found['vid_rfcn'].model == load('rfcn/rfcn_r101-caffe_imagenet-det-vid.py').model
    stage_two = load('semi_dff/semi-dff_r101-caffe_imagenet-det-vid.py').model
    assert found['sem'].model == stage_two
    assert found['vid_dff'].model.detector.backbone == found['vid_rfcn'].model.backbone
    pixels = found['vid_rfcn'].model.data_preprocessor
    assert found['flow'].model.data_preprocessor == pixels
    assert found['vid_dff'].model.detector.data_preprocessor == pixels
    assert found['flow'].model.temporal.flow_network == stage_two.temporal.flow_network
    assert found['ssd'].model == load('one_stage/ssd300_imagenet-det.py').model


def test_full_size_rfcn_is_the_papers():
    """Channels, strides and learning parts of the default detector, on a small image."""
    detector = registry.MODELS.build(load('rfcn/rfcn_r101_imagenet-det.py').model).eval()
    with torch.no_grad():
        (features,) = detector.extract_feat(torch.rand(1, 3, 70, 100))
        scores, deltas = detector.rpn_head((features,))
    assert features.shape == (1, 1024, 5, 7)  # ceil(70 / 16), ceil(100 / 16)
    assert scores[0].shape == (1, 18, 5, 7)
    assert deltas[0].shape == (1, 36, 5, 7)
    head = detector.roi_head.bbox_head
    assert head.conv_cls.out_channels == 7 * 7 * 31
    assert head.conv_reg.out_channels == 7 * 7 * 4
    learns = {name for name, p in detector.named_parameters() if p.requires_grad}
    assert {'backbone.layer2.0.conv1.weight', 'backbone.layer4.2.bn3.weight'} <= learns
    frozen = ('backbone.conv1', 'backbone.bn1', 'backbone.layer1')
    assert not any(name.startswith(frozen) for name in learns)
    anchors = detector.rpn_head.prior_generator.base_anchors[0]
    torch.testing.assert_close((anchors[:, :2] + anchors[:, 2:]) / 2, torch.full((9, 2), 8.0))


def test_stage_two_takes_its_detector_from_stage_one():
    """The checkpoint that stage two names is the one that the stage-one config writes."""
    compared = set()  # many configs have the same models
    for name in CONFIGS:
        if not name.startswith('semi_dff/'):
            continue
        cfg = load(name)
        checkpoint = Path(cfg.load_parts.detector.checkpoint)
        stage_one = load(f'rfcn/{checkpoint.parent.name}.py')
        assert checkpoint == Path('work_dirs', checkpoint.parent.name, 'last.pth')
        assert stage_one.model.data_preprocessor == cfg.model.detector.data_preprocessor
        models = str(stage_one.model), str(cfg.model)
        if models not in compared:
            detector, student = build(stage_one), build(cfg)
            assert detector.state_dict().keys() == student.spatial.detector.state_dict().keys()
            compared.add(models)


@pytest.mark.parametrize('suffix', ['', '-original'])
def test_settings_of_the_steps_are_the_authors(suffix):
    """Intervals, listed frames and the weight of a RoI's box outputs."""
    cfg = load(f'semi_dff/semi-dff_r101{suffix}_imagenet-det-vid.py')
    reg, sem = cfg.train_cfg.steps
    pairs = cfg.train_dataloader.dataset.dataset
    assert (pairs.lists, pairs.clip_interval, pairs.interval.low, pairs.interval.high) == (
        'frames', True, 1, 9,
    )  # fmt: skip
    assert 'train_dataloader' not in reg
    assert sem.train_dataloader == dict(dataset=dict(dataset=dict(interval=dict(low=0))))
    outputs = 4 * cfg.model.detector.roi_head.bbox_head.get('box_groups', 1)
    assert sem.objectives[0].roi_box_weight == outputs / 8
    alone = load(f'semi_dff/semi-dff_r101{suffix}_imagenet-det{"-vid" * bool(suffix)}_reg.py')
    assert alone.train_cfg.steps == [reg]
    assert alone.train_dataloader == cfg.train_dataloader


ONE_DROP = 'SGD', 1e-3, 'train_cfg.max_iters'
TWO_STEPS = 'RMSpropMX', 5e-5, 'train_cfg.steps.0.iters', 'train_cfg.steps.1.iters'


@pytest.mark.parametrize(
    ('name', 'kind', 'iters', 'milestones'),
    [  # the authors' configs; DFF 5.1; FlowNet 5.1
        ('rfcn/rfcn_r101_imagenet-det', ONE_DROP, 53_639, [35_750]),
        ('rfcn/rfcn_r101_imagenet-det-vid', ONE_DROP, 111_473, [74_297]),
        ('dff/dff_r101_imagenet-det-vid', ONE_DROP, 111_473, [74_297]),
        ('rfcn/rfcn_r101_imagenet-det-vid-2to1', ONE_DROP, 60_000, [40_000]),
        ('dff/dff_r101_imagenet-det-vid-2to1', ONE_DROP, 60_000, [40_000]),
        ('cityscapes/fcn_r101_cityscapes', ONE_DROP, 20_000, [15_000]),
        ('cityscapes/dff_r101_cityscapes', ONE_DROP, 20_000, [15_000]),
        ('semi_dff/semi-dff_r101_imagenet-det', TWO_STEPS, 57_834, None),
        ('semi_dff/semi-dff_r101_videos', TWO_STEPS, 57_834, None),
        ('semi_dff/semi-dff_r101_imagenet-det-vid_plus', TWO_STEPS, 3 * 57_834, None),
        ('flow/flownet-s_flying-chairs', ('Adam', 1e-4, ONE_DROP[2]), 600_000,
         [300_000, 400_000, 500_000]),
    ],
)  # fmt: skip
def test_schedules_are_those_of_the_papers(name, kind, iters, milestones):
    if f'{name}.py' not in CONFIGS:
        pytest.skip('needs mmsegmentation')
    cfg = load(f'{name}.py')
    optimizer, (kind, rate, *lengths) = cfg.optim_wrapper.optimizer, kind
    assert (optimizer.type, optimizer.lr) == (kind, rate)
    for key in lengths:
        place = cfg
        for part in key.split('.'):
            place = place[int(part)] if isinstance(place, list) else place[part]
        assert place == iters
    assert [s.milestones for s in cfg.get('param_scheduler') or []] == [milestones] * bool(
        milestones
    )


@pytest.mark.parametrize(('suffix', 'height'), [('', 563), ('-original', 562)])
def test_pairs_of_stage_two(suffix, height, tmp_path):
    """Two snippets in the layout of ImageNet VID; 720 x 1280 pixels, scaled to a width of 1000."""
    listed = tmp_path / 'frames.txt'
    listed.write_text('train/a 1 2 4\ntrain/a 1 0 4\ntrain/b 1 3 4\n')
    for snippet in ('a', 'b'):
        folder = tmp_path / 'train' / snippet
        folder.mkdir(parents=True)
        for i in range(4):
            picture = np.full((720, 1280, 3), 10 * i, np.uint8)
            picture[:, :640] += 100
            cv2.imwrite(str(folder / f'{i:06d}.JPEG'), picture)
    cfg = load(f'semi_dff/semi-dff_r101{suffix}_imagenet-det-vid.py')
    cfg.train_dataloader.dataset.dataset.update(ann_file=str(listed), data_prefix=str(tmp_path))
    lowest = {}
    for step in cfg.train_cfg.steps:
        data = Config(dict(train_dataloader=cfg.train_dataloader))
        data.merge_from_dict(dict(train_dataloader=step.get('train_dataloader', {})))
        stream = registry.DATASETS.build(data.train_dataloader.dataset)
        drawn = [stream[0, counter] for counter in range(30)]
        samples = [s['data_samples'] for s in drawn]
        lowest[step.name] = min(s.frame_id - s.key_frame_id for s in samples)
        assert {s.frame_id for s in samples} == {0 if step.name == 'sem' else 1, 2, 3}
        shapes = {frame.shape for s in drawn for frame in s['inputs']}
        assert shapes == {(3, height, 1000)}
        sides = [[(f[:, :, 0] > f[:, :, -1]).all().item() for f in s['inputs']] for s in drawn]
        assert all(key == current for key, current in sides)
        assert {key for key, _ in sides} == {True, False}
    assert lowest == dict(reg=1, sem=0)
