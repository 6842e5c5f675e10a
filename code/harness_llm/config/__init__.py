"""Configuration that users write: YAML files, user.conf, read strictly."""
