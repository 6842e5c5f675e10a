"""The replica process: one engine, serving loadgen processes."""
