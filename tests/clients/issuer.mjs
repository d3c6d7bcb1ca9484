// A real OpenID provider on loopback: node issuer.mjs {"accounts": {SUBJECT: CLAIMS}, "lifetime": SECONDS}. With a lifetime
// access tokens end soon, and every sign-in comes with a refresh token that is good for one use. Says {ok: {issuer}}
// first, then takes lines:
//   {do: "client", id, secret, redirect}    knows one more confidential client
//   {do: "rotate", keep}                    signs with a new key; the old one stays published if it is kept
//   {do: "away"}, {do: "back"}              nobody listens on its port; listens there again
//   {do: "silence", path}                   hangs up on whoever asks for a path; null answers all again
//   {do: "token", user, resource, scope}    an access token as a sign-in would end with
//   {do: "asked", path}                     how often a path was asked for
// Its own pages of development ask for a login, which is a subject, with any password, and for consent.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { answerLines, say } from './lines.mjs';
import { load } from './packages.mjs';

// Its warnings about development settings are not for us.
console.info = console.warn = () => {};
const { default: Provider } = await load('oidc-provider');
const { accounts, lifetime } = JSON.parse(process.argv[2]);

const TWO_DAYS = 2 * 24 * 3600;
const rotation = lifetime && {
  issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
};
const newKey = () => ({
  ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
  kid: randomUUID(),
  use: 'sig',
  alg: 'RS256',
});
const claimsOf = (subject) => accounts[subject] && { sub: subject, ...accounts[subject] };

let issuer;
let provider;
let callback;
let keys = [newKey()];
const clients = [];
const asked = {};
let silent = null;

// A provider keeps its keys for life: a rotation makes another on the same store of sessions and grants.
function build() {
  provider = new Provider(issuer, {
    clients,
    jwks: { keys },
    cookies: { keys: ['a key for tests alone'] },
    scopes: ['openid', 'offline_access', 'mcp'],
    claims: { openid: ['sub'], profile: ['name', 'preferred_username', 'groups'], email: ['email'] },
    conformIdTokenClaims: false,
    findAccount: (_, subject) => claimsOf(subject) && { accountId: subject, claims: () => claimsOf(subject) },
    extraTokenClaims: (_, token) => claimsOf(token.accountId),
    pkce: { required: () => true },
    ...rotation,
    ttl: { AccessToken: lifetime ?? TWO_DAYS, RefreshToken: TWO_DAYS, Grant: TWO_DAYS, IdToken: 3600, Interaction: 3600, Session: TWO_DAYS },
    features: {
      registration: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => ({
          audience: resource,
          scope: 'mcp',
          accessTokenFormat: 'jwt',
          accessTokenTTL: lifetime ?? TWO_DAYS,
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  });
  callback = provider.callback();
}

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, issuer);
  asked[pathname] = (asked[pathname] ?? 0) + 1;
  if (pathname === silent) return request.socket.destroy();
  callback(request, response);
});
const listen = (port) => new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));

await listen(0);
const { port } = server.address();
// Another site than 127.0.0.1 for a browser, which tells sites apart by name and not by port.
issuer = `http://localhost:${port}`;
build();
say({ ok: { issuer } });

const verbs = {
  client({ id, secret, redirect }) {
    clients.push({ client_id: id, client_secret: secret, redirect_uris: [redirect] });
    build();
  },
  rotate({ keep }) {
    keys = [newKey(), ...(keep ? keys : [])];
    build();
    return { kid: keys[0].kid };
  },
  async away() {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  },
  back: () => listen(port),
  silence: ({ path }) => void (silent = path),
  async token({ user, resource, scope = 'mcp' }) {
    const id = 'minted-for-tests';
    const client = await provider.Client.find(id);
    if (!client) {
      clients.push({ client_id: id, redirect_uris: ['https://example.com/'], token_endpoint_auth_method: 'none' });
      build();
    }
    const token = new provider.AccessToken({
      accountId: user,
      client: client ?? (await provider.Client.find(id)),
      scope,
      gty: 'authorization_code',
      resourceServer: new provider.ResourceServer(resource, {
        audience: resource,
        scope,
        accessTokenFormat: 'jwt',
        accessTokenTTL: TWO_DAYS,
        jwt: { sign: { alg: 'RS256' } },
      }),
    });
    token.setAudience(resource);
    return { token: await token.save() };
  },
  asked: ({ path }) => ({ times: asked[path] ?? 0 }),
};
answerLines((line) => verbs[line.do](line), () => server.close());
