"""Warp, pooling, distillation and RMSProp, each alone, against the original's operators."""

import numpy as np
import pytest
import torch

from semidff.engine import RMSpropMX
from semidff.models.losses import class_distillation_loss
from semidff.models.rfcn import ExactPSRoIPool
from semidff.models.temporal import warp
from tests.test_golden.original import arrays, relative


@pytest.mark.parametrize('case', 'ab')
def test_warp(case):
    golden = arrays('ops_golden.npz')
    feature, flow, out_gradient = (
        torch.from_numpy(golden[f'warp_{case}_{name}']) for name in ('feat', 'flow', 'outgrad')
    )
    feature.requires_grad_()
    flow.requires_grad_()
    out = warp(feature, flow)
    out.backward(out_gradient)
    assert relative(out.detach(), golden[f'warp_{case}_out']) < 1e-5
    assert relative(feature.grad, golden[f'warp_{case}_dfeat']) < 1e-5
    assert relative(flow.grad, golden[f'warp_{case}_dflow']) < 1e-5


def test_position_sensitive_pooling():
    golden = arrays('ops_golden.npz')
    maps = torch.from_numpy(golden['psroi_data']).requires_grad_()
    out = ExactPSRoIPool(7, 1 / 16)(maps, torch.from_numpy(golden['psroi_rois']))
    out.backward(torch.from_numpy(golden['psroi_outgrad']))
    assert relative(out.detach(), golden['psroi_out']) < 1e-6
    assert relative(maps.grad, golden['psroi_ddata']) < 1e-6


@pytest.mark.parametrize('temperature,weight', [(1, 1), (2, 1), (4, 0.5), (10, 1)])
@pytest.mark.parametrize('rank', [2, 4])
def test_distillation(rank, temperature, weight):
    golden = arrays('semi_sem_golden.npz')
    case = f'kd_{rank}d'
    student, teacher = (torch.from_numpy(golden[f'{case}_{who}']) for who in ('student', 'teacher'))
    student.requires_grad_()
    # Classes are the second dimension there, the last one here.
    loss = weight * class_distillation_loss(
        student.movedim(1, -1), teacher.movedim(1, -1), temperature
    )
    loss.backward()
    setting = f'{case}_T{temperature}_w{weight}'
    assert relative(loss.detach(), golden[f'{setting}_loss'].squeeze()) < 1e-5
    assert relative(student.grad, golden[f'{setting}_grad']) < 1e-5


@pytest.mark.parametrize('case,factor', [('default', 1), ('rescale025', 0.25)])
def test_rmsprop(case, factor):
    golden = arrays('semi_reg_golden.npz')
    start = torch.from_numpy(golden['rmsprop_w0'])
    weights = torch.nn.Parameter(start.clone())
    optimizer = RMSpropMX([weights], lr=5e-5)
    for gradient, expected in zip(
        golden['rmsprop_grads'], golden[f'rmsprop_{case}_w'], strict=True
    ):
        weights.grad = torch.from_numpy(gradient) * factor
        optimizer.step()
        # Weights are of order 1, their changes of order 1e-4: compare to a few rounding errors.
        assert np.abs(weights.detach().numpy() - expected).max() < 3e-7
    mean_square = optimizer.state[weights]['square_avg']
    np.testing.assert_allclose(mean_square, golden[f'rmsprop_{case}_n'], rtol=1e-5)
