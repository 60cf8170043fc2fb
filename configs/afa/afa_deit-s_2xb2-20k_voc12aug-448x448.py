# AFA on DeiT-S, the VOC recipe. No published figure; not measured by us.
_base_ = [
    "../_base_/models/afa_deit-s.py",
    "../_base_/datasets/voc12_aug_448.py",
    "../_base_/schedules/afa_voc12_20k.py",
    "../_base_/default_runtime.py",
]
