"""Inner tensors of the network under the names that they have in the original's graph."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semidff.converters.mxnet.names import targets
from semidff.models import VideoDetector
from tests.test_golden.original import in_original_classes, in_original_scores

# ReLU1 to ReLU10 follow them
ENCODER = (
    'flow_conv1',
    'conv2',
    'conv3',
    'conv3_1',
    'conv4',
    'conv4_1',
    'conv5',
    'conv5_1',
    'conv6',
    'conv6_1',
)
# What reads the skip connections of the four rounds of refinement.
SKIPS = ('conv6', 'conv5', 'conv4', 'conv3')

Report = Callable[[str, Tensor], None]


@contextmanager
def watched_backbone(model: VideoDetector, report: Report) -> Iterator[None]:
    """Reports every layer of ResNet and neck as it is computed; many are overwritten."""
    detector, hooks = model.spatial.detector, []

    def after(module: nn.Module, name: str) -> None:
        hooks.append(module.register_forward_hook(lambda m, a, out: report(name, out)))

    for name, target in targets(('feature_network',)).items():
        layer = target.key.removesuffix('.weight')
        if name.endswith(('_weight', '_gamma')):
            after(model.get_submodule(layer), name.rsplit('_', 1)[0])
        if name.endswith('_branch2a_weight'):
            unit = model.get_submodule(layer.removesuffix('.conv1'))
            hooks += _activations(unit, name.removesuffix('_branch2a_weight'), report)
    after(detector.backbone.relu, 'conv1_relu')
    after(detector.backbone.maxpool, 'pool1')
    hooks.append(
        detector.neck.register_forward_hook(lambda m, a, out: report('feat_conv_3x3_relu', out[0]))
    )
    yield
    for hook in hooks:
        hook.remove()


def _activations(unit: nn.Module, name: str, report: Report) -> list:
    """A bottleneck calls its one activation three times, the third time on the sum."""
    calls = iter([f'{name}_branch2a_relu', f'{name}_branch2b_relu', f'{name}_relu'])
    waiting = []

    def before(module: nn.Module, arguments: tuple) -> None:
        waiting.append(next(calls))
        if waiting[0] == f'{name}_relu':
            report(name, arguments[0])

    def after(module: nn.Module, arguments: tuple, out: Tensor) -> None:
        report(waiting.pop(), out)

    return [
        unit.relu.register_forward_pre_hook(before),
        unit.relu.register_forward_hook(after),
    ]


def flow_tensors(model: VideoDetector, key: Tensor, current: Tensor) -> dict[str, Tensor]:
    """Every tensor of the flow network for frames (1, 3, H, W), and the scale field."""
    net = model.temporal.flow_network
    read, made = {}, {}

    def remember(name: str) -> Callable:
        def hook(module: nn.Module, arguments: tuple, out: Tensor) -> None:
            read[name], made[name] = arguments[0], out

        return hook

    hooks = [m.register_forward_hook(remember(name)) for name, m in net.named_children()]
    prepared = model.temporal.prepare(key), model.temporal.prepare(current)
    flow, scale, _ = model.temporal.fields(*prepared)
    for hook in hooks:
        hook.remove()
    scaled = current * net.input_scale, key * net.input_scale
    tensors = dict(zip(('_divscalar0', '_divscalar1'), scaled, strict=True))
    tensors.update(concat0=torch.cat(scaled, 1), resize_data=read['conv1'])
    layers = [name.removeprefix('flow_') for name in ENCODER]
    tensors.update(zip(ENCODER, map(made.get, layers), strict=True))
    activations = map(read.get, [*layers[1:], 'predict0'])
    tensors.update((f'ReLU{i}', value) for i, value in enumerate(activations, start=1))
    for i in range(4):
        tensors.update(_refinement(net, i, read, made))
    tensors.update(resize_concat5=read['predict_flow'], Convolution5=made['predict_flow'])
    return tensors | dict(_mulscalar0=flow, Convolution5_scale=scale)


def _refinement(net: nn.Module, i: int, read: dict, made: dict) -> dict[str, Tensor]:
    """A round's tensors; ours crops the deconvolutions' far sides while it computes them."""
    names = f'deconv{5 - i}', f'upsample_flow{6 - i}to{5 - i}'
    crops = f'crop_deconv{5 - i}', f'crop_upsampled_flow{6 - i}_to_{5 - i}'
    skip = read[SKIPS[i]]
    height, width = skip.shape[-2:]
    tensors = {f'Convolution{i + 1}': made[f'predict{i}']}
    for own, name, crop in zip((f'deconv{i}', f'upflow{i}'), names, crops, strict=True):
        layer = net.get_submodule(own)
        tensors[name] = F.conv_transpose2d(read[own], layer.weight, layer.bias, layer.stride)
        tensors[crop] = made[own][..., :height, :width]
    features = F.leaky_relu(tensors[crops[0]], 0.1)
    top = torch.cat((skip, features, tensors[crops[1]]), 1)
    # It is what the network went on with.
    if i < 3:
        assert torch.equal(top, read[f'predict{i + 1}'])
    else:
        torch.testing.assert_close(F.avg_pool2d(top, 2, ceil_mode=True), read['predict_flow'])
    return tensors | {f'ReLU{11 + i}': features, f'Concat{2 + i}': top}


def warp_tensors(model: VideoDetector, features: tuple, flow: Tensor, scale: Tensor) -> dict:
    """The original's normalized positions, and the features before and after the scale field."""
    height, width = flow.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    size = torch.tensor([width, height]).view(2, 1, 1)
    return dict(
        flow_grid=2 * (flow + torch.stack((x, y))) / (size - 1) - 1,
        warping_feat=model.temporal.propagate(features, flow, None)[0],
        _mul0=model.temporal.propagate(features, flow, scale)[0],
    )


