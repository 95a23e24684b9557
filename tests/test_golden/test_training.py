"""Supervised training on a frame pair: losses and every parameter's gradient (DFF section 3)."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from semidff.converters.mxnet.names import targets
from semidff.models.video_detector import PARTS, VideoDetector
from tests.test_golden.original import (
    arrays,
    in_original_order,
    norm,
    pair,
    probes,
    read_json,
    sample,
)
from tests.test_golden.test_targets import check_anchor_targets, roi_targets

pytestmark = pytest.mark.usefixtures('exact_activations')
LOSSES = ('loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox')
CASES = pytest.mark.parametrize('case', ['eq0', 'eq1'])
NORM, VALUE = 2e-3, 5e-3


@pytest.fixture
def detector(model):
    """The network as a supervised video detector; everything learns, the frozen stem too."""
    detector = VideoDetector(model.spatial.detector, data_preprocessor=model.data_preprocessor)
    detector.temporal = model.temporal
    yield detector.requires_grad_(True)
    model.set_trainable(())


def golden(case: str) -> dict[str, np.ndarray]:
    return arrays(f'train_golden_{case}.npz')


def batch(case: str) -> tuple[torch.Tensor, list]:
    """One pair (1, 2, 3, H, W), key frame first, and its data sample with the true boxes."""
    key, current = pair()
    data = sample(same=case == 'eq1')
    boxes = torch.from_numpy(golden(case)['gt_boxes'])
    data.gt_instances = InstanceData(bboxes=boxes[:, :4], labels=boxes[:, 4].long() - 1)
    return torch.stack((key, key if case == 'eq1' else current))[None], [data]


def seed(case: str) -> None:
    """The state that the golden's anchors were drawn from."""
    np.random.seed(read_json(f'train_golden_{case}_grads.json')['seed_for_anchor_sampling'])


@CASES
def test_anchor_targets(detector, case):
    rpn = detector.spatial.detector.rpn_head
    meta = sample().metainfo
    anchors, flags = rpn.get_anchors([(12, 22)], [meta], 'cpu')
    truth = batch(case)[1][0].gt_instances
    truth.labels = torch.zeros_like(truth.labels)
    seed(case)
    labels, weights, boxes, box_weights, _ = rpn.get_targets(anchors, flags, [truth], [meta])
    given = golden(case)
    check_anchor_targets(
        labels[0],
        weights[0],
        boxes[0],
        box_weights[0],
        lambda name: given[name.replace(f'rpntarget_{case}', 'rpn')],
        case,
    )


@CASES
def test_roi_targets(detector, case):
    given = golden(case)
    proposals = InstanceData(bboxes=torch.from_numpy(given['rois_proposal'])[:, 1:])
    truth = batch(case)[1][0].gt_instances
    rois, labels, boxes, weights = roi_targets(detector.spatial.detector.roi_head, proposals, truth)
    assert np.array_equal(rois, given['rois_with_gt'][:, 1:])
    assert np.array_equal(labels, given['rcnn_label'])
    assert np.array_equal(weights, given['rcnn_bbox_weight'][:, 4:])
    assert np.abs((boxes - given['rcnn_bbox_target'][:, 4:]) * weights).max() < 1e-5


@CASES
def test_losses_and_gradients(detector, case):
    seed(case)
    losses = detector.loss(*batch(case))
    losses = {k: sum(v) if isinstance(v, list) else v for k, v in losses.items()}
    values = np.array([losses[name].item() for name in LOSSES])
    np.testing.assert_allclose(values, golden(case)['losses'], rtol=1e-5)
    own = dict(detector.named_parameters())
    learning = {name: t for name, t in targets().items() if t.key in own}
    gradients = torch.autograd.grad(
        sum(losses[name] for name in LOSSES),
        [own[target.key] for target in learning.values()],
        materialize_grads=True,
    )
    gradients = {
        name: in_original_order(gradient, target.order)
        for (name, target), gradient in zip(learning.items(), gradients, strict=True)
    }
    check_gradients(gradients, case)


def check_gradients(gradients: dict[str, np.ndarray], case: str) -> None:
    """Norms, sums, single values and, of small parameters, all values."""
    expected = read_json(f'train_golden_{case}_grads.json')['grad_probes']
    assert expected.keys() == gradients.keys() and len(gradients) == 370
    for name, golden_probe in expected.items():
        ours, size = gradients[name], golden_probe['norm']
        assert abs(norm(ours) - size) <= NORM * size, (name, norm(ours), size)
        largest = max(np.abs(ours).max(), 1e-30)
        differences = np.abs(probes(ours) - np.array(golden_probe['values']))
        assert differences.max() <= VALUE * largest, (name, differences.max(), largest)
        whole = golden(case).get(f'grad:{name}')
        if whole is not None:
            assert np.abs(ours - whole).max() <= VALUE * max(np.abs(whole).max(), 1e-30), name


def test_still_image_is_the_per_frame_training(detector):
    """i = k: the detector's own losses, bit by bit, and nothing for the temporal module."""
    inputs, samples = batch('eq1')
    seed('eq1')
    together = detector.loss(inputs, samples)
    seed('eq1')
    alone = detector.spatial.detector.loss(inputs[:, 1], samples)
    for name in LOSSES:
        ours, theirs = (
            sum(losses[name]) if isinstance(losses[name], list) else losses[name]
            for losses in (together, alone)
        )
        assert torch.equal(ours, theirs), name
    gradients = torch.autograd.grad(
        together['loss_cls'] + together['loss_bbox'], list(detector.temporal.parameters())
    )
    assert len(gradients) == 48 and not any(gradient.any() for gradient in gradients)


def test_what_learns(model):
    """Stem and first stage are frozen; scale and shift of the other stages learn."""
    model.set_trainable(PARTS)
    names = {target.key: name for name, target in targets().items()}
    learns = {names[key] for key, p in model.named_parameters() if p.requires_grad}
    model.set_trainable(())
    every = read_json('train_golden_eq0_grads.json')['grad_probes'].keys()
    frozen = ('conv1', 'bn_conv1', 'res2', 'bn2')
    assert learns == {name for name in every if not name.startswith(frozen)}
