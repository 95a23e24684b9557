"""Mixed precision and channels-last weights, and modules that need other ones."""

import copy
import pickle

import pytest
import torch
from mmcv.cnn import build_conv_layer
from mmcv.ops import ModulatedDeformConv2dPack, MultiScaleDeformableAttention
from mmdet.models.dense_heads import CenterNetHead, ConditionalDETRHead, DETRHead, YOLOFHead
from mmdet.models.roi_heads.mask_heads import MaskPointHead
from torch import Tensor, nn

from semidff.models.precision import (
    keep_boxes_precise,
    run_in_full_precision,
    to_channels_last,
    to_half,
)
from semidff.models.spatial import SpatialModule, plain_samples
from semidff.models.video_detector import VideoDetector
from tests.detectors.stock_detectors import build_stock
from tests.tiny import models

HALVES = {'bf16': torch.bfloat16, 'fp16': torch.float16}
ANCHORS = dict(type='AnchorGenerator', ratios=[1.0], scales=[1], strides=[32])
OBJECTIVES = {
    'regression': ([dict(type='FeatureRegression')], ['temporal']),
    'semantics': ([dict(type='FeatureSemantics')], ['temporal', 'task_network']),
}


def heads_outputs(model: VideoDetector) -> list[Tensor]:
    """Detect on a key frame and a non-key frame; return what the dense head returns on both."""
    found: list[Tensor] = []

    def note(head: nn.Module, inputs: tuple, output: tuple) -> None:
        found.extend(level for kind in output for level in kind)

    hook = model.spatial.heads.dense_head.register_forward_hook(note)
    images, samples = models.frames(2), models.samples(2)
    with torch.no_grad():
        results, key = model.predict_key(images[:1], samples[:1])
        results = results + model.predict_non_key(images[1:], samples[1:], key)
    hook.remove()
    for result in results:
        instances = result.pred_instances
        assert instances.bboxes.dtype == instances.scores.dtype == torch.float32
        assert len(instances) > 0
    return found


@pytest.mark.parametrize('half', HALVES)
@pytest.mark.parametrize('kind', models.KINDS)
def test_predictions_under_autocast(kind, half):
    """As in tests with test_cfg.fp16=True, and with an optimizer wrapper for mixed precision."""
    model = models.tiny_video_detector(kind).eval()
    expected = heads_outputs(model)
    with torch.autocast('cpu', HALVES[half]):
        found = heads_outputs(model)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert not torch.equal(one, other)
        assert (one - other).norm() < 0.05 * other.norm()


@pytest.mark.parametrize('objective', OBJECTIVES)
@pytest.mark.parametrize('kind', models.KINDS)
def test_distillation_under_autocast(kind, objective):
    model = models.tiny_semi_dff(kind)
    model.set_objectives(*OBJECTIVES[objective])
    model.train()
    images, samples = torch.stack(models.frames(4).split(2), dim=1), models.samples(2)
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            losses = model.loss(images, samples)
        assert all(loss.dtype == torch.float32 for loss in losses.values())
        sum(losses.values()).backward()
        parameters = [p for p in model.parameters() if p.grad is not None]
        gradients.append(torch.cat([p.grad.flatten() for p in parameters]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.9
    detector = models.tiny_video_detector(kind).train()
    with torch.autocast('cpu', torch.bfloat16):
        _, log = detector.parse_losses(detector.loss(images, models.samples(2, boxes=True)))
    log['loss'].backward()
    assert all(p.grad.isfinite().all() for p in detector.parameters() if p.grad is not None)


@pytest.mark.parametrize('half', HALVES)
def test_deformable_convolution(half):
    """mmcv's operator does not take half precision on CPUs; its offsets are positions."""
    torch.manual_seed(0)
    images = models.frames(2).to(HALVES[half])
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), ModulatedDeformConv2dPack(4, 4, 3, padding=1))
    nn.init.normal_(backbone[1].conv_offset.weight, std=0.1)
    detector = nn.ModuleDict(dict(backbone=backbone))
    keep_boxes_precise(detector)
    with torch.autocast('cpu', HALVES[half]):
        found = backbone(images)
        convolved = backbone[0](images)
    assert convolved.dtype == HALVES[half]
    assert torch.equal(found, backbone[1](convolved.float()))
    to_half(detector, HALVES[half])
    with torch.autocast('cpu', HALVES[half]):
        assert torch.equal(backbone(images), found)
    assert {p.dtype for p in backbone[1].parameters()} == {torch.float32}


