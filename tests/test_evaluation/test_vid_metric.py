"""VIDMetric as mmengine's evaluators use it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData
from torch.multiprocessing import start_processes

from semidff.evaluation import VIDMetric, evaluate_detections_file

CLASSES = ('cat', 'dog', 'horse')


def two_videos():
    """Two videos of 12 and 8 frames; a slow cat in each, a fast dog in the first; no horse."""
    images, annotations = [], []
    for video, length in ((1, 12), (2, 8)):
        for frame in range(length):
            image = dict(id=len(images) + 1, file_name=f'v{video}/{frame:06d}.jpg')
            images.append(image | dict(width=400, height=300, video_id=video, frame_id=frame))
            objects = [(1, [10, 10, 80, 60], 0), (2, [20.0 * frame, 100, 60, 60], 1)]
            for category, bbox, track in objects[: 3 - video]:
                box = dict(id=len(annotations) + 1, image_id=image['id'], category_id=category)
                annotations.append(box | dict(bbox=bbox, instance_id=track))
    return dict(
        videos=[dict(id=1, name='v1'), dict(id=2, name='v2')],
        images=images,
        annotations=annotations,
        categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)],
    )


@pytest.fixture
def ann_file(tmp_path):
    path = tmp_path / 'val.json'
    path.write_text(json.dumps(two_videos()))
    return str(path)


def samples(seed=0, meta=('img_id', 'video_id', 'frame_id')):
    """Noisy predictions for every frame, with ties of scores."""
    content, rng = two_videos(), np.random.default_rng(seed)
    result = []
    for image in content['images']:
        boxes, labels = [], []
        for a in content['annotations']:
            if a['image_id'] == image['id']:
                x, y, w, h = a['bbox']
                for _ in range(2):
                    boxes.append(np.array([x, y, x + w, y + h]) + rng.normal(0, 8, 4))
                    labels.append(a['category_id'] - 1)
        identity = dict(image, img_id=image['id'])
        sample = DetDataSample(metainfo={key: identity[key] for key in meta})
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor(np.array(boxes), dtype=torch.float32),
            scores=torch.tensor(rng.integers(1, 9, len(boxes)) / 10, dtype=torch.float32),
            labels=torch.tensor(labels),
        )
        result.append(sample)
    return result


def evaluator(ann_file, **options):
    made = Evaluator(VIDMetric(ann_file, **options))
    made.dataset_meta = {'classes': CLASSES}
    return made


def run(ann_file, data_samples, size=20, **options):
    made = evaluator(ann_file, **options)
    for sample in data_samples:
        made.process([sample])
    return made.evaluate(size)


def same(a, b):
    return a.keys() == b.keys() and all(
        a[k] == b[k] or (math.isnan(a[k]) and math.isnan(b[k])) for k in a
    )


def test_true_boxes_give_one(ann_file):
    perfect = samples()
    for sample, image in zip(perfect, two_videos()['images'], strict=True):
        boxes = [a for a in two_videos()['annotations'] if a['image_id'] == image['id']]
        xywh = torch.tensor([a['bbox'] for a in boxes])
        sample.pred_instances = InstanceData(
            bboxes=torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1),
            scores=torch.ones(len(boxes)),
            labels=torch.tensor([a['category_id'] - 1 for a in boxes]),
        )
    result = run(ann_file, perfect)
    assert math.isnan(result.pop('vid/mAP_medium'))
    assert result.pop('vid/AP_horse') == 0
    names = ('mAP', 'mAP_slow', 'mAP_fast', 'AP_cat', 'AP_dog')
    assert result == {f'vid/{name}': 1 for name in names}
    assert run(ann_file, perfect, class_mean='imagenet')['vid/mAP'] == pytest.approx(2 / 3)


def test_labels_of_some_classes_are_matched_by_name(ann_file, log):
    """Detections of cats and horses do not count, and labels of cows are ignored."""
    expected, content = run(ann_file, samples()), two_videos()
    content['categories'] = [dict(id=n, name=name) for n, name in ((1, 'cow'), (2, 'dog'))]
    Path(ann_file).write_text(json.dumps(content))
    result = run(ann_file, samples(), class_mean='imagenet')
    assert result['vid/mAP'] == result['vid/AP_dog'] == expected['vid/AP_dog'] > 0
    assert 'vid/AP_cat' not in result and 'unknown to the detector are ignored: cow' in log.text


def test_order_and_padding_change_nothing(ann_file):
    data = samples()
    expected = run(ann_file, data)
    assert 0 < expected['vid/mAP'] < 1
    shuffled = [data[i] for i in np.random.default_rng(1).permutation(20)]
    assert same(run(ann_file, shuffled), expected)
    assert same(run(ann_file, shuffled + data[:3]), expected)


@pytest.mark.parametrize('meta', [('img_id',), ('video_id', 'frame_id')])
def test_either_identity_of_a_frame_is_enough(ann_file, meta):
    assert same(run(ann_file, samples(meta=meta)), run(ann_file, samples()))


def test_outfile_evaluates_to_the_same(ann_file, tmp_path):
    outfile = tmp_path / 'detections.txt'
    expected = run(ann_file, samples(), outfile=str(outfile))
    done = evaluate_detections_file(ann_file, outfile, tmp_path / 'result.json', mean='present')
    assert done.num_detections == sum(len(s.pred_instances) for s in samples())
    assert done.summary['mAP'] == expected['vid/mAP']
    assert done.summary['mAP_fast'] == expected['vid/mAP_fast']
    assert done.summary['AP']['cat'] == expected['vid/AP_cat']


def test_outfile_is_written_if_the_evaluation_fails(ann_file, tmp_path):
    whole, part = tmp_path / 'whole.txt', tmp_path / 'part.txt'
    run(ann_file, samples(), outfile=str(whole))
    with pytest.raises(ValueError, match='19 different frames for a dataset of 20'):
        run(ann_file, [s for s in samples() if s.img_id != 4], outfile=str(part))
    expected = [line for line in whole.read_text().splitlines() if not line.startswith('4 ')]
    assert part.read_text().splitlines() == expected


def _one_of_two(rank, ann_file, folder):
    store = f'file://{folder}/store'
    torch.distributed.init_process_group('gloo', store, rank=rank, world_size=2)
    data = samples()
    # whole videos: 12 frames and 8, so unequal shares, and one padded frame
    share = data[:12] if rank == 0 else [*data[12:], data[0]]
    result = run(ann_file, share, collect_dir=f'{folder}/parts')
    Path(folder, f'{rank}.json').write_text(json.dumps(result))


def test_two_processes_give_exactly_the_same(ann_file, tmp_path):
    arguments = (ann_file, str(tmp_path))
    start_processes(_one_of_two, arguments, nprocs=2, start_method='fork')
    expected = run(ann_file, samples())
    for rank in range(2):
        assert same(json.loads((tmp_path / f'{rank}.json').read_text()), expected)
