"""Calls that are refused, each with the words of its message: what is wrong, and where."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config
from mmengine.registry import init_default_scope

from semidff.apis import adapt
from semidff.checkpoints.detectors import read_detector
from semidff.checkpoints.read import read_checkpoint
from semidff.checkpoints.safe import CheckpointError
from semidff.converters.mxnet.checkpoint import to_checkpoint
from semidff.converters.mxnet.names import NameMappingError, convert, targets
from semidff.datasets import PackFramePair
from semidff.datasets.ilsvrc_format import read_detections
from semidff.datasets.vid_json import check_vid_json
from semidff.datasets.video_list import VideoListError, load_videos
from semidff.datasets.video_readers import ArrayStream, VideoError, open_video
from semidff.engine.launch import VideoTestOptions, apply_test_options
from semidff.evaluation import VIDEvaluator
from semidff.inference.options import MethodOptions
from semidff.models.temporal import warp
from semidff.utils.error_messages import ConfigError, FileError
from tests.damaged_video import picture, write_video
from tests.test_checkpoints.test_strict import net
from tests.test_converters.mxnet_params import heads
from tests.test_converters.test_mxnet.test_checkpoint import broken
from tests.test_datasets.test_transforms.test_pack import pair
from tests.test_datasets.test_vid_json import valid
from tests.test_evaluation import test_vid_metric, test_vid_metric_sparse
from tests.test_models import test_correction
from tests.test_visualization.test_propagation import make_model, view_of
from tests.tiny import models as tiny
from tests.tiny.models import build, frames, samples, tiny_semi_dff, tiny_video_detector

Refusal = tuple[type[Exception], str, Callable[[], object]]


def write(name: str, content: str | bytes) -> Path:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return Path(name)


def converters() -> Iterator[Refusal]:
    for changes, words in (
        (dict(rfcn_cls_bias=None), '1 missing: rfcn_cls_bias'),
        (dict(other_weight=np.zeros(1)), '1 unknown: other_weight'),
        (dict(rfcn_cls_bias=np.zeros(1470)), r'rfcn_cls_bias \(1470,\) instead of \(1519,\)'),
        (dict(rfcn_bbox_bias_test=np.zeros(8)), r'rfcn_bbox_bias_test is \(8,\), not \(392,\)'),
        (dict(rfcn_cls_bias=np.full(1519, np.nan)), '1 not finite: rfcn_cls_bias'),
    ):
        yield NameMappingError, words, lambda changes=changes: to_checkpoint(broken(**changes))
    yield NameMappingError, 'Leave parts out', lambda: convert(heads())
    yield ValueError, r"unknown parts \['flow'\]", partial(targets, ('flow',))


def lists() -> Iterator[Refusal]:
    for name in ('images', 'annotations', 'categories', 'videos'):
        for value in ({}, [1]):
            call = partial(check_vid_json, valid() | {name: value}, 'a.json')
            yield ValueError, f'not a COCO json file: it has no list of {name}', call
    good = '1 1 0.5 1 2 3 4\n'
    for line in (
        *('1 2 0.5 1 2 3', '1 2 0.5 1 2 3 4 5', '1 2 0.5 1 2 3 x', '1 31 0.5 1 2 3 4'),
        *('1 0 0.5 1 2 3 4', '1.5 2 0.5 1 2 3 4', '1 2 nan 1 2 3 4', '1 2 0.5 1 2 inf 4'),
    ):
        words, text = rf'd\.txt: .*(row|columns|{line.split()[-1]})', f'{good}\n{good}{line}\n'
        yield ValueError, words, lambda text=text: read_detections(write('d.txt', text + good), 30)

    def load(content: str | bytes) -> None:
        write('zero.mp4', '')
        load_videos(write('list.txt', content))

    for content, words in (
        ('zero.mp4', r'(?s)none of its 1 entries.*zero\.mp4: not a'),
        ('\n# nothing yet\n   \n', r'list\.txt: .*\(empty\)'),
        (b'\xff\xfe\x00\x80' * 50, 'not a text file'),
    ):
        yield VideoListError, words, partial(load, content)
    yield from (
        (ValueError, 'must be seven .*1 to 30',
         lambda: read_detections(write('d.txt', '1 2 3\n4 5 6\n'), 30)),
        (VideoListError, r'none\.txt: no list of videos \(No such file',
         lambda: load_videos('none.txt')),
        (VideoListError, 'none of its 1 entries', lambda: load_videos(Path())),
    )  # fmt: skip


def datasets() -> Iterator[Refusal]:
    for frame, words in (
        (np.zeros((4, 4, 3), np.float32), 'frame 1 is of float32'),
        (torch.zeros(3, 4, 4), 'frame 1 is a Tensor'),
        (np.zeros((4, 4, 2), np.uint8), r'frame 1 is of uint8 \(4, 4, 2\)'),
    ):
        stream = partial(list, ArrayStream([picture(0), frame]))
        yield VideoError, f'{words}.*give numpy arrays of uint8', stream
    yield VideoError, 'no frames', lambda: list(ArrayStream(iter(())))
    yield VideoError, 'not a readable video', lambda: open_video(write('a.txt', 'text\n' * 200))
    for index in (-1, 30):
        words = rf'frame {index} asked for.*0\.\.29'
        yield (
            VideoError,
            words,
            lambda i=index: open_video(write_video(Path('v.mp4'))).frames([0, i]),
        )
    pixels = np.zeros((10, 96, 3), np.uint8)
    yield ValueError, 'differ in size.*share_random_params', lambda: PackFramePair()(pair(pixels))


def configs() -> Iterator[Refusal]:
    for name, words in (
        ('yolox-nano', 'yolox-nano: is neither a file nor a model.*similar names: yolox_nano_8xb8'),
        ('rtmdet-tt', 'rtmdet-tt: is neither a file nor a model.*similar names: rtmdet-t'),
        ('gone.py', 'gone.py: there is no such config'),
        ('nodet::a.py', 'nodet:: the package is not installed'),
        ('configs/_base_/default_runtime.py', 'has no model'),
        ('configs/quickstart/two_step_synthetic.py', 'config of a SemiDFF, which contains a det'),
    ):
        yield ConfigError, words, partial(read_detector, name, warn=False)
    old = "model = dict(type='RetinaNet')\n"
    yield from (
        (ConfigError, 'old.py: has no model.data_preprocessor.*2.x',
         lambda: read_detector(str(write('old.py', old)), warn=False)),
        (FileError, r'missing\.pth: there is no such file; .* https://.*rtmdet_tiny',
         lambda: adapt('rtmdet-t', Path('missing.pth'), [Path()], out=Path('out'))),
        (ValueError, 'has no test_cfg',
         lambda: apply_test_options(
             Config(dict(test_cfg=None)), MethodOptions(), VideoTestOptions())),
    )  # fmt: skip


def checkpoints() -> Iterator[Refusal]:
    def saved(content: object) -> bytes:
        file = BytesIO()
        torch.save(content, file)
        return file.getvalue()

    weights = saved(dict(state_dict=net().state_dict()))
    for content, words in (
        (b'no checkpoint', 'cannot be read'),
        (b'', 'cannot be read'),
        (weights[: len(weights) // 2], 'cannot be read'),
        (saved([1, 2]), 'no weights'),
        (saved(dict(meta=dict(a=1))), 'no weights'),
    ):
        read = partial(lambda data: read_checkpoint(write('w.pth', data)), content)
        yield CheckpointError, rf'w\.pth.*{words}', read
    yield CheckpointError, r'gone\.pth.*no such', partial(read_checkpoint, Path('gone.pth'))


def metrics() -> Iterator[Refusal]:
    dense, sparse = test_vid_metric, test_vid_metric_sparse

    def labels() -> str:
        return str(write('val.json', json.dumps(dense.two_videos())))

    def pairs(end: int | None = None, **settings: str) -> None:
        sparse.evaluate(sparse.write(Path(), (2,)), sparse.at_distances()[:end], 2, **settings)

    other = dict(classes=('lion', 'bear'))
    yield from (
        (ValueError, r'19 different frames for a dataset of 20.*v2/000007',
         lambda: dense.run(labels(), dense.samples()[:-1])),
        (ValueError, r"(?s)'horse'.*'bear'",
         lambda: setattr(dense.evaluator(labels()), 'dataset_meta', other)),
        (FileNotFoundError, r'none\.json', lambda: dense.evaluator('none.json')),
        (ValueError, 'is_labeled=false', lambda: VIDEvaluator(sparse.write(Path(), ()))),
        (ValueError, 'results of 1 different frames for a dataset of 2', partial(pairs, -1)),
        (ValueError, "protocol 'dense'", partial(pairs, outfile='out.txt')),
    )  # fmt: skip


def fast_rcnn() -> dict:
    keys = 'roi_head', 'train_cfg', 'test_cfg'
    own = {key: tiny.faster_rcnn()[key] for key in keys}
    return dict(type='FastRCNN', backbone=dict(type='ResNet', depth=18), **own)


def semi_supervised() -> dict:
    inner = dict(tiny.retinanet(), data_preprocessor=dict(type='DetDataPreprocessor'))
    kind = 'MultiBranchDataPreprocessor'
    return dict(
        type='SemiBaseDetector',
        detector=inner,
        semi_train_cfg=dict(freeze_teacher=True),
        data_preprocessor=dict(type=kind, data_preprocessor=dict(type='DetDataPreprocessor')),
    )


def stock(name: str) -> ConfigDict:
    detector = get_config(f'mmdet::{name}.py').model
    detector.backbone.pop('init_cfg')
    return detector


def models() -> Iterator[Refusal]:
    video = dict(type='VideoDetector')
    for detector, words in (
        (fast_rcnn, 'FastRCNN needs proposals from a file'),
        (semi_supervised, 'SemiBaseDetector holds .*give its inner one'),
        (partial(stock, 'maskformer/maskformer_r50_ms-16xb1-75e_coco'),
         'predicts panoptic segmentation: set test_cfg'),
        (partial(stock, 'clrnet/clrnet'), 'CLRNet predicts lanes'),
        (partial(stock, 'mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2021'),
         'Mask2FormerVideo tracks objects in several frames: give an image detector'),
    ):  # fmt: skip
        yield TypeError, words, lambda cfg=detector: build(dict(video, detector=cfg()))
    for shape in ((1, 2, 4, 5), (2, 3, 4, 5), (2, 2, 5, 4)):
        words = rf'\(2, 2, 4, 5\).*{re.escape(str(shape))}'
        yield ValueError, words, partial(warp, torch.zeros(2, 3, 4, 5), torch.zeros(shape))
    extractor, head = dict(type='SingleRoIExtractor'), dict(type='RFCNBBoxHead')
    parts = dict(bbox_roi_extractor=extractor, bbox_head=head)
    labeled, flow = partial(samples, 2, boxes=True), dict(flow_network=dict(type='OpenCVFlow'))
    nothing, correction = dict(attention=False, boxes=False), test_correction.build
    yield from (
        (ValueError, 'set correction_width',
         lambda: correction(correction_width=0, current_width=8)),
        (ValueError, 'correction_width=0', lambda: correction(**flow, with_scale=False)),
        (ValueError, 'with_scale=False', lambda: build(dict(flow, type='TemporalModule'))),
        (ValueError, 'set bbox_head.pooling instead',
         lambda: build(dict(parts, type='RFCNRoIHead'))),
        (ValueError, r"none of the outputs \['cls', 'box'\]",
         lambda: tiny_semi_dff('retinanet').set_objectives(
             [dict(nothing, type='FeatureSemantics')], ['temporal'])),
        (ValueError, r'on pairs of frames .*, got \(2, 3, \d+, \d+\)',
         lambda: tiny_video_detector().eval().loss(frames(2), labeled())),
        (ValueError, 'a temporal module, got NoneType',
         lambda: tiny_video_detector().eval().with_temporal(None).loss(
             torch.stack((frames(2), frames(2, seed=1)), 1), labeled())),
        (ValueError, 'level is 3; the feature network gives 3',
         lambda: view_of(make_model(), level=3)),
    )  # fmt: skip


TABLES = (converters, lists, datasets, configs, checkpoints, metrics, models)
REFUSALS = [(f'{table.__name__}-{i}', *row) for table in TABLES for i, row in enumerate(table())]


@pytest.mark.parametrize(
    ('error', 'words', 'call'), [pytest.param(*row, id=name) for name, *row in REFUSALS]
)
def test_refused(error, words, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    init_default_scope('mmdet')
    with pytest.raises(error, match=words):
        call()
