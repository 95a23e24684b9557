"""Detection in all videos of a folder: continued, with broken files, by workers that are killed."""

import json
import os
import shutil
from importlib.util import find_spec

import cv2
import pytest
from mmengine.config import Config

from semidff.apis import VideoInferencer, detect_archive
from semidff.utils.error_messages import FileError
from tests.damaged_video import write_damaged, write_video
from tests.tiny.videos import write_project

NAMES = ['0.mp4', '1.mp4', '2.mp4', '3.mp4', 'broken.mp4', 'gone.mp4', 'sub/10.avi', 'sub/frames']


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A detector, and a folder of videos, a broken one among them."""
    folder = tmp_path_factory.mktemp('archive')
    write_project(folder, (3,))
    (folder / 'videos' / 'sub' / 'frames').mkdir(parents=True)
    for index in range(4):
        write_video(folder / 'videos' / f'{index}.mp4', 3 + index, size=(96, 64))
    write_video(folder / 'videos' / 'sub' / '10.avi', 3, size=(96, 64), codec='MJPG')
    for index in range(3):
        (folder / 'videos' / 'sub' / 'frames' / f'{index}.png').hardlink_to(
            folder / f'v0_00{index}.png'
        )
    (folder / 'videos' / 'cover.png').hardlink_to(folder / 'v0_000.png')  # makes it no video itself
    (folder / 'videos' / 'broken.mp4').write_bytes(b'no video' * 100)
    (folder / 'videos' / 'gone.mp4').symlink_to('nowhere')
    (folder / 'videos' / 'notes.txt').write_text('no video')
    return folder


@pytest.fixture(scope='module')
def inferencer(project):
    arguments = str(project / 'config.py'), project / 'two.pth'
    return VideoInferencer(
        *arguments, device='cpu', method='copy', key_interval=3, show_progress=False
    )


@pytest.fixture
def detect(project, inferencer, monkeypatch):
    """Calls ``detect_archive`` with that inferencer, or with another callable; returns summary and
    progress.
    """

    def detect(out, videos=project / 'videos', by=inferencer, **arguments):
        if not hasattr(by, 'model'):
            by.model = inferencer.model
        monkeypatch.setattr('semidff.apis.archive.VideoInferencer', lambda **_: by)
        files, lines = (project / 'config.py', project / 'two.pth'), []
        summary = detect_archive(videos, out, *files, progress=lines.append, **arguments)
        return summary, [line.split(': ', maxsplit=1)[1] for line in lines]

    return detect


def stub(inferencer, error, at):
    """Return an inferencer that raises an error in the video ``at``."""

    def detect(video, **options):
        for sample in inferencer(video, **options):
            if video.name == at:
                raise error
            yield sample

    return detect


def test_every_video_once_and_broken_ones_with_the_reason(project, detect, tmp_path):
    out = tmp_path / 'out'
    summary, lines = detect(out)
    names = [line.split(': ')[0] for line in lines]
    assert sorted(names) == NAMES and names[-1] == 'gone.mp4'
    assert (summary['videos'], summary['done'], summary['frames']) == (8, 6, 3 + 4 + 5 + 6 + 3 + 3)
    assert summary['key_frames'] == 1 + 2 + 2 + 2 + 1 + 1
    assert list(summary['failed']) == ['broken.mp4', 'gone.mp4']
    assert min(map(len, summary['failed'].values())) > 10
    assert json.loads((out / 'summary.json').read_text()) == summary
    written = {str(path.relative_to(out)) for path in out.rglob('*.json')}
    results = {name for name in written if not name.startswith('.records')}
    assert results == {f'{name}.json' for name in NAMES if name[0] not in 'bg'} | {'summary.json'}
    boxes = json.loads((out / 'sub' / '10.avi.json').read_text())
    assert len(boxes['images']) == 3 and len(boxes['annotations']) > 3
    assert (out / 'sub' / 'frames.boxes.mp4').stat().st_size > 500
    # the same again: nothing is left to do but what has changed
    (project / 'videos' / 'broken.mp4').write_bytes((project / 'videos' / '0.mp4').read_bytes())
    again, lines = detect(out)
    assert lines == ['broken.mp4: 3 frames']
    assert (again['done'], [*again['failed']]) == (7, ['gone.mp4'])
    # --overwrite: what failed is tried again
    assert detect(out, overwrite=True)[1] == ['gone.mp4: no such file']


def test_six_kinds_of_damage_end_nothing(project, detect, tmp_path):
    """Of 12 videos, the other 6 have the results that they have alone."""
    for name in ('some', 'all'):
        (tmp_path / name).mkdir()
        for number in range(6):
            source = project / 'videos' / f'{number % 4}.mp4'
            shutil.copy(source, tmp_path / name / f'{number}.mp4')
    damaged = write_damaged(tmp_path / 'all')
    whole, _ = detect(tmp_path / 'whole', tmp_path / 'some')
    summary, lines = detect(tmp_path / 'out', tmp_path / 'all')
    assert {*summary['failed'], *summary['damaged']} == damaged
    assert {*summary['failed']} == {'text.mp4', 'no_index.mp4', 'too_large'}
    assert len(lines) == 12 and whole['done'] == 6 and not whole['damaged']
    for file in (tmp_path / 'whole').glob('*.mp4.*'):
        assert file.read_bytes() == (tmp_path / 'out' / file.name).read_bytes()


def test_the_video_that_an_interruption_ends_is_not_done(detect, inferencer, tmp_path):
    """Its results so far are kept."""

    def interrupted(video, **options):
        for sample in inferencer(video, **options):
            yield sample
            if (video.name, sample.frame_id) == ('2.mp4', 1):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        detect(tmp_path, by=interrupted)
    content = json.loads((tmp_path / '2.mp4.json').read_text())
    assert (content['complete'], len(content['images'])) == (False, 2)
    assert '2.mp4: 5 frames' in detect(tmp_path)[1]
    assert json.loads((tmp_path / '2.mp4.json').read_text())['complete']


def test_lost_results_are_made_again(detect, tmp_path):
    detect(tmp_path)
    (tmp_path / '1.mp4.json').unlink()
    (tmp_path / '2.mp4.boxes.mp4').unlink()
    assert sorted(detect(tmp_path)[1]) == ['1.mp4: 4 frames', '2.mp4: 5 frames']
    assert (tmp_path / '1.mp4.json').exists()


def test_results_of_other_settings_or_contents_do_not_stay(project, detect, tmp_path):
    (tmp_path / 'videos').mkdir()
    for name in ('0.mp4', '1.mp4'):
        shutil.copy(project / 'videos' / name, tmp_path / 'videos')
    out = tmp_path / 'videos' / 'out'  # results are no videos
    detect(out, tmp_path / 'videos')
    assert (out / '0.mp4.boxes.mp4').exists()
    (tmp_path / 'videos' / '1.mp4').write_bytes(b'no video' * 100)
    summary, _ = detect(out, tmp_path / 'videos', draw=False, overwrite=True)
    assert summary['videos'] == 2 and list(summary['failed']) == ['1.mp4']
    found = sorted(p.name for p in out.iterdir() if not p.name.startswith(('.', 'summary')))
    assert found == ['0.mp4.json']


@pytest.mark.parametrize('error', [OSError(28, 'No space left'), MemoryError('No space')], ids=repr)
def test_errors_that_are_not_of_a_video_end_the_run_and_the_next_one_continues(
    detect, inferencer, tmp_path, error
):
    with pytest.raises(type(error), match='No space'):
        detect(tmp_path, by=stub(inferencer, error, '1.mp4'), draw=False)
    names = [line.split(': ')[0] for line in detect(tmp_path, draw=False)[1]]
    assert '1.mp4' in names and not {'2.mp4', '3.mp4'} & {*names}  # the larger ones are done


def test_wrong_options_are_no_failures_of_a_video(detect, tmp_path):
    for call in (dict(max_frames=0), dict(fps=0.0)):
        with pytest.raises(ValueError, match='is 0'):
            detect(tmp_path, call=call)
    assert not any(tmp_path.iterdir())
    with pytest.raises(ValueError, match="has no classes .'dog'"):
        detect(tmp_path, call=dict(only_classes=['dog']))


@pytest.mark.parametrize(
    'error', [ValueError('bad'), cv2.error('bad'), IndexError('bad')], ids=repr
)
def test_errors_of_a_video_do_not_end_the_run(detect, inferencer, tmp_path, error):
    summary, lines = detect(tmp_path, by=stub(inferencer, error, '2.mp4'))
    assert summary['failed']['2.mp4'] == 'bad' and len(lines) == 8


def test_a_video_that_grows_meanwhile_is_not_complete(project, detect, inferencer, tmp_path):
    (tmp_path / 'videos').mkdir()
    file = tmp_path / 'videos' / 'a.mp4'
    file.write_bytes((project / 'videos' / '0.mp4').read_bytes())

    def while_it_grows(video, **options):
        yield from inferencer(video, **options)
        with open(video, 'ab') as opened:
            opened.write(bytes(8))

    summary, _ = detect(tmp_path / 'out', tmp_path / 'videos', while_it_grows)
    assert (summary['done'], summary['failed']) == (0, {'a.mp4': 'changed while it was processed'})
    summary, _ = detect(tmp_path / 'out', tmp_path / 'videos')
    assert summary['done'] == 1 and not summary['failed']


def test_names_that_are_not_utf8_are_written_with_escape_sequences(project, detect, tmp_path):
    frames = os.fsdecode(b'frames\xe9')
    (tmp_path / 'videos' / frames).mkdir(parents=True)
    for name in (os.fsdecode(b'caf\xe9.mp4'), 'b.mp4', f'{frames}/0.png', f'{frames}/1.png'):
        source = 'v0_000.png' if name.endswith('.png') else 'videos/0.mp4'
        (tmp_path / 'videos' / name).hardlink_to(project / source)
    summary, lines = detect(tmp_path / 'out', tmp_path / 'videos', draw=False)
    assert (summary['videos'], summary['done'], len(lines)) == (3, 3, 3)
    assert b'caf\\udce9.mp4: 3 frames' in [line.encode() for line in lines]


def test_refused(detect, tmp_path):
    (tmp_path / 'mine.txt').write_text('')
    with pytest.raises(FileError, match='folder with other files'):
        detect(tmp_path)
    out = tmp_path / 'out'
    detect(out, method='copy')
    with pytest.raises(FileError, match=r'out: holds results of other settings \(method\)'):
        detect(out, method='frame')
    assert len(detect(out, method='frame', overwrite=True)[1]) == 8


TRANSFORM = """
import os, signal
from mmengine.registry import TRANSFORMS

