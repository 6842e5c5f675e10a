"""The driver process: asks replicas as a schedule says, through the same ways as LoadGen's process."""
