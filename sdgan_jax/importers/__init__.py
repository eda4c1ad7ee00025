"""Readers of public weights, one module per format; exporters stand beside them.

`formats` detects the format of a file. `pickles` reads its records without executing anything, `arrays` makes numpy
arrays of them. Each format (`rosinality`, `nvlabs`, `nvlabs_tf`, `arcface`, `prnet`, `sfn`, `inception`, `lpips`) has a
table from its names to the paths of this project's arrays (`layouts`); `assembly` makes a config and a model of a GAN's
arrays.
"""
