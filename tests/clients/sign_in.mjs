// The TypeScript client signs a person in by browser: node sign_in.mjs URL. Nothing is known to it but the URL.
// Says {visit: URL} when it wants a browser, then {ok: {tools}} once it is in, and takes lines:
//   {do: "call", name, arguments}    the text of a tool's answer
//   {do: "refresh"}                  lets its access token be refused, so that it takes a new one by itself at the next call
//   {do: "tokens"}                   what it holds
//   {do: "metadata"}                 what it found out about the authorization server
import { createServer } from 'node:http';
import { answerLines, say } from './lines.mjs';
import { load } from './packages.mjs';

const { Client, StreamableHTTPClientTransport, UnauthorizedError } = await load('@modelcontextprotocol/client');
const url = new URL(process.argv[2]);

let arrived;
const callback = new Promise((resolve) => (arrived = resolve));
const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://127.0.0.1');
  if (pathname !== '/callback') return response.writeHead(404).end();
  response.writeHead(200, { 'content-type': 'text/html' }).end('<title>Done</title><p>You may close this page.</p>');
  arrived(searchParams);
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

class Memory {
  redirectUrl = `http://127.0.0.1:${server.address().port}/callback`;
  held = {};
  clientMetadata = {
    client_name: 'A test of Gatehouse',
    redirect_uris: [this.redirectUrl],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  };
  #expected = crypto.randomUUID();
  state = () => this.#expected;
  expects = (state) => state === this.#expected;
  clientInformation = () => this.held.client;
  saveClientInformation = (client) => void (this.held.client = client);
  tokens = () => this.held.tokens;
  saveTokens = (tokens) => void (this.held.tokens = tokens);
  codeVerifier = () => this.held.verifier;
  saveCodeVerifier = (verifier) => void (this.held.verifier = verifier);
  discoveryState = () => this.held.discovery;
  saveDiscoveryState = (discovery) => void (this.held.discovery = discovery);
  redirectToAuthorization = (to) => say({ visit: to.href });
}

const provider = new Memory();
const open = async () => {
  const client = new Client({ name: 'gatehouse-tests', version: '1' });
  const transport = new StreamableHTTPClientTransport(url, { authProvider: provider });
  return { client, transport };
};
let { client, transport } = await open();
try {
  await client.connect(transport);
} catch (error) {
  if (!(error instanceof UnauthorizedError)) throw error;
  const answer = await callback;
  if (!provider.expects(answer.get('state'))) throw new Error('a strange state came back');
  if (answer.get('error')) {
    say({ refused: Object.fromEntries(answer) });
    process.exit(0);
  }
  await transport.finishAuth(answer);
  ({ client, transport } = await open());
  await client.connect(transport);
}
say({ ok: { tools: (await client.listTools()).tools.map((tool) => tool.name) } });

const verbs = {
  async call({ name, arguments: args }) {
    const { content } = await client.callTool({ name, arguments: args });
    return { text: content[0].text };
  },
  refresh: () => void (provider.held.tokens = { ...provider.held.tokens, access_token: 'spent' }),
  tokens: () => provider.held.tokens,
  metadata: () => provider.held.discovery,
};
answerLines((line) => verbs[line.do](line));