@pytest.mark.parametrize('half', HALVES)
@torch.no_grad()
def test_deformable_attention_samples_in_full_precision(half):
    """Its positions are not rounded; values and outputs are projected in half precision."""
    torch.manual_seed(0)
    attention = MultiScaleDeformableAttention(64, num_levels=1, dropout=0.0, batch_first=True)
    attention.init_weights()
    nn.init.normal_(attention.sampling_offsets.weight, std=0.1)
    inputs = dict(
        query=torch.randn(2, 5, 64),
        value=torch.randn(2, 12, 64),
        reference_points=torch.rand(2, 5, 1, 2),
        spatial_shapes=torch.tensor([[3, 4]]),
        level_start_index=torch.tensor([0]),
    )
    expected = attention(**inputs)
    keep_boxes_precise(attention)
    to_half(attention, HALVES[half])
    found = {}
    for name, child in attention.named_children():
        child.register_forward_hook(
            lambda _, inputs, output, name=name: found.update({name: output})
        )
    with torch.autocast('cpu', HALVES[half]):
        output = attention(**inputs)
    assert {each.dtype for each in found.values()} == {output.dtype} == {torch.float32}
    assert torch.equal(found['sampling_offsets'], attention.sampling_offsets(inputs['query']))
    assert {n for n, p in attention.named_parameters() if p.dtype == HALVES[half]} == {
        f'{layer}_proj.{kind}' for layer in ('value', 'output') for kind in ('weight', 'bias')
    }
    assert 0 < (output - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize('half', HALVES)
@pytest.mark.parametrize(
    ('head', 'inputs'),
    [
        (CenterNetHead(8, 8, 2), ([torch.randn(1, 8, 12, 16)],)),
        (YOLOFHead(2, 32, anchor_generator=ANCHORS), ([torch.randn(1, 32, 2, 2)],)),
        (DETRHead(2, 32), (torch.randn(6, 1, 20, 32),)),
        (ConditionalDETRHead(2, 32), (torch.randn(6, 1, 20, 32), torch.rand(1, 20, 2))),
    ],
    ids=['centernet', 'yolof', 'detr', 'conditional-detr'],
)
def test_outputs_of_sigmoids(head, inputs, half):
    """Rounded neighbors in a heat map would be several maxima, and boxes would move by pixels.

    YOLOF's head limits exponentials to a number that overflows in float16.
    """
    expected = head(*inputs)
    keep_boxes_precise(head)
    to_half(head, HALVES[half])
    with torch.autocast('cpu', HALVES[half]):
        found = head(*inputs)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one[0], other[0])


@pytest.mark.parametrize(
    'config',
    [
        'conditional_detr/conditional-detr_r50_8xb2-50e_coco',
        'dab_detr/dab-detr_r50_8xb2-50e_coco',
        'deformable_detr/deformable-detr_r50_16xb2-50e_coco',
        'deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco',
    ],
)
@torch.no_grad()
def test_reference_points_of_detr_are_not_rounded(config):
    """They are added to the boxes: in bfloat16, these were off by up to 1/512 of the frame."""
    torch.manual_seed(0)
    detector = build_stock(config, narrow=True)
    keep_boxes_precise(detector)
    references: list[Tensor] = []
    detector.bbox_head.register_forward_pre_hook(lambda head, inputs: references.append(inputs[1]))
    images, samples = torch.randn(1, 3, 128, 160), plain_samples(1, (128, 160))
    with torch.autocast('cpu', torch.bfloat16):
        detector.predict(images, samples)
    (found,) = references
    found = found if isinstance(found, list) else [found]
    assert all(points.dtype == torch.float32 for points in found)
    assert any(not torch.equal(points, points.bfloat16()) for points in found)


