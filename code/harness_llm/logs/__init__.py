"""LoadGen's logs as data: detail, summary, accuracy, and what can be computed again from seeds and events."""
