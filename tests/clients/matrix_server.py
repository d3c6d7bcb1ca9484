"""The Python SDK's server, which answers both eras: python matrix_server.py; says {url}, and ends with its standard input."""

import json
import os
import socket
import sys
import threading
from typing import Annotated

import anyio
import mcp_types as types
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve, Sample
from pydantic import BaseModel

server = MCPServer("python")
cancelled: set[str] = set()
WATCHED = "test://watched-resource"


class Who(BaseModel):
    name: str


@server.tool()
def echo(message: str) -> str:
    return f"Echo: {message}"


@server.tool()
async def test_tool_with_progress(ctx: Context) -> str:
    for step in (0, 50, 100):
        await ctx.report_progress(step, 100, f"at {step}")
        await anyio.sleep(0.02)
    return "Three steps"


@server.tool()
async def wait(milliseconds: int, label: str) -> str:
    try:
        await anyio.sleep(milliseconds / 1000)
    except anyio.get_cancelled_exc_class():
        cancelled.add(label)
        raise
    return "Waited"


@server.tool()
def was_cancelled(label: str) -> str:
    return "yes" if label in cancelled else "no"


@server.tool()
async def touch_watched(ctx: Context) -> str:
    await ctx.notify_resource_updated(WATCHED)
    return "Touched"


async def who(message: str) -> Elicit[Who]:
    return Elicit(message, Who)


@server.tool()
async def test_elicitation(message: str, person: Annotated[Who, Resolve(who)]) -> str:
    return f"It is {person.name}"


async def asked(prompt: str) -> Sample:
    content = types.TextContent(type="text", text=prompt)
    return Sample([types.SamplingMessage(role="user", content=content)], max_tokens=100)


@server.tool()
async def test_sampling(prompt: str, answer: Annotated[types.CreateMessageResult, Resolve(asked)]) -> str:
    return f"LLM response: {answer.content.text}"


@server.resource("test://static-text")
def static_text() -> str:
    return "What the static text says."


@server.resource(WATCHED)
def watched() -> str:
    return "What somebody waits for."


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    return f"arg1='{arg1}', arg2='{arg2}'"


@server.completion()
async def complete(_ref, argument, _context) -> types.Completion:
    return types.Completion(values=[f"{argument.value}…", f"{argument.value}!"])


def end_with_standard_input() -> None:
    sys.stdin.read()
    os._exit(0)


listener = socket.create_server(("127.0.0.1", 0))
print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"}), flush=True)
threading.Thread(target=end_with_standard_input, daemon=True).start()
uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="warning")).run(sockets=[listener])
