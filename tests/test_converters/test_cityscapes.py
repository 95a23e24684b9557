"""Cityscapes with its snippets, in a miniature of its layout."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from semidff.converters.cityscapes import CLASS_IDS, convert_split, training_ids
from semidff.utils.error_messages import FileError
from tests.tiny.datasets import write_cityscapes
from tests.tiny.models import awake, build, segmentor, temporal
from tests.tiny.stages import frame_of, stages

CONFIG = Path(__file__).resolve().parents[2] / 'configs/cityscapes/dff_r101_cityscapes.py'


@pytest.fixture
def root(tmp_path):
    write_cityscapes(tmp_path)
    return tmp_path


def test_training_ids_are_those_of_mmsegmentation():
    assert training_ids(np.array([[0, 7, 8, 255], [33, 29, 30, 31]])).tolist() == [
        [255, 0, 1, 255], [18, 255, 255, 16],
    ]  # fmt: skip
    classes = pytest.importorskip('mmseg.datasets').CityscapesDataset.METAINFO['classes']
    assert tuple(CLASS_IDS) == classes


def test_conversion_training_and_evaluation(root):
    pytest.importorskip('mmseg', reason='needs the extra segmentation')
    from semidff.evaluation import VideoIoUMetric

    init_default_scope('mmdet')
    out = root / 'out'
    assert convert_split(root, out, 'train') == dict(snippets=2, images=20)
    convert_split(root, out, 'val')
    assert convert_split(root, out, 'val') == dict(snippets=1, images=10)  # again
    content = json.loads((out / 'train.json').read_text())
    labeled = [i['file_name'] for i in content['images'] if i['is_labeled']]
    names = ['aachen_000000_000019', 'bochum_000000_000313']
    assert labeled == [f'{name}/000019.png' for name in names]
    assert convert_split(root, root / 'whole', 'val', 19, 10) == dict(snippets=1, images=30)
    link = out / 'snippets/train/bochum_000000_000313/000000.png'
    assert link.resolve().name == 'bochum_000000_000294_leftImg8bit.png'
    assert (out / 'train.txt').read_text().split() == [f'snippets/train/{n}' for n in names]
    assert len(DATASETS.build(dict(type='UnlabeledVideoDataset', ann_file=str(out / 'train.txt'))))

    config = Config.fromfile(CONFIG)
    pairs = config.train_dataloader.dataset.dataset
    pairs.dataset.data_root = config.test_dataloader.dataset.data_root = str(out)
    assert pairs.interval == dict(type='UniformInterval', low=0, high=9)
    pairs.interval.low = 1  # the flow network learns nothing from a still pair
    pair = DATASETS.build(pairs)[0]
    sample = pair['data_samples']
    assert sample.frame_id == 19 and 10 <= sample.key_frame_id <= 18
    assert set(sample.gt_sem_seg.data.unique().tolist()) == {*range(19), 255}
    flow = temporal()
    del flow['feat_channels'], flow['feat_strides']
    network = segmentor(num_classes=19)
    model = build(dict(type='VideoDetector', detector=network, temporal=flow)).train()
    awake(model)
    batch = model.data_preprocessor(pseudo_collate([pair, pair]), training=True)
    losses = model(**batch, mode='loss')
    losses['decode.loss_ce'].backward()
    assert model.temporal.flow_network.conv1.weight.grad.any()

    frames = DATASETS.build(config.test_dataloader.dataset)
    metric = VideoIoUMetric()
    metric.dataset_meta = frames.metainfo
    batches = (frame_of(pseudo_collate([frames[index]])) for index in range(len(frames)))
    results = list(stages(model.eval(), 'propagate', 5).run_pairs(batches))
    assert [r.key_distance for r in results] == [0, 1, 2, 3, 4]
    metric.process(None, [result.to_dict() for result in results])
    found = metric.evaluate(1)
    assert found['seg/mIoU'] == pytest.approx(
        np.mean([found[f'seg/mIoU_at/{d}'] for d in range(5)])
    )


@pytest.mark.parametrize('name', ['val.json', 'val.txt'])
def test_files_of_the_user_are_kept(root, name):
    out = root / 'out'
    out.mkdir()
    (out / name).write_text('mine')
    with pytest.raises(FileError, match=f'{name}: exists already'):
        convert_split(root, out, 'val')
    (out / name).unlink()
    for _ in range(2):  # the second replaces its own results
        convert_split(root, out, 'val')
