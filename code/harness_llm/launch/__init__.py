"""Child processes: started, heard, watched and ended; and the devices that each gets."""
