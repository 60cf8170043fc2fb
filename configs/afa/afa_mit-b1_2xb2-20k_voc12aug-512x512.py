# Published (Ru et al., CVPR 2022): VOC val 62.6 without the regulariser; people who repeat AFA report
# 60-61 on val, single scale, without CRF. Not measured by us.
_base_ = [
    "../_base_/models/afa_mit-b1.py",
    "../_base_/datasets/voc12_aug.py",
    "../_base_/schedules/afa_voc12_20k.py",
    "../_base_/default_runtime.py",
]
