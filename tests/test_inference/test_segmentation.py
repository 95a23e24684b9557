"""Segmentation of videos, from generated label maps to mIoU."""

import importlib
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from PIL import Image

from semidff.checkpoints.building import build_video_detector
from semidff.datasets import LoadLabelMap
from semidff.evaluation import VideoIoUMetric
from semidff.inference import MethodError
from semidff.synthetic.build import build_dataset
from semidff.synthetic.objects import SEGMENTATION_CLASSES
from semidff.synthetic.presets import PRESETS
from semidff.utils.error_messages import ConfigError
from tests.tiny.models import awake, build, segmentor, temporal
from tests.tiny.stages import frame_of, live, stages

COUNT = len(SEGMENTATION_CLASSES)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    pytest.importorskip('mmseg', reason='needs the extra segmentation')
    folder = tmp_path_factory.mktemp('data')
    spec = replace(
        PRESETS['tiny'], stills=0, videos=1, video_length=5, train=1, val=1, dev=0, flow=0
    )
    build_dataset(folder, replace(spec, eval_length=7, label_maps=1, seed=1))
    return folder


def network():
    return dict(type='VideoDetector', detector=segmentor(num_classes=COUNT), temporal=temporal())


@pytest.fixture(scope='module')
def model(root):
    model = build(network())
    awake(model)
    return model.eval()


def dataset(root, split, **kwargs):
    importlib.import_module('semidff.utils.mmseg_extra')
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadLabelMap')]
    steps.append(dict(type='PackVideoFrame', packer='mmseg.PackSegInputs'))
    prefix = dict(img=f'{split}/', seg=f'{split}_labels/')
    own = dict(type='CocoVIDDataset', data_root=str(root), ann_file=f'{split}_labels.json')
    return DATASETS.build(dict(own, data_prefix=prefix, pipeline=steps, **kwargs))


@pytest.fixture(scope='module')
def batches(root):
    found = dataset(root, 'val', test_mode=True)
    return [pseudo_collate([found[index]]) for index in range(len(found))]


def labels(result):
    return result.pred_sem_seg.data


@pytest.fixture(scope='module')
def dense(model, batches):
    return live(stages(model, 'frame'), batches)


def test_methods(model, batches, dense):
    found = {
        method: live(stages(model, method, key_interval=3), batches)
        for method in ('copy', 'propagate', 'centered', 'sff-fast')
    }
    for method, results in found.items():
        assert [r.frame_id for r in results] == list(range(7))
        assert [r.is_key_frame for r in results] == [i % 3 == 0 for i in range(7)]
        for index, result in enumerate(results):
            expected = dense[index - index % 3 if method == 'copy' else index]
            if method == 'copy' or result.is_key_frame:
                assert torch.equal(labels(result), labels(expected))
    with torch.no_grad():
        key, current = (model.data_preprocessor(batches[index]) for index in (3, 5))
        images = [model.temporal.prepare(data['inputs']) for data in (key, current)]
        features = model.temporal(*images, model.extract_feat(key['inputs']))
        own = model.spatial.predict(features, current['data_samples'])
    assert torch.equal(labels(found['propagate'][5]), labels(own[0]))
    assert not torch.equal(labels(found['propagate'][5]), labels(dense[5]))
    with pytest.raises(MethodError, match=r"'track' moves boxes.*predicts pred_sem_seg"):
        stages(model, 'track')
    with pytest.raises(MethodError, match='the filter tracks boxes.*pred_sem_seg'):
        stages(model, 'copy', filter='causal')


def test_miou_is_that_of_mmsegmentation(model, batches, dense):
    from mmseg.evaluation import IoUMetric

    def evaluate(metric, results):
        metric.dataset_meta = dict(classes=SEGMENTATION_CLASSES)
        metric.process(None, [result.to_dict() for result in results])
        return metric.evaluate(len(results))

    ours, theirs = evaluate(VideoIoUMetric(), dense), evaluate(IoUMetric(), dense)
    assert {k: round(100 * ours[f'seg/{k}'], 2) for k in theirs} == pytest.approx(theirs, abs=0.006)
    assert 0 < ours['seg/mIoU'] < 1
    pairs = list(stages(model, 'propagate', 3).run_pairs(map(frame_of, batches)))
    assert len(pairs) == 7 * 3
    found = evaluate(VideoIoUMetric(), pairs)
    alone = [
        evaluate(VideoIoUMetric(), [r for r in pairs if r.key_distance == d]) for d in range(3)
    ]
    each = [metrics['seg/mIoU'] for metrics in alone]
    assert each[0] == ours['seg/mIoU'] and len(set(each)) == 3
    assert found['seg/mIoU'] == pytest.approx(np.mean(each))
    assert [found[f'seg/mIoU_at/{d}'] for d in range(3)] == each
    some = [r.clone() for r in dense]
    for result in some[1:]:
        result.set_metainfo(dict(is_labeled=False))
    assert evaluate(VideoIoUMetric(), some) == evaluate(VideoIoUMetric(), dense[:1])


