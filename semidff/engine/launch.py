"""What the command-line tools set in a config because of the machine."""

import torch
from mmengine.config import Config


def adapt_to_machine(cfg: Config, launcher: str) -> None:
    """Sets the launcher, and gloo as the backend of distributed runs where there is no GPU.

    Args:
        cfg: The config, changed in place.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
    """
    cfg.launcher = launcher
    if launcher != 'none' and not torch.cuda.is_available():
        cfg.env_cfg = dict(cfg.get('env_cfg', {}), dist_cfg=dict(backend='gloo'))
