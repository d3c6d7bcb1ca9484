// The MCP client of the conformance suite's auth scenarios, which is Gatehouse: node conformance_auth.mjs URL.
// Adds the URL as a server, lists and calls its tools through the proxy, and where the answer tells of a login link
// walks there as a person who is signed in to the console: shows the page, presses its button, follows redirects.
// From the environment: GATEHOUSE_CONTROL, GATEHOUSE_PROXY, GATEHOUSE_ADMIN_KEY, GATEHOUSE_CLIENT_KEY, GATEHOUSE_COOKIES.
import { randomUUID } from 'node:crypto';

const { GATEHOUSE_CONTROL: control, GATEHOUSE_PROXY: proxy, MCP_CONFORMANCE_SCENARIO: scenario } = process.env;
const { GATEHOUSE_ADMIN_KEY: adminKey, GATEHOUSE_CLIENT_KEY: clientKey, GATEHOUSE_COOKIES: cookies } = process.env;
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const upstream = process.argv[2];
const name = `${scenario.replace(/^auth\//, '').slice(0, 20)}-${randomUUID().slice(0, 8)}`;
// A server that asks for more scopes after each login is asked no more often than this.
const MOST_LOGINS = 3;

// What an admin of the server would have been told.
async function issuer() {
  const { origin, pathname } = new URL(upstream);
  const about = await fetch(`${origin}/.well-known/oauth-protected-resource${pathname}`);
  return (await about.json()).authorization_servers[0];
}

const auth = {
  'auth/client-credentials-jwt': async () => ({
    issuer: await issuer(),
    type: 'client_credentials',
    method: 'private_key_jwt',
    client_id: context.client_id,
    private_key: context.private_key_pem,
  }),
  'auth/client-credentials-basic': async () => ({
    issuer: await issuer(),
    type: 'client_credentials',
    method: 'client_secret_basic',
    client_id: context.client_id,
    client_secret: context.client_secret,
  }),
  'auth/pre-registration': () => ({
    type: 'authorization_code',
    client_id: context.client_id,
    client_secret: context.client_secret,
  }),
  // The document's address is a setting of every client that this suite tests.
  'auth/basic-cimd': () => ({
    type: 'authorization_code',
    client_id: 'https://conformance-test.local/client-metadata.json',
  }),
}[scenario] ?? (() => ({ type: 'authorization_code' }));

function give_up(what, detail) {
  console.error(what, typeof detail === 'string' ? detail : JSON.stringify(detail));
  process.exit(1);
}

async function rest(method, path, body) {
  const answer = await fetch(`${control}${path}`, {
    method,
    headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) give_up(`${method} ${path}: ${answer.status}`, text);
  return JSON.parse(text);
}

let session;
let next = 1;

async function ask(method, params, notification = false) {
  const headers = {
    authorization: `Bearer ${clientKey}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2025-11-25',
  };
  if (session) headers['mcp-session-id'] = session;
  const message = { jsonrpc: '2.0', method, params, ...(notification ? {} : { id: next++ }) };
  const answer = await fetch(`${proxy}/servers/${name}/mcp`, { method: 'POST', headers, body: JSON.stringify(message) });
  session = answer.headers.get('mcp-session-id') ?? session;
  const text = await answer.text();
  if (notification || !text) return {};
  if (!answer.headers.get('content-type')?.includes('event-stream')) return JSON.parse(text);
  const events = text.split('\n').filter((line) => line.startsWith('data: ')).map((line) => JSON.parse(line.slice(6)));
  return events.find((event) => event.id === message.id) ?? give_up('no answer', text);
}

const jar = new Map(Object.entries(JSON.parse(cookies)));

async function page(url, form) {
  for (let redirects = 0; redirects < 20; redirects += 1) {
    const own = url.startsWith(control);
    const headers = own ? { cookie: [...jar].map(([key, value]) => `${key}=${value}`).join('; ') } : {};
    if (form) Object.assign(headers, { origin: control, 'content-type': 'application/x-www-form-urlencoded' });
    const answer = await fetch(url, { method: form ? 'POST' : 'GET', headers, body: form, redirect: 'manual' });
    for (const line of own ? answer.headers.getSetCookie() : []) {
      const [, key, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value) jar.set(key, value);
      else jar.delete(key);
    }
    const text = await answer.text();
    // A page that leads on by itself says so in a header, and has a link for who would press it.
    const on = answer.headers.get('location') ?? (own ? /id="on" href="([^"]+)"/.exec(text)?.[1] : undefined);
    if (!on) return { url, status: answer.status, text };
    url = new URL(on.replaceAll('&#38;', '&').replaceAll('&amp;', '&'), url).href;
    form = undefined;
  }
  return give_up('redirected without end', url);
}

const plain = (text) => text.replaceAll('&#38;', '&').replaceAll('&amp;', '&').replaceAll('&#34;', '"').replaceAll('&#39;', "'");

async function login(link) {
  const shown = await page(link);
  const forms = shown.text.split('<form').slice(1).filter((form) => /method="post"/.test(form) && !/Sign out/.test(form));
  if (!forms.length) give_up(`no form on ${shown.url} (${shown.status})`, shown.text);
  const fields = new URLSearchParams();
  for (const [tag] of forms[0].split('</form>')[0].matchAll(/<input[^>]*>/g)) {
    const field = /name="([^"]*)"/.exec(tag)?.[1];
    const offered = !/type="(radio|checkbox)"/.test(tag) || /checked/.test(tag);
    if (field && offered) fields.append(field, plain(/value="([^"]*)"/.exec(tag)?.[1] ?? ''));
  }
  const button = /<button[^>]*name="([^"]*)"[^>]*value="([^"]*)"/.exec(forms[0]);
  if (button) fields.append(button[1], plain(button[2]));
  const action = new URL(plain(/action="([^"]*)"/.exec(forms[0])?.[1] ?? ''), shown.url).href;
  const end = await page(action, fields.toString());
  if (end.status >= 400) give_up(`the login ended at ${end.url.split('?')[0]} with ${end.status}`, end.text);
}

await rest('POST', '/api/v1/servers', { name, url: upstream, auth: await auth() });
const steps = [
  ['initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'suite', version: '1' } }],
  ['notifications/initialized', {}, true],
  ['tools/list', {}],
  ['tools/call', { name: 'test-tool', arguments: {} }],
];
for (let logins = 0; steps.length; ) {
  const answer = await ask(...steps[0]);
  if (!answer.error) {
    steps.shift();
    continue;
  }
  const link = answer.error.data?.login_url;
  if (!link || logins === MOST_LOGINS) give_up(`${steps[0][0]} failed`, answer);
  logins += 1;
  await login(link);
}
