"""The crash test: processes that play are killed at random, and nothing is lost or doubled.

`play` is what the processes do, `world` starts and kills them, `laws` says what must
hold in the database afterwards, whatever was killed and when.
"""
