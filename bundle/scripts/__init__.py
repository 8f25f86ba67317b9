"""CySGAN: segment an unlabelled volume by translating it to and from a labelled one."""
