"""Results as files: detections, label maps and annotated videos."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from PIL import Image
from pycocotools.coco import COCO

from semidff.datasets import CocoVIDDataset
from semidff.datasets.vid_json import load_vid_json
from semidff.evaluation import evaluate_detections_file
from semidff.inference.outputs import (
    CocoJson,
    ILSVRCText,
    JsonLines,
    LabelMaps,
    MOTOutput,
    OutputFiles,
    VideoOutput,
)
from semidff.utils.error_messages import FileError
from tests.encoded_video import packet_times
from tests.test_utils.test_video_writer import GRAY

IMAGE = np.zeros((40, 60, 3), np.uint8)


def sample(index: int, **fields) -> DetDataSample:
    meta = dict(frame_id=index, timestamp=index / 25, img_path=None, is_key_frame=index == 0)
    return DetDataSample(metainfo=meta, **fields)


def detections(index: int, *boxes: list[float], **fields) -> DetDataSample:
    """Classes 0, 1, ... with scores 0.9, 0.8, ..."""
    numbers = torch.arange(len(boxes))
    found = InstanceData(labels=numbers, scores=0.9 - numbers / 10, bboxes=torch.tensor(boxes))
    found.set_data(fields)
    return sample(index, pred_instances=found)


def write(output, *results: DetDataSample, name: str = 'v', image: np.ndarray = IMAGE) -> None:
    with output:
        output.start(name)
        for result in results:
            output.add(result, image)


def test_masks_are_run_length_encoded(tmp_path):
    masks = torch.zeros(2, 40, 60, dtype=torch.bool)
    masks[0, 10:20, 5:30] = masks[1, 3, 7] = True
    boxes = [5.0, 10, 30, 20], [7.0, 3, 8, 4]
    results = detections(0, *boxes, masks=masks), detections(1, *boxes)
    write(CocoJson(tmp_path / 'o.json', ('a', 'b')), *results)
    coco = COCO(tmp_path / 'o.json')
    for id, mask in enumerate(masks, start=1):
        assert (coco.annToMask(coco.anns[id]) == mask.numpy()).all()
        assert coco.anns[id]['area'] == mask.sum()
    assert 'segmentation' not in coco.anns[3] and coco.anns[3]['area'] == 250


def test_json_and_text_number_frames_alike(tmp_path):
    """The third frame cannot be read."""
    files = [tmp_path / name for name in ('o.json', 'o.txt', 'metrics.json')]
    boxes = torch.tensor([5.0, 10, 30, 20])
    results = [detections(i, (boxes + 10 * i).tolist()) for i in (0, 1, 3, 4)]
    write(CocoJson(files[0], ('a',)), *results)
    write(ILSVRCText(files[1]), *results)
    done = evaluate_detections_file(*files, mean='present')
    assert done.result.mean() == 1 and not done.num_outside
    assert [line.split()[0] for line in files[1].read_text().splitlines()] == ['1', '2', '4', '5']


def test_identities_in_json_and_mot_text(tmp_path):
    boxes = [5.0, 10, 30, 20.5], [7.0, 3, 8, 4], [1.0, 1, 2, 2]
    numbers = torch.tensor([3, -1, 0])
    results = [detections(n, *boxes, instances_id=numbers + n * (numbers >= 0)) for n in (0, 2)]
    write(CocoJson(tmp_path / 'o.json', ('a', 'b', 'c')), *results)
    data = CocoVIDDataset(ann_file=str(tmp_path / 'o.json'), test_mode=True)
    assert [[o['instance_id'] for o in one['instances']] for one in data] == [
        [3, -1, 0],
        [5, -1, 2],
    ]
    for path in (tmp_path / 'mot', tmp_path / 'o.txt'):
        write(MOTOutput(path), *results)
    assert (tmp_path / 'mot' / 'v.txt').read_text() == (tmp_path / 'o.txt').read_text()
    assert (tmp_path / 'o.txt').read_text().splitlines() == [
        '1,3,5.00,10.00,25.00,10.50,0.9000,1,-1',
        '1,0,1.00,1.00,1.00,1.00,0.7000,3,-1',
        '3,5,5.00,10.00,25.00,10.50,0.9000,1,-1',
        '3,2,1.00,1.00,1.00,1.00,0.7000,3,-1',
    ]


def test_boxes_without_area_can_be_read_again_and_infinite_ones_are_left_out(tmp_path, log):
    """CenterNet may predict a negative width, YOLOX with random weights an infinite one."""
    inf, nan = float('inf'), float('nan')
    result = detections(0, [50.0, 20, 49.5, 40], [0.0, 0, inf, 9], [nan, 0, 1, 9])
    write(CocoJson(tmp_path / 'o.json', ('a',)), result)
    assert '2 boxes that are not finite' in log.text
    (box,) = load_vid_json(tmp_path / 'o.json')['annotations']
    assert box['bbox'] == [50, 20, 0, 20] and box['area'] == 0


def test_a_line_of_json_for_each_frame(tmp_path, capsys):
    boxes = [5.0, 10, 30, 20], [7.0, 3, 8, 4]
    results = detections(0, *boxes), detections(4, [0.0, 0, float('inf'), 9])
    results[1].set_metainfo(dict(dropped=3))
    for path in (tmp_path / 'o.jsonl', '-'):
        write(JsonLines(path, ('car',)), *results)
    text = (tmp_path / 'o.jsonl').read_text()
    assert capsys.readouterr().out == text
    first, second = map(json.loads, text.splitlines())
    assert [box['category'] for box in first['annotations']] == ['car', 'class 1']
    assert first['annotations'][0]['bbox'] == [5, 10, 25, 10] and first['video'] == 'v'
    assert (second['frame_id'], second['dropped'], second['annotations']) == (4, 3, [])
    with JsonLines(tmp_path / 'live' / 'o.jsonl', ('car',)) as output:
        output.start('v')
        output.add(results[0], IMAGE)
        assert json.loads((tmp_path / 'live' / 'o.jsonl').read_text()) == first
    with pytest.raises(OSError), JsonLines(tmp_path / 'none.jsonl', ('car',)):
        raise OSError
    assert not (tmp_path / 'none.jsonl').exists()


def label_maps(*labels: int) -> list[DetDataSample]:
    maps = [PixelData(data=torch.full((1, 4, 6), label)) for label in labels]
    return [sample(index, pred_sem_seg=each) for index, each in enumerate(maps)]


def test_label_maps_have_a_folder_for_each_video(tmp_path):
    folder = tmp_path / 'street'
    folder.mkdir()
    for name in ('000007.png', '1000000.png', 'mine.png', '000007_mine.png'):
        (folder / name).touch()
    with LabelMaps(tmp_path) as output:
        for _ in range(2):
            output.start('street')
            for result in label_maps(3, 300):
                output.add(result, IMAGE)
    assert {path.name for path in folder.iterdir()} == {
        '000000.png', '000001.png', 'mine.png', '000007_mine.png',
    }  # fmt: skip
    for each in tmp_path.iterdir():
        maps = [np.asarray(Image.open(each / f'00000{index}.png')) for index in range(2)]
        assert [int(labels.max()) for labels in maps] == [3, 300]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize('error', [KeyboardInterrupt, SystemExit, ValueError, GeneratorExit])
def test_what_was_added_is_kept_whatever_ends_the_run(tmp_path, error):
    files = [tmp_path / name for name in ('o.mp4', 'o.json', 'o.txt')]
    with (
        pytest.raises(error),
        VideoOutput(files[0], lambda image, _: image) as video,
        CocoJson(files[1], ('a',)) as boxes,
        ILSVRCText(files[2]) as text,
        LabelMaps(tmp_path) as labels,
    ):
        outputs = video, boxes, text, labels
        for output in outputs:
            output.start('v')
        for index, label_map in enumerate(label_maps(3, 4)):
            found = detections(index, [5.0, 10, 30, 20])
            found.pred_sem_seg = label_map.pred_sem_seg
            for output in outputs:
                output.add(found, IMAGE)
        raise error
    assert len(packet_times(files[0])) == 2 == len(list((tmp_path / 'v').glob('*.png')))
    content = load_vid_json(files[1])
    assert (content['complete'], len(content['images'])) == (False, 2)
    assert content['videos'][0]['fps'] == 25 and len(files[2].read_text().splitlines()) == 2


def test_nothing_is_kept_of_a_run_without_results(tmp_path):
    with pytest.raises(KeyboardInterrupt), CocoJson(tmp_path / 'o.json') as output:
        output.start('v')
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_completed_is_removed(tmp_path):
    with pytest.raises(ValueError, match='closed'), CocoJson(tmp_path / 'o.json') as output:
        output.start('v')
        output.add(detections(0, [5.0, 10, 30, 20]), IMAGE)
        output._images.close()
    assert not list(tmp_path.iterdir())


def test_one_annotated_video_per_video(tmp_path):
    with VideoOutput(tmp_path, lambda image, _: image // 2, max_videos=2) as renderer:
        for name, count in (('val/one', 3), ('two', 2), ('three', 2)):
            renderer.start(name)
            for index in range(count):
                renderer.add(sample(index), GRAY)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['two.mp4', 'val_one.mp4']
    assert packet_times(tmp_path / 'val_one.mp4') == pytest.approx([0, 1 / 25, 2 / 25])
    drawn = cv2.VideoCapture(str(tmp_path / 'two.mp4')).read()[1]
    assert np.abs(drawn.astype(int) - 45).max() < 6


def request(path, prediction='pred_instances', **files) -> None:
    OutputFiles(**files).check(prediction, [str(path)])


def test_outputs_replace_no_inputs(tmp_path):
    for name in ('links', 'data', 'frames/street'):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / 'data' / 'street.mp4').touch()
    video = tmp_path / 'links' / 'street.mp4'
    video.symlink_to(tmp_path / 'data' / 'street.mp4')
    request(video, video=tmp_path / 'new')
    request(video, 'pred_sem_seg', labels=tmp_path / 'data')
    request(tmp_path / 'frames/street', 'pred_sem_seg', labels=tmp_path / 'new')
    for folder in ('links', 'data'):
        with pytest.raises(FileError, match='is the folder of an input'):
            request(video, video=tmp_path / folder)
    with pytest.raises(FileError, match='is the folder of an input'):  # street/000000.png
        request(tmp_path / 'frames/street', 'pred_sem_seg', labels=tmp_path / 'frames')
