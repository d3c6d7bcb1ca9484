// The TypeScript client as somebody who can be asked everything: node questions.mjs URL KEY PREFIX NAME; calls the tools of
// server-everything that ask back, all at once, and prints their texts as JSON.
import { load } from './packages.mjs';

const { Client, StreamableHTTPClientTransport } = await load('@modelcontextprotocol/client');
const [url, key, prefix, name] = process.argv.slice(2);
const capabilities = { elicitation: { form: {} }, sampling: {}, roots: { listChanged: true } };
const client = new Client({ name: 'gatehouse-tests', version: '1' }, { capabilities, versionNegotiation: { mode: 'legacy' } });
client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { name } }));
client.setRequestHandler('sampling/createMessage', ({ params }) => ({
  model: 'none',
  role: 'assistant',
  content: { type: 'text', text: `${name} heard ${params.messages[0].content.text}` },
}));
client.setRequestHandler('roots/list', () => ({ roots: [{ uri: `file:///${name}`, name }] }));
await client.connect(
  new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${key}` } } }),
);
await client.listTools();
const call = async (tool, args = {}) =>
  (await client.callTool({ name: `${prefix}${tool}`, arguments: args })).content.map((part) => part.text).join('\n');
const [elicited, sampled, roots] = await Promise.all([
  call('trigger-elicitation-request'),
  call('trigger-sampling-request', { prompt: `prompt of ${name}`, maxTokens: 10 }),
  call('get-roots-list'),
]);
await client.close();
console.log(JSON.stringify({ elicited, sampled, roots }));
