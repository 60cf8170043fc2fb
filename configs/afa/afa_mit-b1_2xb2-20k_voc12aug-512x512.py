# Published (Ru et al., CVPR 2022): VOC val 63.8 with the regulariser, 66.0 with CRF too; people who
# repeat it report 60-61 on val, single scale, without CRF. Not measured by us.
_base_ = [
    "../_base_/models/afa_mit-b1.py",
    "../_base_/datasets/voc12_aug.py",
    "../_base_/schedules/afa_voc12_20k.py",
    "../_base_/default_runtime.py",
]
