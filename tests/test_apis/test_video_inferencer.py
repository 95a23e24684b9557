"""VideoInferencer: results of tools/test.py for any source, in constant memory."""

import gc
import json
import os
import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from itertools import count, islice

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config

from semidff import apis
from semidff.adaptation.folder import AdaptedFolder
from semidff.apis import VideoInferencer
from semidff.checkpoints.safe import CheckpointError
from semidff.datasets import CocoVIDDataset
from semidff.datasets.video_readers import (
    Frame,
    LiveStream,
    VideoError,
    VideoWarning,
    open_any,
)
from semidff.inference.executors import ExportedGraphs, default_runtime
from semidff.inference.point import Point
from semidff.utils.threads import torch_threads
from tests.damaged_video import wipe, write_video
from tests.encoded_video import packet_times
from tests.processes import call
from tests.tiny.videos import CLASSES, SIZE, build, frame, write_project

LENGTHS = (9, 6)
DOT = (SIZE[1], SIZE[0], 3)


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """Videos as a json and as folders, a config and checkpoints."""
    folder = tmp_path_factory.mktemp('project')
    config = write_project(folder, LENGTHS)
    for video, length in enumerate(LENGTHS):
        (folder / f'v{video}').mkdir()
        for index in range(length):
            os.link(folder / f'v{video}_{index:03d}.png', folder / f'v{video}' / f'{index}.png')
    detector = build(config.model, seed=3).spatial.detector
    torch.save(dict(state_dict=detector.state_dict()), folder / 'one.pth')
    return folder


def make(project, method='propagate', interval=4, **options) -> VideoInferencer:
    options = dict(show_progress=False, device='cpu', workers=2) | options
    files = str(project / 'config.py'), project / 'two.pth'
    return VideoInferencer(*files, method=method, key_interval=interval, **options)


@pytest.fixture(scope='module')
def inferencer(project):
    return make(project)


def arrays(video=0, length=9) -> list[np.ndarray]:
    return [frame(video, index) for index in range(length)]


def all_same(some, others, tolerance: float = 0) -> bool:
    some, others = list(some), list(others)
    pairs = [(a.pred_instances, b.pred_instances) for a, b in zip(some, others, strict=False)]
    return len(some) == len(others) > 0 and all(
        len(a) == len(b) and torch.allclose(a[key], b[key], rtol=0, atol=tolerance)
        for a, b in pairs
        for key in ('bboxes', 'scores', 'labels')
    )


def test_the_same_detections_on_a_gpu(project, gpu):
    expected = make(project, interval=3, workers=1)(arrays())
    found = make(project, interval=3, device='cuda')(arrays())
    assert all_same(found, expected, 1e-3)
    assert gpu.captures and not gpu.failed_captures


def test_by_default_it_runs_in_openvino(project, inferencer, monkeypatch):
    pytest.importorskip('openvino')
    monkeypatch.setattr(apis.video_inferencer, 'default_runtime', default_runtime)
    options = {}, dict(point=Point()), dict(compile=True), dict(runtime='onnxruntime')
    made = [make(project, **each) for each in options]
    runtimes = [each.point.runtime for each in made]
    assert runtimes == ['openvino', 'torch', 'torch', 'onnxruntime']
    first = made[0](arrays())
    assert all_same(first, inferencer(arrays()), 1e-3)
    assert made[0].point.runtime == 'openvino'


def test_the_same_detections_as_the_test_tool(project, inferencer):
    expected, found = project / 'test.txt', project / 'found.txt'
    files = project / 'config.py', project / 'two.pth'
    call('test.py', *files, '--key-interval', '4', '--detections', expected)
    folders = [project / f'v{video}' for video in range(len(LENGTHS))]
    samples = list(inferencer(folders, out_txt=found))
    assert len(samples) == sum(LENGTHS)
    rows, others = np.loadtxt(found), np.loadtxt(expected)
    assert len(rows) > 30 and rows == pytest.approx(others, abs=1e-3)  # chunks round differently