@pytest.mark.parametrize('half', HALVES)
def test_the_point_head_of_point_rend(half):
    """Its logits are written into the coarse masks, which are float32."""
    head = MaskPointHead(num_classes=2, in_channels=8, fc_channels=8)
    keep_boxes_precise(head)
    with torch.autocast('cpu', HALVES[half]):
        assert head(torch.randn(1, 8, 4), torch.randn(1, 2, 4)).dtype == torch.float32


def test_copies_run_their_own_weights():
    layer = nn.Linear(2, 2)
    run_in_full_precision(layer)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        with torch.no_grad():
            twin.weight.zero_()
        with torch.autocast('cpu', torch.bfloat16):
            assert torch.equal(twin(torch.ones(1, 2)), twin.bias[None])
    with torch.autocast('cpu', torch.bfloat16):
        assert layer(torch.ones(1, 2).bfloat16()).dtype == torch.float32


# --- channels-last weights ------------------------------------------------------------------------


@pytest.mark.parametrize(
    'config',  # with operators of mmcv in the backbone, in the neck and in the head
    [
        'dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco',
        'dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco',
        'centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco',
        'dyhead/atss_r50_fpn_dyhead_1x_coco',
    ],
)
@torch.no_grad()
def test_channels_last_weights_compute_the_same(config):
    detector = build_stock(config, narrow=True)
    for name, parameter in detector.named_parameters():
        if 'conv_offset' in name:  # they start at 0, where nothing is deformed
            nn.init.normal_(parameter, std=0.02)
    spatial, images = SpatialModule(detector), torch.randn(1, 3, 128, 160)
    before = spatial.raw_outputs(spatial.features(images))
    for _ in range(2):
        to_channels_last(spatial)
    after = spatial.raw_outputs(spatial.features(images))
    for name, reference in before.items():
        scale = reference.abs().max()
        assert (reference - after[name]).abs().max() <= 1e-4 * scale + 1e-6


@pytest.mark.parametrize('kind', ['ConvWS', 'ConvAWS'])
def test_weight_standardization(kind):
    torch.manual_seed(0)
    layer = build_conv_layer(dict(type=kind), 8, 8, 3)
    images = torch.randn(1, 8, 16, 16)
    expected = layer(images)
    to_channels_last(layer)
    found = layer(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected)


HEADS = dict(
    grid=(dict(type='GridHead', num_convs=1, in_channels=8), lambda head, x: head(x)['fused']),
    corners=(
        dict(type='CornerHead', num_classes=2, in_channels=8, num_feat_levels=1),
        lambda head, x: torch.cat(
            [maps[0].view(-1) for maps in head((x,))]
        ),  # as its post-processing
    ),
)


@pytest.mark.parametrize('name', HEADS)
@torch.no_grad()
def test_heads_whose_post_processing_needs_contiguous_outputs(name):
    config, compute = HEADS[name]
    head, images = models.build(config).eval(), torch.randn(1, 8, 14, 14)
    expected = compute(head, images)
    to_channels_last(head)
    found = compute(head, images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_attention_gets_contiguous_inputs():
    """The layers of transformers transpose batch and queries."""
    attention = nn.MultiheadAttention(16, 2)
    query = torch.randn(2, 5, 16).transpose(0, 1)
    expected = attention(query, key=query, value=query)
    to_channels_last(attention)
    seen = []
    attention.register_forward_pre_hook(
        lambda _, inputs, keywords: seen.extend((*inputs, *keywords.values())), with_kwargs=True
    )
    found = attention(query, key=query, value=query)
    assert len(seen) == 3 and all(each.is_contiguous() for each in seen)
    assert all(torch.allclose(one, other) for one, other in zip(found, expected, strict=True))
