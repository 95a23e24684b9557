"""The check of one detector; tools/analysis/check_detector.py is tested with a RetinaNet."""

from semidff.analysis.check_detector import check_detector


def test_what_is_not_supported_has_a_reason():
    found = check_detector('mmdet::detr/detr_r50_8xb2-150e_coco.py', size=(64, 96))
    assert list(found) == ['ExtractFeatSplit', 'TowerSplit', 'OutputSplit', 'EncoderSplit']
    assert 'DETR' in found['TowerSplit']['refused']
    for row in found['ExtractFeatSplit'], found['EncoderSplit']:
        assert row['boxes'] > 0 and row['deviation'] == 0 and row['untrained'] == []
