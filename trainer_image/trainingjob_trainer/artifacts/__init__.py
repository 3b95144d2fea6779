"""The files that a run leaves behind: the model, the JSON documents, the program and the report.

`registry` lists them; adding a file takes an entry there and the function that makes its content.
"""
