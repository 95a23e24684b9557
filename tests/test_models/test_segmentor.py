"""Segmentation networks of mmsegmentation as spatial modules."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.structures import PixelData

from semidff.deployment.export import ExportError, export_onnx
from semidff.engine.hooks.distillation_visualization_hook import view_distillation
from semidff.models import SpatialModule
from semidff.models.spatial import OutputSplit
from semidff.visualization.frames import render_frame, render_scaled
from tests.tiny.models import CLASSES, SIZE, awake, build, frames, samples, segmentor, temporal
from tests.tiny.stages import live, stages

pytest.importorskip('mmseg', reason='needs the extra segmentation')
KINDS = pytest.mark.parametrize('kind', ['pspnet', 'deeplab', 'segformer'])


def video_model(kind='pspnet', model='SemiDFF', **kwargs):
    model = build(dict(type=model, detector=segmentor(kind), temporal=temporal(), **kwargs))
    awake(model)
    model.eval()
    head = model.spatial.detector.decode_head
    with torch.no_grad():  # so that each class is predicted somewhere
        logits = head(model.spatial.features(frames(2)))
        head.conv_seg.bias -= logits.mean((0, 2, 3))
    if hasattr(model, 'reset_teacher'):
        model.reset_teacher()
    return model


def labeled(count, **kwargs):
    result = samples(count, **kwargs)
    for index, sample in enumerate(result):
        generator = torch.Generator().manual_seed(index)
        labels = torch.randint(CLASSES + 1, (1, *SIZE), generator=generator)
        sample.gt_sem_seg = PixelData(data=labels)
    return result


def labels_of(results):
    return torch.stack([result.pred_sem_seg.data for result in results])


@KINDS
def test_predictions_and_losses_on_features_are_the_networks_own(kind):
    model = video_model(kind, 'VideoDetector')
    own, spatial = model.spatial.detector, model.spatial
    with torch.no_grad():
        expected = labels_of(own.predict(frames(2), samples(2)))
        features = spatial.features(frames(2))
        found = spatial.predict(features, samples(2))
        raw = spatial.predict_raw(spatial.raw_outputs(features), samples(2))
        flipped = samples(2)
        for sample in flipped:  # mmsegmentation would flip the predictions back
            sample.set_metainfo(dict(flip=True, flip_direction='horizontal'))
        flipped = spatial.predict(features, flipped)
        split = SpatialModule(own, OutputSplit())
        after = split.predict(split.features(frames(2)), samples(2))
    assert len(features) == 4 and len(expected.unique()) > 1
    for result in (found, raw, flipped, after):
        assert torch.equal(labels_of(result), expected)
    losses = [own.loss(frames(2), labeled(2)), spatial.loss(features, labeled(2))]
    losses[1]['decode.loss_ce'].backward()
    assert any(p.grad is not None for p in own.decode_head.parameters())
    own, ours = (float(each['decode.loss_ce']) for each in losses)
    assert own == pytest.approx(ours, rel=1e-6)


def test_score_layer_and_loss_of_dffs_network():
    """A 1 x 1 layer, upsampled bilinearly, and the mean cross-entropy of labeled pixels."""
    config = Config.fromfile('configs/quickstart/segmentation/fcn_synthetic.py').model
    model = build(dict(type='VideoDetector', detector=config))
    spatial, layer = model.spatial, model.spatial.detector.decode_head.conv_seg
    sample = labeled(1)[0]
    sample.gt_sem_seg.data[:, :20] = 255
    with torch.no_grad():
        layer.bias.normal_()
        (maps,) = spatial.features(frames(1))
        scores = torch.einsum('oi,nihw->nohw', layer.weight[..., 0, 0], maps)
        scores = F.interpolate(scores + layer.bias[:, None, None], SIZE, mode='bilinear')
        labels = sample.gt_sem_seg.data[0]
        log = scores[0].log_softmax(0).gather(0, labels.clamp(max=4)[None])[0]
        loss = spatial.loss((maps,), [sample])['decode.loss_ce']
        assert loss.item() == pytest.approx(-log[labels != 255].mean().item(), rel=1e-5)
        assert torch.equal(labels_of(spatial.predict((maps,), [sample]))[0], scores.argmax(1))


def test_heads_with_a_single_logit():
    network = segmentor(num_classes=2)
    network['decode_head'].update(out_channels=1, threshold=0.5)
    model = build(dict(type='SemiDFF', detector=network, temporal=temporal()))
    awake(model)
    model.set_objectives([dict(type='FeatureSemantics')], ('temporal', 'task_network'))
    pair = torch.stack((frames(1), frames(1, seed=1)), 1)
    loss = model.train()(pair, samples(1), mode='loss')['loss_seg']
    assert loss > 0 and loss.isfinite()
    spatial = model.eval().spatial
    with torch.no_grad():
        (result,) = spatial.predict(spatial.features(frames(1)), samples(1))
    image = np.zeros((*SIZE, 3), np.uint8)
    assert render_frame(image, result, ('a', 'b')).shape == image.shape


STOCK = [
    'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
]


@pytest.mark.parametrize('name', STOCK)
def test_stock_networks(name):
    """With auxiliary heads and synchronized norms: l = 1 equals *frame*, both steps train."""
    flow = temporal(flow_network=dict(type='FlowNetS', width=1 / 16))
    model = build(dict(type='SemiDFF', detector=f'mmseg::{name}', temporal=flow))
    awake(model)
    image = torch.randint(256, (3, *SIZE), generator=torch.Generator().manual_seed(0))
    results = []
    for method, interval in (('frame', None), ('propagate', 1)):
        batch = dict(inputs=[image.to(torch.uint8)], data_samples=samples(1))
        results += live(stages(model.eval(), method, interval or 10), [batch] * 2)
    assert all(torch.equal(labels_of(results[:1])[0], r.pred_sem_seg.data) for r in results)
    pairs = torch.stack((frames(2), frames(2, seed=1)), 1)
    for objective, parts in (
        ('FeatureRegression', ('temporal',)),
        ('FeatureSemantics', ('temporal', 'task_network')),
    ):
        model.train().set_objectives([dict(type=objective)], parts)
        weights = [p for p in model.parameters() if p.requires_grad]
        optimizer, values = torch.optim.SGD(weights, lr=1e-2), []
        for _ in range(5):
            (loss,) = model(pairs, samples(2), mode='loss').values()
            optimizer.zero_grad()
            loss.backward()
            assert all(p.grad is not None for p in weights)
            optimizer.step()
            values.append(loss.item())
        assert 0 < values[-1] < values[0]


def test_the_semantic_loss_is_the_mean_divergence_of_the_pixels():
    model = video_model().train()
    model.set_objectives(
        [dict(type='FeatureSemantics', temperature=2.0)], ('temporal', 'task_network')
    )
    key, current = frames(1), frames(1, seed=1)
    with torch.no_grad():
        found = model(torch.stack((key, current), 1), samples(1), mode='loss')['loss_seg']
        propagated = model.propagate(key, current, model.spatial.features(key), samples(1))
        head = model.spatial.detector.decode_head
        student, teacher = (
            head(maps).permute(0, 2, 3, 1).reshape(-1, CLASSES + 1)
            for maps in (propagated, model.spatial.features(current))
        )
        student, teacher = (logits.double().div(2).log_softmax(1) for logits in (student, teacher))
        divergence = (teacher.exp() * (teacher - student)).sum(1)
    assert found.item() == pytest.approx(4 * divergence.mean().item(), rel=1e-5) and found > 0


def test_pictures_of_a_training_pair():
    """The first iteration of stage two draws one."""
    model = video_model()
    pair = torch.randint(256, (2, 3, *SIZE), dtype=torch.uint8)
    view = view_distillation(model, pair, samples(1)[0])
    assert view.student.shape == view.teacher.shape == SIZE
    drawn = render_scaled(view.frames[1], view.student, ('a', 'b', 'c'), 48)
    assert drawn.shape == (32, 48, 3)
    assert not np.array_equal(
        drawn, cv2.resize(view.frames[1], (48, 32), interpolation=cv2.INTER_AREA)
    )


def test_only_detectors_are_exported(tmp_path):
    with pytest.raises(ExportError, match='predicts pred_sem_seg; only detectors are exported'):
        export_onnx(video_model(), tmp_path, SIZE)


def test_padded_frames():
    """Logits of the padding are cut off, and its labels ignored."""
    own = segmentor()
    own['data_preprocessor'].update(size_divisor=None, test_cfg=dict(size_divisor=32))
    model = video_model()
    padded = build(dict(type='VideoDetector', detector=own)).eval()
    padded.spatial.load_state_dict(model.spatial.state_dict())
    image = torch.randint(256, (3, 50, 70), generator=torch.Generator().manual_seed(0))
    meta = dict(img_shape=(50, 70), ori_shape=(50, 70))

    def data():
        sample = samples(1)[0].new(metainfo=meta)
        return dict(inputs=[image.to(torch.uint8)], data_samples=[sample])

    with torch.no_grad():
        found = labels_of(padded.test_step(data()))
        expected = labels_of(padded.spatial.detector.test_step(data()))
    assert found.shape[-2:] == (50, 70) and torch.equal(found, expected)
    batch = padded.data_preprocessor(data())
    batch['data_samples'][0].gt_sem_seg = PixelData(data=torch.ones((1, 50, 70), dtype=torch.long))
    features = padded.spatial.features(batch['inputs'])
    padded.spatial.loss(features, batch['data_samples'])
    labels = batch['data_samples'][0].gt_sem_seg.data
    assert labels.shape[-2:] == (64, 96) and labels.eq(255).sum() == 64 * 96 - 50 * 70


def test_single_maps_are_refused():
    """As those of PIDNet and DDRNet, which are in no tuple in tests."""
    from mmseg.models import ResNetV1c

    class SingleMapBackbone(ResNetV1c):
        def forward(self, images):
            return super().forward(images)[-1]

    config = segmentor()
    config['backbone']['type'] = SingleMapBackbone
    with pytest.raises(TypeError, match='SingleMapBackbone returns a single map'):
        build(dict(type='VideoDetector', detector=config, temporal=temporal()))


def test_labels_of_cascades_are_padded():
    config = segmentor()
    head = config['decode_head']
    del head['pool_scales']
    refined = dict(head, type='OCRHead', ocr_channels=8)
    head.update(type='FCNHead', num_convs=1)
    config.update(type='mmseg.CascadeEncoderDecoder', num_stages=2, decode_head=[head, refined])
    model = build(dict(type='VideoDetector', detector=config)).train()
    meta = labeled(1)
    height, width = SIZE
    meta[0].set_metainfo(dict(img_shape=(height - 16, width)))
    meta[0].gt_sem_seg = PixelData(data=meta[0].gt_sem_seg.data[:, :-16])
    losses = model.spatial.loss(model.spatial.features(frames(1)), meta)
    assert all(loss.isfinite() for name, loss in losses.items() if 'loss' in name)