def test_results_have_the_metainfo_of_their_frame(project, inferencer):
    samples = list(inferencer([project / 'v0', arrays(1, 3)], fps=5))
    assert [s.frame_id for s in samples] == [*range(9), *range(3)]
    assert [s.timestamp for s in samples] == [n / 5 for n in [*range(9), *range(3)]]
    assert [s.is_key_frame for s in samples] == [s.frame_id % 4 == 0 for s in samples]
    assert [s.video_name for s in samples] == ['v0'] * 9 + ['frames1'] * 3
    assert [s.video_id for s in samples] == [0] * 9 + [1] * 3
    assert all(s.ori_shape == (64, 96) and len(s.pred_instances) for s in samples)
    assert samples[3].img_path == str(project / 'v0' / '3.png') and samples[-1].img_path is None


def test_all_kinds_of_sources_give_the_same(project, inferencer):
    expected = list(inferencer(str(project / 'v0')))
    assert all_same(inferencer(arrays()), expected)
    assert all_same(inferencer(tuple(arrays())), expected)
    assert all_same(inferencer(np.stack(arrays())), expected)
    # Live frames do not wait for a chunk, which rounds differently.
    assert all_same(inferencer(iter(arrays())), expected, 1e-3)
    assert all_same(inferencer([iter(arrays())]), expected, 1e-3)
    assert not all_same(inferencer(arrays(1)), expected)


def test_frames_are_read_on_request(inferencer):
    read = []

    def camera():
        for index in count():
            read.append(index)
            yield frame(0, index)

    results = inferencer(camera())
    assert not read
    for expected in range(3):
        assert next(results).frame_id == expected and read == list(range(expected + 1))
    results.close()
    assert [s.frame_id for s in inferencer(camera(), max_frames=5)] == list(range(5))


def test_nothing_is_kept_of_past_frames(project, tmp_path):
    files = dict(out_video=tmp_path / 'o.mp4', out_json=tmp_path / 'o.json')
    results = make(project, read_ahead=3)((frame(0, i) for i in count()), **files)

    def alive_after(frames: int) -> int:
        for _ in islice(results, frames):
            pass
        gc.collect()
        kinds = (DetDataSample, Frame, torch.Tensor)
        return sum(type(thing) in kinds for thing in gc.get_objects())

    before = alive_after(8)
    # the thread may hold one frame more or less, of few objects each
    assert alive_after(40) <= before + 10
    results.close()


def reading() -> int:
    return sum(thread.name.startswith('read-ahead') for thread in threading.enumerate())


def test_one_inferencer_in_several_threads(project):
    """Each thread has its own iterator; they share the engines of the intervals."""
    shared = make(project, 'centered')
    alone = [list(shared(arrays(video))) for video in range(2)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda n: list(shared(arrays(n % 2))), range(4)))
    for number, results in enumerate(together):
        assert all_same(results, alone[number % 2], 1e-3)


def test_frames_of_another_size_are_scaled_to_fit(tmp_path, inferencer):
    small, out = [image[:48, :64] for image in arrays(1, 7)], tmp_path / 'out.mp4'
    samples = list(inferencer([*arrays(0, 6), *small], out_video=out))
    assert [n for n, s in enumerate(samples) if s.is_key_frame] == [0, 4, 6, 10]
    pictures = [one.image for one in open_any(out)]
    assert len(pictures) == 13 and pictures[-1].shape == DOT
    # 48 x 64 scaled to 64 x 85, with bars of 5 and 6 columns
    assert pictures[-1][:, :4].max() < 40 and pictures[-1][:, 8:88].mean() > 40


