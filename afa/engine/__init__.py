"""What surrounds the model in a run: runner, hooks, optimizer wrappers, several processes."""

from afa.utils.mmseg_import import import_mmseg_quietly

import_mmseg_quietly()

from afa.engine import hooks, log_processor, loops, model_wrappers, optimizers, samplers  # noqa: E402
from afa.engine.checkpoints.read import register_checkpoint_loaders  # noqa: E402
from afa.engine.file_handlers import register_file_handlers  # noqa: E402

# At import, so that a run that never calls our tools is protected as well.
register_checkpoint_loaders()
register_file_handlers()

__all__ = ["hooks", "log_processor", "loops", "model_wrappers", "optimizers", "samplers"]
