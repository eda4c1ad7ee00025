"""Public StyleGAN2 weights to models of this project, one file per format.

A file's records (`pickles`, which executes nothing) become arrays (`arrays`) under the format's own names
(`rosinality`, `nvlabs`, `nvlabs_tf`), these a config and trees (`layouts`, `assembly`). `formats` tells which is which.
"""
