"""`python -m command_line`: the program `compactface`, wherever it is not on the path."""

from command_line.main import app

app(prog_name="compactface")
