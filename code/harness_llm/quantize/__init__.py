"""Turn a Hugging Face checkpoint into an FP8 one that vLLM serves, and write down how it was calibrated."""
