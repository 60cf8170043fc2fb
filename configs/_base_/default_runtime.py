# What every run has: registries, log, hooks, evaluation. Iterations stand in the schedule.
default_scope = "mmseg"
custom_imports = dict(
    imports=["afa.models", "afa.datasets", "afa.engine", "afa.evaluation"],
    allow_failed_imports=False,
)
env_cfg = dict(
    cudnn_benchmark=True,  # in training; a repeatable run (randomness.deterministic) does without
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
randomness = dict(seed=0)
sync_bn = "torch"  # the decoder's batch norm over all GPUs; dropped on CPU
vis_backends = [dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")]
visualizer = dict(type="SegLocalVisualizer", vis_backends=vis_backends)
log_processor = dict(type="AFALogProcessor", by_epoch=False)
log_level = "INFO"
load_from = None
resume = False

# One pass over the images gives all five figures.
val_evaluator = [
    dict(type="MultiLabelMetric", prefix="cls"),
    dict(type="WSSSIoUMetric", field="pred_cam", prefix="cam"),
    dict(type="WSSSIoUMetric", field="pred_par", prefix="par"),
    dict(type="WSSSIoUMetric", field="pred_propagated", prefix="propagated"),
    dict(type="WSSSIoUMetric", field="pred_sem_seg", prefix="seg"),
]
test_evaluator = val_evaluator
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
