"""The Python client as somebody who can be asked everything: python questions.py URL KEY PREFIX NAME; as questions.mjs."""

import asyncio
import json
import sys

import httpx2
import mcp
import mcp_types as types
from mcp.client.streamable_http import streamable_http_client


async def main(url: str, key: str, prefix: str, name: str) -> None:
    async def elicit(_context, _params):
        return types.ElicitResult(action="accept", content={"name": name})

    async def sample(_context, params):
        text = f"{name} heard {params.messages[0].content.text}"
        return types.CreateMessageResult(role="assistant", content=types.TextContent(type="text", text=text), model="none")

    async def roots(_context):
        return types.ListRootsResult(roots=[types.Root(uri=f"file:///{name}", name=name)])

    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
        client = mcp.Client(
            streamable_http_client(url, http_client=http),
            mode="legacy",
            elicitation_callback=elicit,
            sampling_callback=sample,
            list_roots_callback=roots,
        )
        async with client:
            await client.list_tools()

            async def call(tool: str, arguments: dict) -> str:
                called = await client.call_tool(f"{prefix}{tool}", arguments)
                return "\n".join(part.text for part in called.content)

            elicited, sampled, listed = await asyncio.gather(
                call("trigger-elicitation-request", {}),
                call("trigger-sampling-request", {"prompt": f"prompt of {name}", "maxTokens": 10}),
                call("get-roots-list", {}),
            )
    print(json.dumps({"elicited": elicited, "sampled": sampled, "roots": listed}))


asyncio.run(main(*sys.argv[1:]))
