"""The check of one detector."""

from mmengine.config import Config

from semidff.analysis.check_detector import check_detector
from tests.tiny_video import detector_cfg

SIZE = (64, 96)


def test_a_detector_that_works_at_every_split_point(tmp_path):
    Config(dict(model=detector_cfg())).dump(tmp_path / 'detector.py')
    found = check_detector(str(tmp_path / 'detector.py'), size=SIZE)
    assert list(found) == ['ExtractFeatSplit', 'TowerSplit', 'OutputSplit', 'EncoderSplit']
    assert 'RetinaNet' in found.pop('EncoderSplit')['refused']
    for row in found.values():
        assert row['boxes'] > 0 and row['deviation'] == 0 and row['untrained'] == []


def test_what_is_not_supported_has_a_reason():
    found = check_detector('mmdet::detr/detr_r50_8xb2-150e_coco.py', size=SIZE)
    assert 'DETR' in found['TowerSplit']['refused']
    for row in found['ExtractFeatSplit'], found['EncoderSplit']:
        assert row['boxes'] > 0 and row['deviation'] == 0 and row['untrained'] == []
