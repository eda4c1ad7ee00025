"""A run of SD-GAN: its state, its steps, its pictures and its weights. `recipe` starts one."""