def test_the_json_is_a_data_set(project, tmp_path, inferencer, monkeypatch):
    path = tmp_path / 'boxes.json'
    monkeypatch.chdir(project)
    samples = list(inferencer(['v0', arrays(1, 3)], out_json=path, fps=5))
    monkeypatch.chdir(tmp_path)
    content = json.loads(path.read_text())
    assert [v['name'] for v in content['videos']] == ['v0', 'frames1']
    assert [v['length'] for v in content['videos']] == [9, 3]
    assert [i['timestamp'] for i in content['images'][9:]] == [0, 0.2, 0.4]
    data = CocoVIDDataset(ann_file=str(path), pipeline=[], test_mode=True)
    assert data.metainfo['classes'] == CLASSES and len(data) == 12
    assert os.path.samefile(data.get_data_info(3)['img_path'], project / 'v0' / '3.png')
    boxes = iter(content['annotations'])
    for number, sample in enumerate(samples, start=1):
        info = data.get_data_info(number - 1)
        assert (info['frame_id'], info['video_name']) == (sample.frame_id, sample.video_name)
        found = sample.pred_instances
        own = list(islice(boxes, len(found)))
        assert all(box['image_id'] == number for box in own)
        corners = np.array([box['bbox'] for box in own])
        corners[:, 2:] += corners[:, :2]
        assert np.allclose(corners, found.bboxes, atol=1e-4)
        assert [box['category_id'] - 1 for box in own] == found.labels.tolist()
        assert np.allclose([box['score'] for box in own], found.scores)
    assert next(boxes, None) is None


def test_results_of_some_classes_and_scores(inferencer, tmp_path):
    every, out = list(inferencer(arrays())), tmp_path / 'o.json'
    options = dict(only_classes=CLASSES[:1], min_score=0.5)
    for sample, one in zip(every, inferencer(arrays(), out_json=out, **options), strict=True):
        found = sample.pred_instances
        kept = (found.labels == 0) & (found.scores >= 0.5)
        assert torch.equal(one.pred_instances.bboxes, found.bboxes[kept])
    boxes = json.loads(out.read_text())['annotations']
    assert {box['category_id'] for box in boxes} == {1}
    assert 0 < len(boxes) < sum(len(sample.pred_instances) for sample in every)


def test_the_page_shows_what_the_mp4_has(inferencer, tmp_path, log):
    results = inferencer(arrays(), out_video=tmp_path / 'o.mp4', serve=0)
    next(results)
    url = log.text.split('http://')[1].split('/')[0]
    with closing(iter(open_any(f'http://{url}/stream'))) as frames:
        image = next(frames).image
        assert len(list(results)) == 8
    expected = next(iter(open_any(tmp_path / 'o.mp4'))).image
    assert np.abs(image.astype(float) - expected).mean() < 20


@pytest.mark.parametrize('options', [dict(graphs=True), dict(filter='both')])
def test_copies_for_other_processes(project, options):
    original = make(project, **options)
    expected = list(original(arrays()))
    copies = pickle.loads(pickle.dumps(original))
    assert copies.model is not original.model
    assert all_same(copies(arrays()), expected)


@pytest.mark.parametrize('options', [dict(), dict(latency='bounded')])
def test_the_number_of_threads_stays(project, options):
    """Also while the program has an iterator, and for new threads."""
    with torch_threads(2):
        results = make(project, **options)(iter(arrays()))
        for _ in results:
            with ThreadPoolExecutor(1) as thread:
                assert thread.submit(torch.get_num_threads).result() == 2
            assert torch.get_num_threads() == 2
        begun = threading.Barrier(3)

        def begin() -> None:
            torch.get_num_threads()  # ahead of the start of any workers
            begun.wait()

        with ThreadPoolExecutor(3, initializer=begin) as pool:
            list(pool.map(lambda n: list(make(project)(arrays(n))), range(3)))
            assert set(pool.map(lambda _: torch.get_num_threads(), range(3))) == {2}


class Camera:
    """A connection of a live stream, whose frames come at once."""

    is_recording = returns = False

    def __iter__(self):
        return ((index / 25, partial(frame, 0, index)) for index in range(30))

    def close(self):
        pass


@pytest.mark.parametrize('latency', [None, 'bounded', 'synchronous'])
def test_live_sources_have_bounded_delay(project, latency, log):
    stream = LiveStream('tcp://camera', connect=lambda *arguments: Camera())
    with pytest.warns(VideoWarning, match='no more frames after frame 29'):
        found = list(make(project, latency=latency)(stream))
    assert found[-1].frame_id == 29 and min(one.delay for one in found) > 0
    assert len(found) + sum(one.dropped for one in found) == 30
    assert all(('key_age' in one) == (latency != 'synchronous') for one in found)
    assert f'tcp://camera: {len(found)} results, {30 - len(found)} frames dropped' in log.text


