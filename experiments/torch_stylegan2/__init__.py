"""StyleGAN2 and its training step in plain PyTorch, the peer of the benchmark; only this package needs torch."""
