"""Every op of a step, watched while it runs one by one."""
