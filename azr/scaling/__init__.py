"""Scaling on paper: what a run of many nodes would do, from named inputs.

Pure arithmetic. `inputs` names every number with its source; `work` says what one
learner step asks for; `database`, `gpus` and `laptop` turn that into seconds; `cluster`
puts them together and says what saturates first; `tables` prints it. docs/scaling.md
explains the model and how far it was checked.
"""
