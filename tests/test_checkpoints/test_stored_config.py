"""Configs in checkpoints are data: what they say is read, what they would do is not done."""

import pytest
from mmengine.config import Config

from semidff.checkpoints.safe import CheckpointError
from semidff.checkpoints.stored_config import parse_config

CONFIG = Config(
    dict(
        model=dict(
            type='mmdet.RetinaNet',
            anchors=dict(scales=[2, 3.5], sizes=[(1, 2), (3, 4)], sides=(5,)),
            options={'a-b': None, 'c': -1.5, 'top': float('inf')},
            text='a "quoted" \'word\'\nand a line',
        ),
        hooks=[dict(type='CheckpointHook', interval=10), dict(type='LoggerHook')],
        seed=0,
        resume=False,
    )
)


def test_what_mmengine_writes_is_read_back():
    assert parse_config(CONFIG.pretty_text, 'a.pth') == CONFIG.to_dict()


@pytest.mark.parametrize(
    'text',
    [
        'import os\nos.remove({path!r})',
        'a = open({path!r}, "w").close()',
        'a = dict(b=__import__("os").remove({path!r}))',
        'a = [dict(type="subprocess.call", args=["rm", {path!r}])]',
        'model = dict(detector={path!r})',
        'model = dict(teacher_config={path!r})',
        'model = dict(_scope_="other")',
        'model = dict(warp_mode="print(1)")',
        'default_scope = "other"',
        'a = b = 1 +',
        '(' * 9999,
    ],
)
def test_code_is_refused_and_not_run(text, tmp_path):
    path = tmp_path / 'file'
    path.write_text('content')
    with pytest.raises(CheckpointError, match=r'a\.pth.*not run; give the config file'):
        parse_config(text.format(path=str(path)), 'a.pth')
    assert path.read_text() == 'content'
