"""Options of tools/test.py in configs of video detectors and of other models."""

from argparse import Namespace

import pytest
from mmengine.config import Config

from semidff.engine.test_options import VIDEO_OPTIONS, OptionError, apply_test_options


def config(**test_cfg) -> Config:
    return Config(
        dict(test_cfg=test_cfg, test_dataloader=dict(a=1), test_evaluator=dict(type='VIDMetric'))
    )


def options(**given) -> Namespace:
    return Namespace(**{**dict.fromkeys(VIDEO_OPTIONS), 'render_fps': 10, **given})


def test_video_test_takes_them():
    cfg = config(type='VideoTestLoop', method='copy', key_interval=10)
    assert apply_test_options(cfg, options()) == 'copy'
    assert apply_test_options(cfg, options(method='frame', key_interval=5)) == 'frame'
    assert cfg.test_cfg.key_interval == 5
    apply_test_options(cfg, options(detections='out.txt', render='videos', render_videos=2))
    assert cfg.test_evaluator.outfile == 'out.txt'
    assert cfg.test_cfg.render == dict(out_dir='videos', max_videos=2, fps=10)
    with pytest.raises(OptionError, match='must be at least 1'):
        apply_test_options(cfg, options(key_interval=0))


def test_schedules():
    cfg = config(type='VideoTestLoop', key_interval=7)
    apply_test_options(cfg, options(key_interval=5))
    assert cfg.test_cfg.get('schedule') is None
    apply_test_options(cfg, options(scene_cuts=True))
    assert cfg.test_cfg.schedule == dict(type='SceneCutSchedule', base=5)
    apply_test_options(cfg, options(adaptive='a.json', key_interval=9))
    adaptive = dict(type='AdaptiveSchedule', file='a.json', interval=9)
    assert cfg.test_cfg.schedule == adaptive
    apply_test_options(cfg, options(adaptive='a.json', scene_cuts=True))
    assert cfg.test_cfg.schedule == dict(type='SceneCutSchedule', base=adaptive)


def test_other_models_have_no_method():
    cfg = config(type='TestLoop')
    assert apply_test_options(cfg, options()) is None
    assert cfg.test_cfg == dict(type='TestLoop')


@pytest.mark.parametrize(
    ('name', 'value'), [('method', 'copy'), ('key_interval', 5), ('render', 'videos')]
)
def test_other_models_refuse_video_options(name, value):
    with pytest.raises(OptionError, match=f'--{name.replace("_", "-")} is for tests on videos'):
        apply_test_options(config(type='TestLoop'), options(**{name: value}))


def test_nothing_to_test():
    with pytest.raises(OptionError, match="type is None; set test_cfg = dict.type='VideoTestLoop'"):
        apply_test_options(config(fp16=True), options())
    with pytest.raises(OptionError, match='nothing to test'):
        apply_test_options(Config(dict(test_cfg=None)), options())
