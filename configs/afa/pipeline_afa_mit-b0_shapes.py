# AFA on Shapes as a pipeline.
_base_ = "../_base_/pipelines/afa.py"
method = "AFA"
_config = "configs/afa/afa_mit-b0_1xb8-820it_shapes-96x96.py"
stages = [
    dict(_base_.train, config=_config),
    dict(_base_.pseudo_labels, config=_config),
    dict(_base_.test, config=_config),
    dict(_base_.test_tta_crf, config=_config),
]
