"""An MLPerf-style benchmark harness for LLM inference: LoadGen asks, engine replicas answer."""

__version__ = "0.1.0"
