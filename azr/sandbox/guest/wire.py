"""The two ends' common numbers: packets on the host's socket, frames on a job's pipe.

SEQPACKET, one job at a time:
    host -> jail   one packet: HEADER, then `body_bytes` of JSON
    jail -> host   b"ready" once; then per job one packet REPLY and the frames, in
                   further packets of at most PACKET_BYTES
A frame is FRAME_MAGIC, a u32 length and JSON `[verdict, payload]`. The host ends the
jail by closing its end of the socket.
"""

import struct

HEADER = struct.Struct("<IIIdd")
"""body_bytes, runs, max frame bytes, wall seconds a run, CPU seconds a run."""
REPLY = struct.Struct("<IiIIdd")
"""stop reason, wait status, frames, frame bytes, CPU seconds, peak memory in MiB."""
FINISHED, WALL, CPU, TOO_LARGE, PROTOCOL = range(5)
"""Stop reasons: the job ended by itself, or why it was killed."""

READY = b"ready"
BODY_READ = b"R"
"""First byte on a job's pipe: the request has left the host's socket."""
FRAME_MAGIC = b"\x01R"
FRAME_PREFIX_BYTES = 6
"""Magic and length."""

REQUEST_BYTES = 180_000
"""Largest request; Linux' default socket buffer of 212,992 bytes takes it in one packet."""
RESULT_BYTES = 8 << 20
PACKET_BYTES = 128 << 10
