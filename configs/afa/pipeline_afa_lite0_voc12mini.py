# AFA on real photos without GPU; labels of the photos that the multi-stage methods make labels of.
_base_ = "../_base_/pipelines/afa.py"
method = "AFA"
_config = "configs/afa/afa_lite0_1xb8-580it_voc12mini-224x224.py"
stages = [
    dict(_base_.train, config=_config, options={"train_cfg.val_begin": 10000}),  # tested below
    dict(_base_.pseudo_labels, config=_config, options={"train_dataloader.dataset.indices": 450}),
    dict(_base_.test, config=_config),
    dict(_base_.test_tta_crf, config=_config),
]