def test_an_error_comes_at_its_frame_and_leaves_the_results_ahead_of_it(project, tmp_path, log):
    def broken():
        yield from arrays(0, 3)
        raise ConnectionError('the cable')

    files = {f'out_{kind}': tmp_path / f'o.{kind}' for kind in ('json', 'txt')}
    files['out_video'] = tmp_path / 'o.mp4'
    results = make(project, read_ahead=8)(broken(), **files)
    assert len([next(results) for _ in range(3)]) == 3
    with pytest.raises(ConnectionError, match='the cable'):
        next(results)
    assert 'o.mp4, ' in log.text and ': complete: false, 3 frames' in log.text
    content = json.loads((tmp_path / 'o.json').read_text())
    assert (len(content['images']), content['complete'], reading()) == (3, False, 0)
    assert len(packet_times(tmp_path / 'o.mp4')) == 3


@pytest.mark.parametrize('strict', [False, True])
def test_videos_of_a_list_that_fail_are_skipped_and_named(inferencer, tmp_path, log, strict):
    """The first one cannot be opened; the second one fails behind its frames if strict."""
    (tmp_path / 'a.mp4').write_bytes(b'a recording that is not complete')
    write_video(tmp_path / 'd.mp4', 3)
    wipe(tmp_path / 'c.mp4', write_video(tmp_path / 'whole.mp4'), 0.3, 0.5)
    files, names = dict(out_video=tmp_path / 'out', out_json=tmp_path / 'o.json'), []
    results = inferencer(str(tmp_path / '?.mp4'), **files, strict=strict)
    with warnings.catch_warnings(), pytest.raises(VideoError) as error:
        warnings.simplefilter('ignore', VideoWarning)
        for sample in results:
            names.append(sample.video_name)
    assert list(dict.fromkeys(names)) == ['c', 'd'] and names.count('d') == 3
    failed = ['a.mp4', 'c.mp4'] if strict else ['a.mp4']
    text = str(error.value)
    assert text.startswith(f'{len(failed)} of 3 videos failed') and all(n in text for n in failed)
    assert log.text.count('the other videos follow') == len(failed)
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['c.mp4', 'd.mp4']
    content = json.loads((tmp_path / 'o.json').read_text())
    assert [len(names), False] == [len(content['images']), content['complete']]


def test_errors_that_are_not_of_a_video_end_a_list(inferencer):
    def broken():
        raise OSError(28, 'No space left')
        yield

    results = inferencer([broken(), arrays()])
    with pytest.raises(OSError, match='No space left'):
        next(results)


def test_damaged_video(tmp_path, inferencer):
    path = wipe(tmp_path / 'damaged.mp4', write_video(tmp_path / 'whole.mp4'), 0.3, 0.5)
    out = tmp_path / 'out.mp4'
    with pytest.warns(VideoWarning, match=r'damaged\.mp4: \d+ frames are damaged'):
        numbers = [sample.frame_id for sample in inferencer(path, out_video=out)]
    assert 30 > len(list(open_any(out))) == len(numbers) > 3
    assert numbers[-1] == 29  # those that are left out are counted
    out.unlink()
    results = inferencer(path, out_video=out, strict=True)
    assert [next(results).frame_id for _ in numbers] == numbers
    with pytest.raises(VideoError, match=r'damaged\.mp4: \d+ frames are damaged'):
        next(results)
    assert len(packet_times(out)) == len(numbers)


