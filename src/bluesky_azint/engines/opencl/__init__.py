"""OpenCL: CPUs through PoCL, and GPUs. One module, and one source, per way to sum."""
