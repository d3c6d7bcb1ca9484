"""The Python client: python python.py URL KEY legacy|auto PREFIX; prints what it saw as JSON."""

import asyncio
import json
import sys

import httpx2
import mcp
from mcp.client.streamable_http import streamable_http_client


async def main(url: str, key: str, mode: str, prefix: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        async with mcp.Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            seen = {"tools": [tool.name for tool in (await client.list_tools()).tools]}
            called = await client.call_tool(f"{prefix}echo", {"message": "hello from python"})
            seen["echo"] = called.content[0].text
            resources = (await client.list_resources()).resources
            seen["resources"] = [str(resource.uri) for resource in resources]
            read = await client.read_resource(resources[0].uri)
            first = read.contents[0]
            seen["read"] = getattr(first, "text", None) or getattr(first, "blob", None)
            templates = await client.list_resource_templates()
            seen["templates"] = len(templates.resource_templates)
            seen["prompts"] = [prompt.name for prompt in (await client.list_prompts()).prompts]
            prompt = await client.get_prompt(f"{prefix}simple-prompt")
            seen["prompt"] = prompt.messages[0].content.text
    print(json.dumps(seen))


asyncio.run(main(*sys.argv[1:]))
