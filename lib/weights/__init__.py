"""Small encoders that come with the project, and `pretrain`, which makes them."""
