"""Detection in all videos of a folder: by several processes, killed and continued, with broken files."""

import json
import os
import shutil
import signal

import cv2
import pytest
import torch
from mmengine.config import Config

from semidff.apis import VideoInferencer
from semidff.apis.archive import Archive
from semidff.datasets.video_readers import VideoError
from semidff.utils.error_messages import FileError
from tests.damaged_video import write_video
from tests.tiny_video import build, test_settings, video_detector_cfg, write_videos

SETTINGS = dict(method='copy')


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A detector, and a folder of videos, a broken one among them."""
    folder = tmp_path_factory.mktemp('archive')
    Config(test_settings(write_videos(folder, (3,)), folder / 'work')).dump(folder / 'config.py')
    torch.save(dict(state_dict=build(video_detector_cfg(), 3).state_dict()), folder / 'two.pth')
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
    return VideoInferencer(*arguments, device='cpu', method='copy', show_progress=False)


def stub(inferencer, error, at):
    """Return an inferencer that raises an error in one video."""

    def detect(video, **options):
        if video.endswith(at):
            raise error
        yield from inferencer(video, **options)

    detect.engine = inferencer.engine
    return detect


NAMES = ['0.mp4', '1.mp4', '2.mp4', '3.mp4', 'broken.mp4', 'gone.mp4', 'sub/10.avi', 'sub/frames']


def test_every_video_once_and_broken_ones_with_the_reason(project, inferencer, tmp_path):
    lines = []
    summary = Archive(project / 'videos', tmp_path / 'out', SETTINGS).run(inferencer, lines.append)
    assert [line.split(': ')[0] for line in lines] == NAMES
    assert (summary['videos'], summary['done'], summary['frames']) == (8, 6, 3 + 4 + 5 + 6 + 3 + 3)
    assert list(summary['failed']) == ['broken.mp4', 'gone.mp4']
    assert min(map(len, summary['failed'].values())) > 10
    assert json.loads((tmp_path / 'out' / 'summary.json').read_text()) == summary
    written = {
        str(path.relative_to(tmp_path / 'out')) for path in (tmp_path / 'out').rglob('*.json')
    }
    results = {name for name in written if not name.startswith('.records')}
    assert results == {f'{name}.json' for name in NAMES if name[0] not in 'bg'} | {'summary.json'}
    boxes = json.loads((tmp_path / 'out' / 'sub' / '10.avi.json').read_text())
    assert len(boxes['images']) == 3 and len(boxes['annotations']) > 3
    assert (tmp_path / 'out' / 'sub' / 'frames.boxes.mp4').stat().st_size > 500
    # the same again: nothing is left to do but what has changed
    lines.clear()
    (project / 'videos' / 'broken.mp4').write_bytes((project / 'videos' / '0.mp4').read_bytes())
    archive = Archive(project / 'videos', tmp_path / 'out', SETTINGS, overwrite=False)
    again = archive.run(inferencer, lines.append)
    assert lines == ['broken.mp4: 3 frames']
    assert (again['done'], [*again['failed']]) == (7, ['gone.mp4'])
    # --overwrite: what failed is tried again
    lines.clear()
    archive = Archive(project / 'videos', tmp_path / 'out', SETTINGS)
    archive.run(stub(inferencer, VideoError('gone.mp4', 'no video'), 'gone.mp4'), lines.append)
    assert lines == ['gone.mp4: gone.mp4: no video']


def test_lost_results_are_made_again(project, inferencer, tmp_path):
    lines = []
    Archive(project / 'videos', tmp_path / 'out', SETTINGS).run(inferencer, lines.append)
    (tmp_path / 'out' / '1.mp4.json').unlink()
    (tmp_path / 'out' / '2.mp4.boxes.mp4').unlink()
    lines.clear()
    archive = Archive(project / 'videos', tmp_path / 'out', SETTINGS, overwrite=False)
    archive.run(inferencer, lines.append)
    assert lines == ['1.mp4: 4 frames', '2.mp4: 5 frames']
    assert (tmp_path / 'out' / '1.mp4.json').exists()


def test_results_of_other_settings_or_contents_do_not_stay(project, inferencer, tmp_path):
    (tmp_path / 'videos').mkdir()
    for name in ('0.mp4', '1.mp4'):
        shutil.copy(project / 'videos' / name, tmp_path / 'videos')
    out = tmp_path / 'out'
    Archive(tmp_path / 'videos', out, SETTINGS).run(inferencer)
    assert (out / '0.mp4.boxes.mp4').exists()
    (tmp_path / 'videos' / '1.mp4').write_bytes(b'no video' * 100)
    summary = Archive(tmp_path / 'videos', out, SETTINGS, draw=False).run(inferencer)
    assert list(summary['failed']) == ['1.mp4']
    found = sorted(p.name for p in out.iterdir() if not p.name.startswith(('.', 'summary')))
    assert found == ['0.mp4.json']


def test_a_full_disk_ends_the_run_and_the_next_one_continues(project, inferencer, tmp_path):
    full = stub(inferencer, OSError(28, 'No space left on device'), '2.mp4')
    archive, lines = Archive(project / 'videos', tmp_path / 'out', SETTINGS, draw=False), []
    with pytest.raises(OSError, match='No space'):
        archive.run(full, lines.append)
    assert archive.summary()['done'] == 2 and not list((tmp_path / 'out').rglob('*.mp4'))
    archive.run(inferencer, lines.append)
    assert [line.split(': ')[0] for line in lines] == NAMES


def test_results_may_be_among_the_videos_and_a_damaged_record_is_none(
    project, inferencer, tmp_path
):
    (tmp_path / 'videos').mkdir()
    (tmp_path / 'videos' / 'a.mp4').hardlink_to(project / 'videos' / '0.mp4')
    out = tmp_path / 'videos' / 'results'
    for _ in range(2):
        archive = Archive(tmp_path / 'videos', out, SETTINGS, overwrite=False)
        assert archive.run(inferencer)['videos'] == 1
        record = out / '.records' / 'a.mp4.json'
        record.write_text(record.read_text()[:30])


def test_errors_of_the_device_are_no_failures_of_a_video(project, inferencer, tmp_path):
    archive = Archive(project / 'videos', tmp_path / 'out', SETTINGS, draw=False)
    with pytest.raises(RuntimeError, match='CUDA'):
        archive.run(stub(inferencer, RuntimeError('CUDA error'), '2.mp4'))
    assert archive.summary()['done'] == 2 and '2.mp4' in archive.summary()['failed']
    assert archive.run(inferencer)['frames'] >= 24


def test_wrong_options_are_no_failures_of_a_video(project, inferencer, tmp_path):
    archive = Archive(project / 'videos', tmp_path / 'out', SETTINGS, draw=False)
    for options in (dict(max_frames=0), dict(fps=0.0)):
        with pytest.raises(ValueError, match='is 0'):
            archive.run(inferencer, **options)
    assert archive.run(inferencer)['frames'] >= 24


@pytest.mark.parametrize('error', [ValueError('bad'), cv2.error('bad')], ids=repr)
def test_errors_of_a_video_do_not_end_the_run(project, inferencer, tmp_path, error):
    archive = Archive(project / 'videos', tmp_path / 'out', SETTINGS, draw=False)
    assert archive.run(stub(inferencer, error, '2.mp4'))['failed']['2.mp4'] == 'bad'


def test_a_video_that_grows_meanwhile_is_not_complete(project, inferencer, tmp_path):
    (tmp_path / 'videos').mkdir()
    file = tmp_path / 'videos' / 'a.mp4'
    file.write_bytes((project / 'videos' / '0.mp4').read_bytes())

    def while_it_grows(video, **options):
        yield from inferencer(video, **options)
        with open(video, 'ab') as opened:
            opened.write(bytes(8))

    while_it_grows.engine = inferencer.engine
    archive = Archive(tmp_path / 'videos', tmp_path / 'out', SETTINGS, draw=False)
    summary = archive.run(while_it_grows)
    assert (summary['done'], summary['failed']) == (0, {'a.mp4': 'changed while it was processed'})
    summary = archive.run(inferencer)
    assert summary['done'] == 1 and not summary['failed']


def test_names_that_are_not_utf8_are_written_with_escape_sequences(project, inferencer, tmp_path):
    frames = os.fsdecode(b'frames\xe9')
    (tmp_path / 'videos' / frames).mkdir(parents=True)
    for name in (os.fsdecode(b'caf\xe9.mp4'), 'b.mp4', f'{frames}/0.png', f'{frames}/1.png'):
        source = 'v0_000.png' if name.endswith('.png') else 'videos/0.mp4'
        (tmp_path / 'videos' / name).hardlink_to(project / source)
    lines = []
    archive = Archive(tmp_path / 'videos', tmp_path / 'out', SETTINGS, draw=False)
    summary = archive.run(inferencer, lambda text: lines.append(text.encode()))
    assert (summary['videos'], summary['done'], len(lines)) == (3, 3, 3)
    assert b'caf\\udce9.mp4: 3 frames' in lines


def test_refused(project, inferencer, tmp_path):
    videos, out = project / 'videos', tmp_path / 'out'
    (tmp_path / 'mine.txt').write_text('')
    with pytest.raises(FileError, match='folder with other files'):
        Archive(videos, tmp_path, SETTINGS)
    Archive(videos, out, SETTINGS, draw=False).run(inferencer)
    with pytest.raises(FileError, match=r'out: holds results of other settings \(method\)'):
        Archive(videos, out, dict(method='frame'), draw=False, overwrite=False)
    assert Archive(videos, out, dict(method='frame'), draw=False).summary()['done'] == 0


def test_videos_of_a_killed_process_are_taken_up_by_others(project, inferencer, tmp_path):
    """Two processes share 60 videos; one kills itself in its tenth and is started again."""
    videos, out = tmp_path / 'videos', tmp_path / 'out'
    videos.mkdir()
    source = write_video(tmp_path / 'source.mp4', 2, size=(96, 64))
    for index in range(60):
        (videos / f'{index}.mp4').hardlink_to(source)
    own = []

    def noted(video, **options):
        with open(tmp_path / 'begun.txt', 'a') as file:
            file.write(f'{video}\n')
        yield from inferencer(video, **options)

    def killed(video, **options):
        own.append(video)
        for number, sample in enumerate(noted(video, **options)):
            if len(own) == 10 and number == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            yield sample

    noted.engine = killed.engine = inferencer.engine
    first, other = (fork(Archive(videos, out, SETTINGS), one) for one in (killed, noted))
    assert os.waitpid(first, 0)[1] == signal.SIGKILL
    again = fork(Archive(videos, out, SETTINGS), noted)
    assert [os.waitpid(process, 0)[1] for process in (other, again)] == [0, 0]
    summary = json.loads((out / 'summary.json').read_text())
    assert (summary['videos'], summary['done'], summary['frames']) == (60, 60, 120)
    begun = (tmp_path / 'begun.txt').read_text().split()
    assert len(begun) == 61 and len({*begun}) == 60  # twice: the one of the kill
    # nothing half-written is left
    assert not [path for path in out.rglob('*') if '.tmp' in path.name]
    boxes = {json.dumps(json.loads(p.read_text())['annotations']) for p in out.glob('*.mp4.json')}
    assert len(boxes) == 1


def fork(archive: Archive, inferencer) -> int:
    """Run an archive in a child process without threads of its parent; return the process."""
    process = os.fork()
    if not process:
        torch.set_num_threads(1)
        cv2.setNumThreads(0)
        try:
            archive.run(inferencer)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return process
