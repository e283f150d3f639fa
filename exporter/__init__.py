"""The program: schedule, sweep, report, serve."""
