"""Features, flow, scale field, propagated features and heads against the original's network."""

import torch

from semidff.converters.mxnet.names import targets
from tests.test_golden.original import (
    arrays,
    compared,
    in_original_order,
    pair,
    read_json,
    relative,
    sample,
)


def test_parameters_fill_the_network(model):
    """Every tensor of the video detector comes from the original, but batch norm's counters."""
    given = {target.key for target in targets().values()}
    own = {k for k in model.state_dict() if not k.startswith('teacher_task.')}
    assert {k for k in own - given if not k.endswith('num_batches_tracked')} == set()
    assert given <= own


@torch.no_grad()
def test_flow_scale_and_warp(model):
    golden = arrays('net_golden.npz')
    key, current = (model.temporal.prepare(frame[None]) for frame in pair())
    flow, scale, _ = model.temporal.fields(key, current)
    assert relative(flow, golden['cur_flow']) < 1e-5
    assert relative(scale, golden['cur_scale_map']) < 1e-5
    features = (torch.from_numpy(golden['key_conv_feat']),)
    assert (
        relative(model.temporal.propagate(features, flow, None)[0], golden['cur_warped_feat'])
        < 1e-5
    )
    assert (
        relative(model.temporal.propagate(features, flow, scale)[0], golden['cur_conv_feat']) < 1e-5
    )


@torch.no_grad()
def test_key_and_propagated_features(model):
    golden = arrays('net_golden.npz')
    key, current = (frame[None] for frame in pair())
    _, state = model.eval().predict_key(key, [sample()])
    assert relative(state.features[0], golden['key_conv_feat']) < 1e-5
    propagated = model.temporal(state.image, model.temporal.prepare(current), state.features)
    assert relative(propagated[0], golden['cur_conv_feat']) < 1e-5
    model.train()


def test_target_and_propagated_features_of_the_distillation(model):
    golden = arrays('semi_reg_golden.npz')
    batch = compared(model)
    assert relative(batch.target[0].detach(), golden['feat_cur']) < 1e-5
    assert relative(batch.propagated[0].detach(), golden['cur_conv_feat']) < 1e-5


@torch.no_grad()
def test_position_sensitive_maps(model):
    golden = arrays('net_golden.npz')
    head = model.spatial.detector.roi_head.bbox_head
    features = torch.from_numpy(golden['key_conv_feat'])[:, -512:]
    order = targets(('task_network',))['rfcn_cls_weight'].order
    maps = in_original_order(head.conv_cls(features).transpose(0, 1), order)
    assert relative(maps.swapaxes(0, 1), golden['key_rfcn_cls_map']) < 1e-5
    maps = head.conv_reg(features)
    assert relative(maps, golden['key_rfcn_bbox_map']) < 1e-5
    pooled = head.pooling(maps, torch.from_numpy(golden['key_rois']))
    assert relative(pooled, golden['key_psroi_loc']) < 1e-5


def test_what_learns(model):
    names = {target.key: name for name, target in targets().items()}
    for parts, file in (
        (('temporal',), 'semi_reg_golden_grads.json'),
        (('temporal', 'task_network'), 'semi_sem_golden_grads.json'),
    ):
        model.set_objectives([dict(type='FeatureRegression')], parts)
        learning = {names[k] for k, p in model.named_parameters() if p.requires_grad}
        assert learning == set(read_json(file)['trainable'])


def by_name(outputs: list) -> dict[str, torch.Tensor]:
    return {output.name: output.values for output in outputs}


def check_heads(heads, golden: dict, scores: str, deltas: str, tolerance: float = 1e-5) -> None:
    """Compares the rows of the dense head with the original's maps."""
    height, width = golden[scores].shape[-2:]
    logits = heads['rpn_cls'].detach().reshape(height, width, 9, 2).permute(3, 2, 0, 1)
    # The original: background of all anchors, then their foreground.
    maps = logits.flip(0).reshape(1, 18, height, width)
    assert relative(maps, golden[scores]) < tolerance
    boxes = heads['rpn_box'].detach().reshape(height, width, 36).permute(2, 0, 1)[None]
    assert relative(boxes, golden[deltas]) < tolerance
