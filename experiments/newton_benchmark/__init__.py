"""Times Newton's method, which solves for all steps at once, against the scan and the kernel."""
