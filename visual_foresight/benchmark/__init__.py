"""The control benchmark: tasks, methods, protocol, statistics, causes of failure, and the page that shows them.

What is run by `visual-foresight plan` and `demo`. Nothing here loads a backend or MuJoCo when it is imported.
"""
