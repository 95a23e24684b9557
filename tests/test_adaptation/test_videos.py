"""The videos of an adaptation: what is named, what is left out, and the lists of the steps."""

import logging
import os
from pathlib import Path

import pytest
from mmengine.logging import MMLogger

from semidff.adaptation.videos import named_videos, write_list, write_step_lists


@pytest.fixture
def log(caplog):
    """Records of mmengine's current logger, which does not propagate to the root logger."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_names_that_are_not_utf8_are_counted(tmp_path, log):
    for name in ('a.mp4', 'b #.mp4', os.fsdecode(b'caf\xe9.mp4')):
        (tmp_path / name).touch()
    found = named_videos([str(tmp_path)], tmp_path / 'out')
    assert found == [str(tmp_path / 'a.mp4')]
    assert Path(write_list(tmp_path / 'list.txt', found)).read_text() == f'{found[0]}\n'
    assert '2 videos are skipped' in log.text and 'not UTF-8' in log.text


def test_a_further_step_changes_no_earlier_list(tmp_path):
    def lists(**videos):
        steps = [dict(name=name, videos=list(given)) for name, given in videos.items()]
        paths = write_step_lists(steps, tmp_path)
        return paths, [Path(path).read_text().split() for path in paths]

    assert lists(regression='a')[1] == [['a']]
    assert lists(regression='a', regression_2='ab')[1] == [['a'], ['a', 'b']]
    paths, contents = lists(regression='a', semantic='a', semantic_3='ab')
    assert paths[0] == paths[1] and contents == [['a'], ['a'], ['a', 'b']]