def test_labels_of_pairs(root):
    loading = [dict(type='LoadImageFromFile'), dict(type='LoadLabelMap')]
    steps = [dict(type='TransformBroadcaster', transforms=loading)]
    steps.append(dict(type='PackFramePair', packer='mmseg.PackSegInputs'))
    interval = dict(type='UniformInterval', low=2, high=2)
    own = dict(type='LabeledPairDataset', interval=interval, pipeline=steps)
    pairs = DATASETS.build(dict(own, dataset=dataset(root, 'train')))
    pair = pairs[1]
    sample = pair['data_samples']
    assert (sample.key_frame_id, sample.frame_id) == (1, 3) and pair['inputs'].shape[0] == 2
    expected = cv2.imread(str(root / 'train_labels/000/000003.png'), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(sample.gt_sem_seg.data[0], expected)


def test_video_files(root, tmp_path):
    from semidff.apis import VideoInferencer, detect_archive

    steps = [dict(type=name) for name in ('LoadImageFromFile', 'LoadLabelMap')]
    steps.append(dict(type='mmseg.PackSegInputs'))
    data = dict(metainfo=dict(classes=SEGMENTATION_CLASSES), pipeline=steps)
    config = Config(dict(model=network(), test_dataloader=dict(dataset=data)))
    inferencer = VideoInferencer(config, device='cpu', key_interval=3, show_progress=False)
    video, out = root / 'videos/0000.mp4', tmp_path / 'labels'
    results = list(inferencer(video, out_video=tmp_path / 'a.mp4', out_labels=out))
    assert len(results) == 5
    for index, result in enumerate(results):
        written = np.array(Image.open(out / f'0000/{index:06d}.png'))
        assert np.array_equal(written, labels(result)[0])
    assert cv2.VideoCapture(str(tmp_path / 'a.mp4')).get(cv2.CAP_PROP_FRAME_COUNT) == 5
    with pytest.raises(ValueError, match=r'predicts label maps; use out_labels'):
        inferencer(video, out_json=tmp_path / 'a.json')
    (tmp_path / 'archive/0000.mp4.labels/0000').mkdir(parents=True)
    (tmp_path / 'archive/.records').mkdir()
    (tmp_path / 'archive/0000.mp4.labels/0000/000000.png').touch()  # of a process that was killed
    config.dump(tmp_path / 'config.py')
    torch.save(dict(state_dict=inferencer.model.state_dict()), tmp_path / 'weights.pth')
    files = root / 'videos', tmp_path / 'archive', tmp_path / 'config.py', tmp_path / 'weights.pth'
    summary = detect_archive(*files, draw=False, device='cpu', key_interval=3)
    assert (summary['done'], summary['frames'], summary['failed']) == (1, 5, {})
    for file in out.rglob('*.png'):
        again = tmp_path / 'archive/0000.mp4.labels' / file.relative_to(out)
        assert again.read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (np.zeros((4, 6), np.uint8), r'is \(4, 6\), but a label map of its frame is \(4, 8\)'),
        (np.zeros((4, 8, 3), np.uint8), r'is \(4, 8, 3\), but a label map'),
        (np.full((4, 8), 259, np.uint16), 'has the label 259'),
        (np.full((4, 8), 3, np.uint8), 'has the label 3, but the classes are numbered 0 to 2'),
    ],
)
def test_bad_label_maps(tmp_path, content, message):
    path = tmp_path / 'a.png'
    Image.fromarray(content).save(path)
    results = dict(seg_map_path=str(path), ori_shape=(4, 8), num_classes=3)
    with pytest.raises(ValueError, match=message):
        LoadLabelMap()(results)
    unlabeled = LoadLabelMap()(dict(results, is_labeled=False))
    assert np.all(unlabeled['gt_seg_map'] == 255)


def test_without_mmsegmentation(monkeypatch):
    init_default_scope('mmdet')
    monkeypatch.setitem(sys.modules, 'mmseg', None)
    monkeypatch.delitem(sys.modules, 'mmseg.datasets', raising=False)
    monkeypatch.delitem(sys.modules, 'semidff.utils.mmseg_extra', raising=False)
    named = 'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
    for detector, words in ((segmentor(), "the extra 'segmentation'"), (named, 'not installed')):
        with pytest.raises(ConfigError, match=words):
            MODELS.build(dict(type='VideoDetector', detector=detector))
    with pytest.raises(ConfigError, match="the extra 'segmentation'"):
        VideoIoUMetric()
    config = 'configs/quickstart/segmentation/two_step_synthetic.py'
    with pytest.raises(ConfigError, match="the extra 'segmentation'"):
        build_video_detector(config)
