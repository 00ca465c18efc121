"""How fast the jail is, beside other ways to execute a program on the same machine.

`programs` chooses what to execute, `rivals` are the other ways, `measure` lets all of
them take turns, `scaling` compares two cores with one, `figures` sums up and prints.
"""