@pytest.mark.parametrize(
    ('inputs', 'options', 'error', 'message'),
    [
        (['v0', 'missing.mp4'], {}, VideoError, 'no such file'),
        (frame(0, 0), {}, TypeError, 'a single ndarray is no video'),
        ('v0', dict(only_classes=['dog']), ValueError, r"no classes \['dog'\]; it has disc"),
        ('v0', dict(out_mot='o.txt'), ValueError, "add filter='identities'"),
        ('v0', dict(pred_score_thr=30), ValueError, 'is 30; it must be from 0 to 1'),
        ('a.mp4', dict(out_video='a.mp4'), ValueError, 'would overwrite the input'),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    tmp_path, project, inferencer, monkeypatch, inputs, options, error, message
):
    os.symlink(project / 'v0', tmp_path / 'v0')
    write_video(tmp_path / 'a.mp4', 3)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        inferencer(inputs, **options)


def test_a_checkpoint_that_holds_its_config_is_enough(project, inferencer):
    alone = VideoInferencer(
        weights=project / 'two.pth', device='cpu', key_interval=4, show_progress=False
    )
    assert all_same(alone(arrays()), inferencer(arrays()))
    with pytest.raises(CheckpointError, match='holds no config'):
        VideoInferencer(weights=project / 'one.pth')


@pytest.mark.parametrize('method', ['copy', 'interpolate', 'propagate', 'track', 'centered'])
def test_a_changed_result_changes_no_other(project, method):
    shared = make(project, method, interval=3)
    expected = [sample.pred_instances.bboxes.clone() for sample in shared(arrays())]
    for boxes, sample in zip(expected, shared(arrays()), strict=True):
        assert torch.equal(sample.pred_instances.bboxes, boxes)
        sample.pred_instances.bboxes.fill_(7)
        sample.pred_instances.scores.zero_()


def test_a_stored_config_calls_nothing_that_is_not_registered(tmp_path):
    path = tmp_path / 'folder' / 'file'
    path.parent.mkdir()
    path.write_text('content')
    call = f'type="mmengine.put_text", obj="new", filepath={str(path)!r}'
    for model in (call, f'type="TemporalModule", flow_network=dict({call})'):
        meta = dict(cfg=f'default_scope = "mmdet"\nmodel = dict({model})')
        torch.save(dict(meta=meta, state_dict=dict(a=torch.ones(1))), tmp_path / 'stranger.pth')
        with pytest.raises(Exception, match='not in the .* registry'):
            VideoInferencer(weights=tmp_path / 'stranger.pth', device='cpu')
    assert path.read_text() == 'content'


def speed_options(inferencer: VideoInferencer) -> tuple:
    weight = inferencer.model.spatial.detector.backbone.layer1[0].conv1.weight
    return inferencer.model.autocast, weight.is_contiguous(memory_format=torch.channels_last)


def test_precision_and_layout(project):
    plain, fast = make(project), make(project, precision='bf16', channels_last=True)
    results = [list(one(arrays())) for one in (plain, fast)]
    scores = [[s.pred_instances.scores.max().item() for s in some] for some in results]
    assert scores[0] == pytest.approx(scores[1], abs=0.02) and scores[0] != scores[1]
    assert results[1][1].pred_instances.bboxes.dtype == torch.float32
    config = Config.fromfile(project / 'config.py')
    config.test_cfg.fp16 = True
    config.custom_hooks = [dict(type='ChannelsLastHook')]
    for options, same in (({}, fast), (dict(precision='fp32', channels_last=False), plain)):
        inferencer = VideoInferencer(config, project / 'two.pth', device='cpu', **options)
        assert speed_options(inferencer) == speed_options(same)
    assert speed_options(plain) != speed_options(fast)


def test_class_names(project, tmp_path):
    assert make(project).model.dataset_meta == dict(classes=CLASSES)  # of the config's json
    assert make(project, classes=('a', 'b')).model.dataset_meta == dict(classes=('a', 'b'))
    trained = torch.load(project / 'two.pth', weights_only=False)
    trained['meta']['dataset_meta'] = dict(CLASSES=['cat', 'dog'])
    torch.save(trained, tmp_path / 'trained.pth')
    named = VideoInferencer(project / 'config.py', tmp_path / 'trained.pth', device='cpu')
    assert named.model.dataset_meta == dict(classes=('cat', 'dog'))
    config = Config.fromfile(project / 'config.py')
    config.test_dataloader.dataset.metainfo = dict(classes=('a', 'b', 'c'))
    with pytest.warns(UserWarning, match=r'num_classes=2 .* but there are 3 class names: a, b, c'):
        wrong = VideoInferencer(config, project / 'two.pth', device='cpu', show_progress=False)
    assert wrong.model.dataset_meta == dict(classes=())
    config.test_dataloader.dataset.pop('metainfo')
    config.test_dataloader.dataset.ann_file = 'gone.json'
    with pytest.warns(UserWarning, match='class names are neither'):
        nameless = VideoInferencer(config, project / 'two.pth', device='cpu', show_progress=False)
    list(nameless(arrays(0, 2), out_json=tmp_path / 'o.json', out_video=tmp_path / 'o.mp4'))
    categories = json.loads((tmp_path / 'o.json').read_text())['categories']
    assert [c['name'] for c in categories] == ['class 0', 'class 1'][: len(categories)]


def test_a_preprocessor_beside_the_model_is_used(project):
    """As mmengine's Runner does."""
    settings = dict(type='DetDataPreprocessor', mean=[120.0] * 3, std=[30.0] * 3)
    results = []
    for beside in (True, False):
        config = Config.fromfile(project / 'config.py')
        config.model = config.model.detector
        config.model.pop('data_preprocessor', None)
        (config if beside else config.model).data_preprocessor = settings
        inferencer = VideoInferencer(
            config, project / 'one.pth', device='cpu', method='frame', show_progress=False
        )
        results.append(list(inferencer(arrays(0, 2))))
    assert all_same(*results)


def test_progress_has_frames_rate_and_time_left(project, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        list(make(project, show_progress=True)(project / 'v0'))
    shown = capsys.readouterr().err
    assert 'v0: 100%' in shown and '9/9 [00:0' in shown and ' frames/s]' in shown


def test_what_is_imported_when_it_is_used_is_listed():
    assert 'adapt' in dir(apis) and all(callable(getattr(apis, name)) for name in dir(apis))


def test_the_runtime_is_that_of_the_folder_or_another_one(project, tmp_path):
    pytest.importorskip('openvino', reason="needs the extra 'openvino'")
    config = Config.fromfile(project / 'config.py')
    config.recommended = dict(method='propagate', runtime='openvino')
    config.dump(tmp_path / 'config.py')
    for name, weights in (('last.pth', 'two.pth'), ('detector.pth', 'one.pth')):
        os.link(project / weights, tmp_path / name)
    kinds = []
    for options in ({}, dict(runtime='torch', precision='bf16')):
        inferencer = VideoInferencer(tmp_path, device='cpu', **options)
        kinds.append(type(inferencer.stages.method.executor))
    assert kinds == [ExportedGraphs, type(inferencer.model)]
    assert inferencer.model.autocast is torch.bfloat16
    config.recommended = dict(method='propagate', runtime='auto')  # of 0.3.0
    config.dump(tmp_path / 'config.py')
    assert VideoInferencer(tmp_path, device='cpu').point.runtime == 'openvino'


POINT = Point('track', 5, 0.5, filter='both', precision='bf16')
OLD = dict(method='copy', key_interval=5, smooth=0, smooth_boxes=8)  # before 0.3


@pytest.mark.parametrize(
    ('recommended', 'options', 'expected'),
    [
        (asdict(POINT), {}, POINT),
        (asdict(POINT), dict(key_interval=3), replace(POINT, key_interval=3)),
        (asdict(POINT), dict(filter='causal'), replace(POINT, filter='causal')),
        (asdict(POINT), dict(method='copy'), Point('copy', 10, 0.5, 1, 'both', precision='bf16')),
        (
            asdict(POINT),
            dict(method='frame', filter='none'),
            Point('frame', 1, 0.5, precision='bf16'),
        ),
        (asdict(POINT), dict(point=Point('copy')), Point('copy')),
        (OLD, {}, Point('copy', 5, filter='both')),
    ],
)
def test_options_change_their_part_of_what_a_folder_recommends(
    tmp_path, recommended, options, expected
):
    """The folder of an adaptation without training has no weights of a temporal module."""
    Config(dict(recommended=recommended)).dump(tmp_path / 'config.py')
    (tmp_path / 'detector.pth').touch()
    folder = AdaptedFolder.read(tmp_path, **options)
    assert folder.point == expected and folder.weights == str(tmp_path / 'detector.pth')
