"""The trainable copy of the policy: a torch process of its own, and the link to it."""
