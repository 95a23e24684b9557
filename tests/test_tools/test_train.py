"""How tools/train.py ends on bad input: a message with the file and the remedy, exit code 1, no result."""

import pytest
import torch

from tests import stage_two


@pytest.fixture
def train(tmp_path, fails):
    """Runs the tool with a config; the message that it ends with."""

    def train(cfg) -> str:
        cfg.dump(tmp_path / 'config.py')
        message = fails('train.py', tmp_path / 'config.py', '--work-dir', tmp_path / 'out')
        assert not list((tmp_path / 'out').glob('*.pth'))
        return message

    return train


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (None, ('no list of videos',)),
        ('# nothing but a comment\n', ('videos.txt',)),
        ('gone.mp4\nempty.mp4\n', ('gone.mp4', 'empty.mp4')),
    ],
    ids=['missing list', 'empty list', 'nothing readable'],
)
def test_bad_list_of_videos(train, tmp_path, content, words):
    videos = tmp_path / 'videos.txt'
    (tmp_path / 'empty.mp4').touch()
    if content is not None:
        videos.write_text(content)
    message = train(stage_two.config(videos, tmp_path / 'out'))
    assert str(videos) in message
    assert all(word in message for word in words), message


def test_checkpoint_of_another_model(train, tmp_path):
    other = tmp_path / 'other.pth'
    torch.save(dict(state_dict={'fc.weight': torch.ones(2)}), other)
    cfg = stage_two.config(
        stage_two.write_videos(tmp_path),
        tmp_path / 'out',
        load_parts=dict(detector=dict(part='spatial.detector', checkpoint=str(other))),
    )
    message = train(cfg)
    assert all(word in message for word in (str(other), 'fc.weight', 'missing in the checkpoint'))


def test_loss_that_is_no_number(train, tmp_path):
    cfg = stage_two.config(stage_two.write_videos(tmp_path), tmp_path / 'out')
    # a learning rate that no network survives
    cfg.optim_wrapper.optimizer = dict(type='SGD', lr=1e30)
    cfg.default_hooks.checkpoint.interval = 100
    message = train(cfg)
    assert 'iteration ' in message and 'Clip the gradient' in message and 'nan' in message
