"""Image detectors by name: the configs of the installed mmdet, without a download."""

import pytest
import torch
from mmdet.apis import DetInferencer
from mmengine.config import Config
from mmengine.registry import init_default_scope

from semidff.checkpoints.detectors import (
    published_weights,
    read_detector,
    read_model,
    resolve_detector,
)
from semidff.models import SpatialModule
from semidff.utils.configs import read_config
from semidff.utils.error_messages import ConfigError
from tests.tiny.models import frames, retinanet, samples
from tests.tiny.videos import detector_cfg

TINY = 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
WEIGHTS = 'rtmdet_tiny_8xb32-300e_coco_20220902_112414-78e30dcc.pth'


@pytest.fixture(scope='module')
def original() -> tuple[dict, str]:
    """The model and the checkpoint's address that mmdet's DetInferencer finds by the name."""
    inferencer = DetInferencer.__new__(DetInferencer)
    inferencer.scope = 'mmdet'
    config, url = inferencer._load_model_from_metafile('rtmdet-t')
    return config.model.to_dict(), url


@pytest.mark.parametrize(
    'name', [f'mmdet::{TINY}', 'rtmdet-t', 'RTMDet_tiny_8xb32-300e_coco'], ids=str
)
def test_names_of_stock_models(name, original, recwarn):
    model, url = original
    found = read_detector(name, warn=True).model.to_dict()
    assert model['backbone'].pop('init_cfg')['type'] == 'Pretrained'
    assert found['backbone'].pop('init_cfg') is None and found == model
    model['backbone']['init_cfg'] = dict(type='Pretrained')
    (message,) = (str(w.message) for w in recwarn if 'random weights' in str(w.message))
    assert url.endswith(WEIGHTS) and message.endswith(f'set checkpoint to a file or to {url}')
    assert published_weights(name) == url


@pytest.mark.parametrize(
    'name', ['{}', '{}.py', 'mmdet::{}', 'mmdet::{}.py', 'yolox/{}.py', 'configs/yolox/{}.py']
)
def test_configs_that_the_index_lacks_are_found_by_their_names(name):
    stem = 'yolox_nano_8xb8-300e_coco'
    config = read_model(name.format(stem), {'model.bbox_head.num_classes': 3})
    assert config.filename.endswith(f'yolox/{stem}.py') and config.model.bbox_head.num_classes == 3


def test_frames_normalized_in_the_pipeline_are_refused(tmp_path):
    step = dict(type='mmcv.Normalize', mean=[123.0] * 3, std=[58.0] * 3, to_rgb=True)
    data = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile'), step]))
    image = dict(model=dict(retinanet(), data_preprocessor=dict(type='DetDataPreprocessor')))
    path = tmp_path / 'ported.py'
    Config(dict(image, test_dataloader=data)).dump(path)
    message = 'test_dataloader.dataset.pipeline.1 normalizes .*move mean and std to model.data_pre'
    with pytest.raises(ConfigError, match=f'ported.py: {message}'):
        read_detector(str(path), warn=False)
    video = dict(type='SemiDFF', detector=image['model'], temporal=dict(type='TemporalModule'))
    with pytest.raises(ConfigError, match=message):
        resolve_detector(Config(dict(model=video, test_dataloader=data)), keep_checkpoint=False)
    resolve_detector(Config(dict(image, test_dataloader=data)), keep_checkpoint=False)


def test_a_config_with_a_named_detector_becomes_whole(tmp_path, recwarn):
    preprocessor = detector_cfg()['data_preprocessor']
    model = {key: value for key, value in detector_cfg().items() if key != 'data_preprocessor'}
    heads = [
        dict(type='Normal', std=0.01, layer='Conv2d'),
        dict(type='Pretrained', checkpoint='a.pth'),
    ]
    dataset = dict(type='CocoDataset', metainfo=dict(classes=('a', 'b')), pipeline=[dict(type='P')])
    Config(
        dict(
            default_scope='other',
            custom_imports=dict(imports='colorsys'),
            data_preprocessor=preprocessor,
            model=dict(model, neck=dict(model['neck'], init_cfg=heads)),
            test_dataloader=dict(dataset=dataset),
        )
    ).dump(tmp_path / 'own.py')
    config = Config(dict(model=dict(type='SemiDFF', detector=str(tmp_path / 'own.py'))))
    config.custom_imports = dict(imports=['semidff.registry'])
    resolve_detector(config, keep_checkpoint=True)
    assert config.custom_imports.imports == ['colorsys', 'semidff.registry']
    found = config.model.detector.to_dict()
    assert found['neck'].pop('init_cfg') == heads[:1]
    assert found == dict(model, data_preprocessor=preprocessor, _scope_='other')
    scoped = dict(dataset, pipeline=[dict(type='P', _scope_='other')], _scope_='other')
    assert config.detector_dataset.to_dict() == scoped
    assert [str(w.message) for w in recwarn if 'random weights' in str(w.message)] == [
        f"detector='{tmp_path / 'own.py'}' has random weights; set checkpoint"
    ]


def test_pure_python_configs(tmp_path):
    file = tmp_path / 'own.py'
    file.write_text(f"""
from mmcv.ops import nms
from mmdet.models import DetDataPreprocessor, RetinaNet
from mmengine.model import PretrainedInit

model = {retinanet()}
model['type'] = RetinaNet
model['data_preprocessor'] = dict(type=DetDataPreprocessor)
model['backbone']['init_cfg'] = dict(type=PretrainedInit, checkpoint='torchvision://resnet18')
model['test_cfg']['nms'] = dict(type=nms, iou_threshold=0.3)
""")
    config = Config(dict(model=dict(type='SemiDFF', detector=str(file))))
    resolve_detector(config, keep_checkpoint=False)
    config.dump(tmp_path / 'whole.py')
    whole = read_config(tmp_path / 'whole.py')
    assert whole.model.detector.backbone.init_cfg is None
    init_default_scope('mmdet')
    spatial = SpatialModule(whole.model.detector).eval()
    with torch.no_grad():
        (found,) = spatial.predict(spatial.features(frames(1)), samples(1))
    assert len(found.pred_instances)


def test_a_teacher_is_built_from_the_config_of_mmdet_without_a_download():
    """Distilled detectors (LD); ``teacher_config`` is relative to mmdet's repository."""
    model = read_detector('mmdet::ld/ld_r18-gflv1-r101_fpn_1x_coco.py', warn=False).model
    teacher = model.teacher_config.model
    assert 'teacher_ckpt' not in model and teacher.backbone.init_cfg is None
    assert (teacher.type, teacher.backbone.depth) == ('GFL', 101)


@pytest.mark.parametrize(
    ('given', 'warned'),
    [
        (dict(model=dict(checkpoint='a.pth')), False),
        (dict(load_from='a.pth'), False),
        (dict(load_parts=dict(a=dict(part='spatial.detector', checkpoint='a.pth'))), False),
        (dict(load_parts=dict(a=dict(part='spatial.detector.backbone', checkpoint='a'))), True),
    ],
)
def test_only_weights_of_the_whole_detector_need_no_warning(given, warned, recwarn):
    config = Config(dict(model=dict(type='SemiDFF', detector='rtmdet-t')))
    config.merge_from_dict(given)
    resolve_detector(config, keep_checkpoint=True)
    assert config.model.detector.type == 'RTMDet'
    assert any('random weights' in str(w.message) for w in recwarn) == warned
