"""What people see of a run: live while it runs, and as one screen after."""
