"""The MLLP peers, both storing nothing: python-hl7's asyncio server, and an echo that reads MSH only.

Run as a process: `python -m tests.bench.mllp_peers hl7|echo`; its port is its first line.
"""

from __future__ import annotations

import asyncio
import sys

import hl7
from hl7.mllp import HL7StreamReader, HL7StreamWriter, start_hl7_server

_LIMIT = 1 << 22
_END = b"\x1c\r"


async def _hl7(reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
    try:
        while not writer.is_closing():
            message: hl7.Message = await reader.readmessage()
            writer.writemessage(message.create_ack())
            await writer.drain()
    except asyncio.IncompleteReadError:
        pass
    finally:
        writer.close()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            frame = await reader.readuntil(_END)
            number = frame[1 : frame.index(b"\r")].split(b"|")[9]
            writer.write(
                b"\x0bMSH|^~\\&|ONCORD|DEMOHOSP|LIS|DEMOHOSP|20261120||ACK^R01^ACK|A" + number
                + b"|P|2.5.1\rMSA|AA|" + number + b"\r" + _END
            )  # fmt: skip
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _serve(kind: str) -> None:
    if kind == "hl7":
        server = await start_hl7_server(_hl7, "127.0.0.1", 0, limit=_LIMIT)
    else:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0, limit=_LIMIT)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