def task_tensors(model: VideoDetector, features: tuple, sample, rois: Tensor) -> dict:
    """Every tensor of the heads, with the network's proposals; ``rois`` (R, 5) are pooled."""
    detector = model.spatial.detector
    (scores,), (deltas,) = detector.rpn_head(features)
    stds = torch.tensor(detector.rpn_head.bbox_coder.stds).repeat(9)[:, None, None]
    (proposals,) = detector.rpn_head.predict(features, [sample])
    maps = in_original_scores(scores)
    pairs = maps.reshape(1, 2, -1, maps.shape[-1])
    tensors = dict(
        rpn_cls_score=maps,
        rpn_cls_score_reshape=pairs,
        rpn_cls_prob=pairs.softmax(1),
        rpn_cls_prob_reshape=pairs.softmax(1).reshape(maps.shape),
        rpn_bbox_pred=deltas,
        rpn_bbox_pred_denorm=deltas * stds,
        rois=F.pad(proposals.bboxes, (1, 0)),
    )
    return tensors | _head_tensors(detector.roi_head.bbox_head, features[0], rois)


def _head_tensors(head: nn.Module, features: Tensor, rois: Tensor) -> dict[str, Tensor]:
    scores, deltas = head.score_maps(features)
    pooled = head.pooling(scores, rois).roll(1, dims=1), head.pooling(deltas, rois)
    logits, boxes = head(features, rois)
    logits = in_original_classes(logits)
    return dict(
        rfcn_cls=scores.roll(49, dims=1),
        psroipooled_cls_rois=pooled[0],
        ave_cls_scors_rois=logits[..., None, None],
        cls_score_reshape=logits,
        cls_prob=logits.softmax(1),
        cls_prob_reshape=logits.softmax(1)[None],
        rfcn_bbox=deltas,
        psroipooled_loc_rois=pooled[1],
        ave_bbox_pred_rois=boxes[..., None, None],
        bbox_pred_reshape=boxes[None],
    )
