"""What runs inside the jail: standard library only, copied into the jail's root.

`zygote` is process 1 of the jail and never sees a program; `child` runs one job
in a forked process under `confine`, checks it with `policy` and writes results
with `encode`. Nothing on the host imports these modules except their tests.
"""
