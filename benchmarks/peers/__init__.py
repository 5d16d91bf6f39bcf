"""Other runtimes of the same weights beside this project's: speed, start, memory and labels."""
