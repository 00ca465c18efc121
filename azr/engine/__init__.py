"""vLLM replicas: sampling, in-flight weight updates, and the proof that both are right.

`replica` is one model that samples; `weight_channel` brings the learner's weights
to every replica and proves them; `wire` is the byte protocol both sides share.
vLLM is imported only when a replica is opened, so `azr --help` stays fast.
"""
