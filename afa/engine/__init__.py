"""What surrounds the model in a run: config, runner, hooks, checkpoints, several processes."""

from afa.utils.environment import import_mmseg_quietly

import_mmseg_quietly()

from afa.engine import bf16_optim_wrapper, crf_test_loop, dist, hooks, trackers
from afa.engine.checkpoints.read import (
    register_checkpoint_loaders,
    register_file_handlers,
)

# At import, so that a run that never calls our tools is protected as well.
register_checkpoint_loaders()
register_file_handlers()
