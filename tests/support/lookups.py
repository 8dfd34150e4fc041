"""Run a command that is ended by Linux when it looks up the name of a host."""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import sys
from typing import Final

WITHOUT_LOOKUPS: Final = (sys.executable, __file__)  # followed by the command

_SOCKET: Final = {"x86_64": 41, "aarch64": 198}  # number of the system call
_LOAD, _AND, _IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06  # linux/bpf_common.h
_KILL, _ALLOW = 0x80000000, 0x7FFF0000  # linux/seccomp.h
_NUMBER, _DOMAIN, _TYPE = 0, 16, 24  # offsets in struct seccomp_data
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2  # linux/prctl.h
_KIND_BITS = 0xF


def _forbid_lookups() -> None:
    """End this process and its children when they make a UDP socket, for a name server."""
    program = [
        (_LOAD, 0, 0, _NUMBER),
        (_IF_EQUAL, 0, 6, _SOCKET[platform.machine()]),
        (_LOAD, 0, 0, _DOMAIN),
        (_IF_EQUAL, 1, 0, socket.AF_INET),
        (_IF_EQUAL, 0, 3, socket.AF_INET6),
        (_LOAD, 0, 0, _TYPE),
        (_AND, 0, 0, _KIND_BITS),
        (_IF_EQUAL, 1, 0, socket.SOCK_DGRAM),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _KILL),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in program))
    described = struct.pack("@HP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0), (_SET_SECCOMP, _FILTER, described)):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    _forbid_lookups()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - no shell is wanted
