"""StyleGAN2 and its training step in plain PyTorch, to measure ours against; needs torch, and nothing needs it."""
