"""tools/export_onnx.py: RetinaNet from a checkpoint to two graphs that are compared with PyTorch."""

import pytest

from semidff.deployment import Description

EXPORT = 'export_onnx.py'


def test_export_and_verify(project, run):
    pytest.importorskip('onnxscript', reason="needs the extra 'onnx'")
    pytest.importorskip('onnxruntime', reason="needs the extra 'onnx'")
    options = ('--video', 'in.mp4', '--verify', '--frames', 3)
    printed = run(EXPORT, 'config.py', 'two.pth', '--out', 'exported', *options)
    for line in (
        'frames enter as 1 x 3 x 64 x 96',
        'key.onnx cls_scores_2',
        'non_key.onnx bbox_preds_0',
    ):
        assert line in printed
    last = printed.splitlines()[-1]
    assert last.startswith('after NMS, 3 frames: ')
    assert 'of which 0 have no counterpart' in last and last.endswith('; 0 the other way round')
    assert Description.read(project / 'exported').strides == [8, 16, 32]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('alone.py', 'two.pth'), 'no temporal module'),
        (
            ('config.py', 'two.pth', '--video', 'in.mp4', '--shape', '64', '64'),
            'leave the test pipeline as 64 x 96, not as 64 x 64',
        ),
        (('config.py', 'two.pth', '--video', 'none.mp4'), 'none.mp4'),
    ],
)
def test_bad_input(project, fails, arguments, message):
    assert message in fails(EXPORT, *arguments, '--out', 'nothing')
    assert not (project / 'nothing').exists()
