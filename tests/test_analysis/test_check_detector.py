"""The check of one detector."""

import pytest
from mmengine.config import Config

from semidff.analysis.check_detector import check_detector, video_detector
from semidff.utils.model_building import ConfigError
from tests.detectors.stock_detectors import build_stock
from tests.tiny_video import detector_cfg

SIZE = (64, 96)


@pytest.fixture
def config(tmp_path):
    """Writes the config of a detector."""

    def write(model: dict) -> str:
        Config(dict(model=model)).dump(tmp_path / 'detector.py')
        return str(tmp_path / 'detector.py')

    return write


def test_a_detector_that_works_at_every_split_point(config):
    found = check_detector(config(detector_cfg()), size=SIZE)
    assert list(found) == ['ExtractFeatSplit', 'TowerSplit', 'OutputSplit']
    for row in found.values():
        assert row['boxes'] > 0 and row['deviation'] == 0 and row['untrained'] == []


def test_what_is_not_supported_has_a_reason():
    found = check_detector('mmdet::detr/detr_r50_8xb2-150e_coco.py', size=SIZE)
    assert 'DETR' in found['TowerSplit']['refused']
    row = found['ExtractFeatSplit']
    assert row['boxes'] > 0 and row['deviation'] == 0 and row['untrained'] == []
    with pytest.raises(ConfigError):
        check_detector('no_such_detector')


def test_the_flow_network_has_the_stride_of_fine_levels():
    names = 'retinanet/retinanet_r50_fpn_1x_coco', 'yolof/yolof_r50-c5_8xb8-1x_coco'
    networks = [
        video_detector(build_stock(name, narrow=True), flow_width=width).temporal.flow_network
        for name, width in zip(names, (1 / 8, 1 / 4), strict=True)
    ]
    assert [network.stride for network in networks] == [8, 16]
    assert [network.conv1.out_channels for network in networks] == [8, 16]
