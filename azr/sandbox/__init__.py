"""The jailed interpreter: the only teacher, and the only place where model text runs.

`SandboxPool` implements `azr.ports.Sandbox` on nsjail; `probe` tests this machine.
Read `protocol` for what may come back, `guest` for what runs inside.
"""

from azr.sandbox.pool import SandboxPool
from azr.sandbox.protocol import Request
from azr.sandbox.selftest import ProbeCheck, ProbeReport, probe

__all__ = ["ProbeCheck", "ProbeReport", "Request", "SandboxPool", "probe"]
