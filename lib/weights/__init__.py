"""The small encoders of the project, and `pretrain`, which trains them."""
