"""Detections as files."""

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from pycocotools.coco import COCO

from semidff.datasets.vid_json import load_vid_json
from semidff.datasets.video_readers import Frame
from semidff.evaluation import evaluate_detections_file
from semidff.inference.outputs import Result, open_outputs


def test_masks_are_run_length_encoded(tmp_path):
    masks = torch.zeros(2, 40, 60, dtype=torch.bool)
    masks[0, 10:20, 5:30] = masks[1, 3, 7] = True
    found = InstanceData(
        labels=torch.tensor([0, 1]),
        scores=torch.tensor([0.9, 0.4]),
        bboxes=torch.tensor([[5.0, 10, 30, 20], [7, 3, 8, 4]]),
        masks=masks,
    )
    boxes = InstanceData(**{key: found[key] for key in ('labels', 'scores', 'bboxes')})
    image = np.zeros((40, 60, 3), np.uint8)
    with open_outputs(('a', 'b'), None, out_json=tmp_path / 'o.json') as (writer,):
        writer.start('v', 25.0)
        for index, instances in enumerate((found, boxes)):
            sample = DetDataSample(metainfo=dict(is_key_frame=not index), pred_instances=instances)
            writer.add(Result(Frame(image, index, index / 25), sample, index + 1))
    coco = COCO(tmp_path / 'o.json')
    for id, mask in enumerate(masks, start=1):
        assert (coco.annToMask(coco.anns[id]) == mask.numpy()).all()
        assert coco.anns[id]['area'] == mask.sum()
    assert 'segmentation' not in coco.anns[3] and coco.anns[3]['area'] == 250


def test_json_and_text_number_frames_alike(tmp_path):
    """The third frame cannot be read."""
    image = np.zeros((40, 60, 3), np.uint8)
    names = dict(out_json=tmp_path / 'o.json', out_txt=tmp_path / 'o.txt')
    with open_outputs(('a',), None, **names) as outputs:
        for output in outputs:
            output.start('v', 25.0)
        for index in (0, 1, 3, 4):
            found = InstanceData(
                labels=torch.tensor([0]),
                scores=torch.tensor([0.9]),
                bboxes=torch.tensor([[5.0, 10, 30, 20]]) + 10 * index,
            )
            sample = DetDataSample(metainfo=dict(is_key_frame=True), pred_instances=found)
            for output in outputs:
                output.add(Result(Frame(image, index, index / 25), sample, index + 1))
    files = [tmp_path / name for name in ('o.json', 'o.txt', 'metrics.json')]
    done = evaluate_detections_file(*files, mean='present')
    assert done.result.mean() == 1 and not done.num_outside


def test_boxes_without_area_can_be_read_again(tmp_path):
    """CenterNet may predict a negative width."""
    found = InstanceData(
        labels=torch.tensor([0]),
        scores=torch.tensor([0.1]),
        bboxes=torch.tensor([[50.0, 20, 49.5, 40]]),
    )
    sample = DetDataSample(metainfo=dict(is_key_frame=True), pred_instances=found)
    with open_outputs(('a',), None, out_json=tmp_path / 'o.json') as (writer,):
        writer.start('v', 25.0)
        writer.add(Result(Frame(np.zeros((40, 60, 3), np.uint8), 0, 0.0), sample, 1))
    (box,) = load_vid_json(tmp_path / 'o.json')['annotations']
    assert box['bbox'] == [50, 20, 0, 20] and box['area'] == 0
