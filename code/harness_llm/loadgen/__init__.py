"""The loadgen process: LoadGen, the system under test, the router, the ledger of events."""
