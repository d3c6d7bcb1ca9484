// The TypeScript client with one session for as long as it is asked: node calls.mjs URL KEY. Says {ok: {tools}} first, then
// takes {do: "call", name, arguments}; answers {text}, or {error: {code, message, data}}. {do: "tools"} lists again.
import { answerLines, say } from './lines.mjs';
import { load } from './packages.mjs';

const { Client, StreamableHTTPClientTransport } = await load('@modelcontextprotocol/client');
const [url, key] = process.argv.slice(2);
const client = new Client({ name: 'gatehouse-tests', version: '1' });
const requestInit = { headers: { Authorization: `Bearer ${key}` } };
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));

const failed = ({ code, message, data }) => ({ error: { code, message, data } });
const verbs = {
  async tools() {
    return { tools: (await client.listTools()).tools.map((tool) => tool.name) };
  },
  async call({ name, arguments: args }) {
    const { content, isError } = await client.callTool({ name, arguments: args });
    return { text: content[0].text, isError };
  },
};
say({ ok: await verbs.tools().catch(failed) });
answerLines((line) => verbs[line.do](line).catch(failed), () => client.close());
