# AFA on DeiT-S, at 448, which patches of 14 and of 16 divide, at the CAM scales too.
_base_ = "./afa.py"
model = dict(
    data_preprocessor=dict(mean=None, std=None, size=(448, 448)),  # colours: those of the weights
    backbone=dict(
        type="TimmViT",
        name="deit_small_patch16_224.fb_in1k",
        pretrained=True,
        drop_path_rate=0.1,
        freeze_pos_embed=True,
    ),
)
