"""The tenants study: several models on one GPU, alone and together, with and without NVIDIA MPS."""
