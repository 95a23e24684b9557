"""The original's network on a GPU, in float32: features, regression loss and its gradients.

Run with ``SEMIDFF_TEST_GPU=1 python -m pytest tests/test_golden/test_gpu.py``.
"""

import pytest
import torch

from semidff.models import SemiDFF
from tests.test_golden.original import (
    arrays,
    build,
    pair,
    read_json,
    relative,
    sample,
    student,
)
from tests.test_golden.test_inference import WHOLE, golden

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')


@pytest.fixture(autouse=True)
def _float32():
    """Without cuDNN, whose convolutions round to TF32 by default."""
    with torch.backends.cudnn.flags(enabled=False):
        yield


@pytest.fixture(scope='module')
def model() -> SemiDFF:
    return build().cuda()


@torch.no_grad()
def test_features_of_both_frames(model):
    key, current = (image[None].cuda() for image in pair())
    _, state = model.eval().predict_key(key, [sample()])
    propagated = model.temporal(state.image, model.temporal.prepare(current), state.features)
    model.train()
    assert relative(state.features[0].cpu(), golden('key', 'conv_feat')) < WHOLE
    assert relative(propagated[0].cpu(), golden('cur', 'conv_feat')) < WHOLE


def test_regression_loss_and_its_gradients(model):
    model.set_objectives([dict(type='FeatureRegression')], ('temporal',))
    loss = model(torch.stack(pair())[None].cuda(), [sample()], mode='loss')['loss_reg']
    expected = float(arrays('semi_reg_golden.npz')['loss_float64'])
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    loss.backward()
    own = {name: parameter for name, (parameter, _) in student(model).items()}
    for name, probe in read_json('semi_reg_golden_grads.json')['grad_probes'].items():
        assert own[name].grad.norm().item() == pytest.approx(probe['norm'], rel=1e-2), name