@TRANSFORMS.register_module(force=True)
class EndsItsWorker:
    def __call__(self, results):
        if results['img'].shape[0] == 80:
            os.kill(os.getpid(), signal.SIGKILL)
        return results
"""


@pytest.mark.skipif(not find_spec('ray'), reason='needs Ray')
def test_workers_that_end_are_replaced(project, tmp_path, monkeypatch):
    """Two workers, and a video of which each frame ends its worker."""
    monkeypatch.setattr('semidff.apis.archive._TRIES', 2)
    monkeypatch.setenv('PYTHONPATH', f'{tmp_path}:{os.getcwd()}')
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'ends_its_worker.py').write_text(TRANSFORM)
    config = Config.fromfile(project / 'config.py')
    loading, *others = config.test_dataloader.dataset.pipeline
    config.test_dataloader.dataset.pipeline = [loading, dict(type='EndsItsWorker'), *others]
    config.custom_imports = dict(imports=['semidff.registry', 'ends_its_worker'])
    config.dump(tmp_path / 'config.py')
    (tmp_path / 'videos').mkdir()
    for index in range(4):
        frames, size = (4, (96, 80)) if index == 3 else (4 + 3 * index, (96, 64))
        write_video(tmp_path / 'videos' / f'{index}.mp4', frames, size=size)
    files = tmp_path / 'config.py', project / 'two.pth'
    summary = detect_archive(tmp_path / 'videos', tmp_path / 'out', *files, workers=2, device='cpu')
    assert summary['failed'] == {'3.mp4': 'its worker ended 2 times'} and summary['done'] == 3
    (tmp_path / 'videos' / '3.mp4').unlink()
    detect_archive(tmp_path / 'videos', tmp_path / 'alone', *files, device='cpu')
    for file in (tmp_path / 'alone').glob('*.mp4.*'):
        assert file.read_bytes() == (tmp_path / 'out' / file.name).read_bytes(), file


def test_the_config_of_a_checkpoint_is_enough(project, tmp_path):
    (tmp_path / 'videos').mkdir()
    write_video(tmp_path / 'videos' / 'a.mp4', 3, size=(96, 64))
    files = tmp_path / 'videos', tmp_path / 'out', None, project / 'two.pth'
    assert detect_archive(*files, device='cpu', method='frame')['done'] == 1
    shutil.copy(project / 'two.pth', tmp_path)
    with pytest.raises(FileError, match=r'other settings \(checkpoint\)'):
        detect_archive(*files[:3], tmp_path / 'two.pth', device='cpu', method='frame')
