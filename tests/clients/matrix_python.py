"""The Python clients, doing everything that the matrix asks of a client; as matrix_typescript.mjs.

python matrix_python.py URL PROFILE auto|legacy|fastmcp
"""

import asyncio
import json
import sys
import uuid
from contextlib import asynccontextmanager

import anyio
import mcp
import mcp_types as types
from mcp.client.subscriptions import listen

# Seconds until something that was said to happen must have happened.
PATIENCE = 5


class Absent(Exception):
    """Client or server have no such thing."""


def say(value: dict) -> None:
    print(json.dumps(value), flush=True)


def words(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__} {error}"[:400]


def filled(schema: dict) -> dict:
    made = {"name": "Ada"}
    for field in schema.get("required", []):
        about = schema["properties"][field]
        kinds = {"string": "Ada", "integer": 7, "number": 7, "boolean": True}
        made[field] = "ada@example.org" if about.get("format") == "email" else kinds[about["type"]]
    return made


class Official:
    """The SDK's own client."""

    def __init__(self, url: str, mode: str, heard):
        async def elicit(_context, params):
            return types.ElicitResult(action="accept", content=filled(params.requested_schema))

        async def sample(_context, _params):
            content = types.TextContent(type="text", text="Sampled.")
            return types.CreateMessageResult(role="assistant", content=content, model="none")

        self.client = mcp.Client(
            url, mode=mode, elicitation_callback=elicit, sampling_callback=sample, message_handler=heard, cache=None
        )

    async def call(self, name, arguments, progress=None):
        called = await self.client.call_tool(name, arguments, progress_callback=progress)
        return called.is_error, called.content

    async def names(self):
        tools = (await self.client.list_tools()).tools
        await self.client.list_resources()
        await self.client.list_prompts()
        return [tool.name for tool in tools]

    async def read(self, uri):
        return (await self.client.read_resource(uri)).contents

    async def prompt(self, name, arguments):
        return (await self.client.get_prompt(name, arguments)).messages

    def capabilities(self):
        return self.client.server_capabilities


class Fast(Official):
    """fastmcp's."""

    def __init__(self, url: str, _mode: str, heard):
        import fastmcp
        from fastmcp.client.elicitation import ElicitResult

        async def elicit(_message, _type, params, _context):
            return ElicitResult(action="accept", content=filled(params.requested_schema))

        async def sample(_messages, _params, _context):
            return "Sampled."

        self.client = fastmcp.Client(url, elicitation_handler=elicit, sampling_handler=sample, message_handler=heard)

    async def call(self, name, arguments, progress=None):
        called = await self.client.call_tool_mcp(name, arguments, progress_handler=progress)
        return called.is_error, called.content

    async def names(self):
        await self.client.list_resources()
        await self.client.list_prompts()
        return [tool.name for tool in await self.client.list_tools()]

    async def read(self, uri):
        return await self.client.read_resource(uri)


class Doing:
    """The operations, in their order."""

    order = ["list", "call", "progress", "cancel", "read", "subscribe", "prompt", "complete", "elicit", "sample"]

    def __init__(self, client, profile: dict, updates: set):
        self.client, self.profile, self.updates = client, profile, updates

    def stateless(self) -> bool:
        return self.client.client.session.protocol_version >= "2026"

    async def tool(self, about: dict, arguments: dict | None = None, progress=None) -> str:
        wrong, content = await self.client.call(about["name"], arguments or about["arguments"], progress)
        said = " ".join(getattr(part, "text", part.type) for part in content)
        if wrong or about.get("says", "") not in said:
            raise RuntimeError(said)
        return said

    async def until(self, what: str, holds) -> None:
        with anyio.move_on_after(PATIENCE):
            while not await holds():
                await anyio.sleep(0.05)
            return
        raise RuntimeError(f"never: {what}")

    async def list(self):
        names = await self.client.names()
        if self.profile["call"]["name"] not in names:
            raise RuntimeError(" ".join(names))
        return f"{len(names)} tools"

    async def call(self):
        return await self.tool(self.profile["call"])

    async def progress(self):
        seen = []

        async def heard(progress, _total, _message):
            seen.append(progress)

        await self.tool(self.profile["progress"], None, heard)
        if len(seen) < 2:
            raise RuntimeError(f"progress: {seen}")
        return str(seen)

    async def cancel(self):
        about, asked, label = self.profile["wait"], self.profile.get("was_cancelled"), str(uuid.uuid4())
        arguments = {**about["arguments"], "label": label} if asked else about["arguments"]
        with anyio.move_on_after(0.5):
            await self.tool(about, arguments)
            raise RuntimeError("it was not cancelled")
        if not asked:
            return await self.tool(self.profile["call"])

        async def heard():
            return await self.tool(asked, {"label": label}) == "yes"

        await self.until("the server hears of it", heard)

    async def read(self):
        first = (await self.client.read(self.profile["resource"]))[0]
        if not (getattr(first, "text", None) or getattr(first, "blob", None)):
            raise RuntimeError(str(first))

    async def subscribe(self):
        resources = self.client.capabilities().resources
        if not (resources and resources.subscribe):
            raise Absent
        uri, session = self.profile["watched"], self.client.client.session

        async def heard():
            return uri in self.updates

        @asynccontextmanager
        async def subscribed():
            if not self.stateless():
                await session.subscribe_resource(uri)
                yield
                await session.unsubscribe_resource(uri)
                return
            async with listen(session, resource_subscriptions=[uri]) as stream, anyio.create_task_group() as tasks:

                async def note():
                    async for event in stream:
                        self.updates.add(str(event.uri))

                tasks.start_soon(note)
                yield
                tasks.cancel_scope.cancel()

        async with subscribed():
            await self.tool(self.profile["touch"])
            await self.until("the update is told", heard)

    async def prompt(self):
        about = self.profile["prompt"]
        messages = await self.client.prompt(about["name"], about["arguments"])
        if about["says"] not in messages[0].content.text:
            raise RuntimeError(str(messages))

    async def complete(self):
        if not self.client.capabilities().completions:
            raise Absent
        about = self.profile["completion"]
        ref = types.PromptReference(type="ref/prompt", name=about["prompt"])
        done = await self.client.client.session.complete(ref, {"name": about["argument"], "value": about["value"]})
        if not done.completion.values:
            raise RuntimeError("no values")
        return " ".join(done.completion.values)

    async def elicit(self):
        return await self.tool(self.profile["elicit"])

    async def sample(self):
        return await self.tool(self.profile["sample"])


async def main(url: str, profile: str, mode: str) -> None:
    updates: set = set()

    async def heard(message) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            updates.add(str(message.params.uri))

    client = (Fast if mode == "fastmcp" else Official)(url, mode, heard)
    try:
        async with client.client:
            doing = Doing(client, json.loads(profile), updates)
            say({"op": "open", "is": "ok", "said": "stateless" if doing.stateless() else "session"})
            for op in doing.order:
                try:
                    with anyio.fail_after(30):
                        say({"op": op, "is": "ok", "said": await getattr(doing, op)()})
                except Absent:
                    say({"op": op, "is": "-"})
                except Exception as error:
                    say({"op": op, "is": "no", "said": words(error)})
    except Exception as error:
        say({"op": "open", "is": "no", "said": words(error)})


asyncio.run(main(*sys.argv[1:]))
