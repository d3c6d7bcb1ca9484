"""The Python client with one session for as long as it is asked: python calls.py URL KEY. As calls.mjs."""

import asyncio
import json
import sys

import httpx2
import mcp
from mcp.client.streamable_http import streamable_http_client


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


async def tools(client: mcp.Client) -> dict:
    return {"tools": [tool.name for tool in (await client.list_tools()).tools]}


async def call(client: mcp.Client, line: dict) -> dict:
    called = await client.call_tool(line["name"], line["arguments"])
    return {"text": called.content[0].text, "isError": called.is_error}


async def answer(client: mcp.Client, line: dict) -> dict:
    try:
        return await (tools(client) if line["do"] == "tools" else call(client, line))
    except mcp.MCPError as failure:
        error = failure.error
        return {"error": {"code": error.code, "message": error.message, "data": error.data}}


async def main(url: str, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        async with mcp.Client(streamable_http_client(url, http_client=http), mode="legacy") as client:
            say({"ok": await answer(client, {"do": "tools"})})
            while line := await asyncio.to_thread(sys.stdin.readline):
                say({"ok": await answer(client, json.loads(line))})


asyncio.run(main(*sys.argv[1:]))
