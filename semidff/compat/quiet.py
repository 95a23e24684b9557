"""Suppression of messages that mmdet and mmengine show at every start and that no user can act on.

This module has to be imported before mmdet.
"""

import warnings

import mmengine.fileio.file_client

# The only messages of this module report its deprecation, for which mmengine's own CheckpointHook
# is the cause.
mmengine.fileio.file_client.print_log = lambda *args, **kwargs: None

# mmdet warns of a missing optional metric whenever it imports its metrics; the metric itself
# reports it when built.
warnings.filterwarnings('ignore', 'faster_coco_eval is not installed')
# mmdet's anchor points and encoders call torch.meshgrid without its later argument; the result is
# the same.
warnings.filterwarnings('ignore', 'torch.meshgrid: in an upcoming release')
