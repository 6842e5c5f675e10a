"""The highest rate that is VALID, found with one load and mostly one run; and runs predicted from others."""
