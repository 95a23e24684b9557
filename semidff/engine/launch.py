"""What the command-line tools set because of the machine."""

import os

import torch
from mmengine.config import Config


def adapt_to_machine(cfg: Config, launcher: str) -> None:
    """Sets the launcher, and gloo as the backend of distributed runs where there is no GPU.

    Args:
        cfg: The config, changed in place.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
    """
    cfg.launcher = launcher
    if launcher == 'none' or torch.cuda.is_available():
        return
    cfg.env_cfg = dict(cfg.get('env_cfg', {}), dist_cfg=dict(backend='gloo'))
    started = torch.distributed.is_initialized()
    if launcher == 'pytorch' and 'RANK' in os.environ and not started:
        # mmengine's own start would select a CUDA device first; it leaves a group that exists alone.
        torch.distributed.init_process_group('gloo')
