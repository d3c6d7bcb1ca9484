// The MCP client of the conformance suite's scenarios that are not about authorization: Gatehouse, with the TypeScript client
// in front of it, which speaks the revision of the scenario: node conformance_client.mjs URL.
// Adds the URL as a server, and does through the proxy what the scenario wants a client to do.
// From the environment: GATEHOUSE_CONTROL, GATEHOUSE_PROXY, GATEHOUSE_ADMIN_KEY, GATEHOUSE_CLIENT_KEY, GATEHOUSE_NODE_MODULES.
import { randomUUID } from 'node:crypto';

import { load } from './packages.mjs';

const { Client, StreamableHTTPClientTransport } = await load('@modelcontextprotocol/client');
const { GATEHOUSE_CONTROL: control, GATEHOUSE_PROXY: proxy, MCP_CONFORMANCE_SCENARIO: scenario } = process.env;
const { GATEHOUSE_ADMIN_KEY: adminKey, GATEHOUSE_CLIENT_KEY: clientKey } = process.env;
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const stateless = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION === '2026-07-28';
const name = `${scenario.slice(0, 20).replace(/[^a-z0-9]+/g, '-')}-${randomUUID().slice(0, 8)}`;

const added = await fetch(`${control}/api/v1/servers`, {
  method: 'POST',
  headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
  body: JSON.stringify({ name, url: process.argv[2] }),
});
if (!added.ok) throw new Error(`${added.status}: ${await added.text()}`);

const client = new Client(
  { name: 'gatehouse-conformance', version: '1' },
  {
    versionNegotiation: { mode: stateless ? { pin: '2026-07-28' } : 'legacy' },
    capabilities: { elicitation: { form: { applyDefaults: true } } },
  },
);
// What is not filled in has the default that the question names.
client.setRequestHandler('elicitation/create', ({ params }) => ({
  action: 'accept',
  content: params.requestedSchema?.properties?.confirmed ? { confirmed: true } : {},
}));
await client.connect(
  new StreamableHTTPClientTransport(new URL(`${proxy}/servers/${name}/mcp`), {
    requestInit: { headers: { Authorization: `Bearer ${clientKey}` } },
  }),
);

const { tools } = await client.listTools();
const call = (tool, args = {}) => client.callTool({ name: tool, arguments: args });
const each = async () => {
  for (const tool of tools) await call(tool.name, tool.inputSchema.properties?.region ? { region: 'us-west1' } : {});
};
const steps = {
  tools_call: () => call('add_numbers', { a: 5, b: 3 }),
  'http-custom-headers': async () => {
    for (const asked of context.toolCalls) await call(asked.name, asked.arguments);
  },
  'http-invalid-tool-headers': each,
  'http-standard-headers': async () => {
    await each();
    const { resources } = await client.listResources();
    await client.readResource({ uri: resources[0].uri });
    const { prompts } = await client.listPrompts();
    await client.getPrompt({ name: prompts[0].name });
  },
  'sep-2322-client-request-state': async () => {
    // One tool says no resultType: Gatehouse passes on what both of its sides read alike, and this client does not take it.
    await each().catch((error) => {
      if (error.data?.violation !== 'missing-resultType') throw error;
    });
  },
  'json-schema-2020-12-preservation': () =>
    call('json_schema_echo', { schema: tools.find((tool) => tool.name === 'json_schema_2020_12_tool').inputSchema }),
  'elicitation-sep1034-client-defaults': each,
  'sse-retry': each,
};
await steps[scenario]?.();
await client.close();
