// The TypeScript client: node typescript.mjs URL KEY legacy|auto PREFIX; prints what it saw as JSON. A URL that ends in /sse is
// one of HTTP+SSE.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.env.GATEHOUSE_NODE_MODULES}/x.js`);
const { Client, SSEClientTransport, StreamableHTTPClientTransport } = await import(
  pathToFileURL(require.resolve('@modelcontextprotocol/client')).href
);

const [url, key, mode, prefix] = process.argv.slice(2);
const client = new Client({ name: 'gatehouse-tests', version: '1' }, { versionNegotiation: { mode } });
const Transport = url.endsWith('/sse') ? SSEClientTransport : StreamableHTTPClientTransport;
const transport = new Transport(new URL(url), {
  requestInit: { headers: { Authorization: `Bearer ${key}` } },
});
await client.connect(transport);
const seen = { era: client.getProtocolEra?.() ?? 'legacy' };
seen.tools = (await client.listTools()).tools.map((tool) => tool.name);
const called = await client.callTool({ name: `${prefix}echo`, arguments: { message: 'hello from typescript' } });
seen.echo = called.content[0].text;
const resources = (await client.listResources()).resources;
seen.resources = resources.map((resource) => resource.uri);
const read = await client.readResource({ uri: resources[0].uri });
seen.read = read.contents[0].text ?? read.contents[0].blob;
seen.templates = (await client.listResourceTemplates()).resourceTemplates.length;
seen.prompts = (await client.listPrompts()).prompts.map((prompt) => prompt.name);
const prompt = await client.getPrompt({ name: `${prefix}simple-prompt` });
seen.prompt = prompt.messages[0].content.text;
await client.close();
console.log(JSON.stringify(seen));
