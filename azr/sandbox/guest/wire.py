"""The two ends' common numbers: packets on the host's socket, frames on a job's pipe.

SEQPACKET, one job at a time:
    host -> jail   one packet: HEADER, then the request as `marshal` writes it
    jail -> host   b"ready" once; then per job REPLY, the frames and their times,
                   cut into packets of at most PACKET_BYTES
A job's pipe starts with the job's HEADER; the frames follow. A frame is FRAME_MAGIC, a
u32 length and JSON `[verdict, payload]`. The times are u32 microseconds of CPU, one for
each frame and one for what came after the last. The host ends the jail by closing its
end of the socket.
"""

import struct

HEADER = struct.Struct("<IIdd")
"""runs, max frame bytes, wall seconds a run, CPU seconds a run."""
REPLY = struct.Struct("<IiIId")
"""stop reason, wait status, frames, frame bytes, peak memory in MiB."""
TIME = struct.Struct("<I")
FINISHED, WALL, CPU, TOO_LARGE, PROTOCOL = range(5)
"""Stop reasons: the job ended by itself, or why it was killed."""

READY = b"ready"
FRAME_MAGIC = b"\x01R"
FRAME_PREFIX_BYTES = 6
"""Magic and length."""

REQUEST_BYTES = 180_000
"""Largest request; Linux' default socket buffer of 212,992 bytes takes it in one packet."""
RESULT_BYTES = 8 << 20
PACKET_BYTES = 128 << 10
