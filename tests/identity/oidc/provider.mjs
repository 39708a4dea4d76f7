// A real OpenID provider (oidc-provider) as a city might run one, set up for atoll by configuration alone:
// users log in with the code flow, the gateway exchanges their tokens (RFC 8693) for one agent and purpose.
//
//   node provider.mjs CONFIG.json     {issuer, port, alg, keys, gateway (JWK), purposes: {user: [..]}}
//
// Prints `ready` once it listens. Logging in takes any password: this provider lives in tests alone.

import { readFileSync } from 'node:fs';
import Provider, { errors } from 'oidc-provider';
import { createLocalJWKSet, jwtVerify } from 'jose';

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS = 'urn:ietf:params:oauth:token-type:access_token';
const RESOURCE = 'urn:atoll:gateway';
const exchanged = new WeakMap(); // token -> the claims that only an exchange adds
const published = createLocalJWKSet({
  keys: config.keys.map(({ kty, crv, x, y, kid }) => ({ kty, crv, x, ...(y ? { y } : {}), kid })),
});

const server = (audience, seconds) => ({
  audience,
  scope: 'ask',
  accessTokenTTL: seconds,
  accessTokenFormat: 'jwt',
  jwt: { sign: { alg: config.alg } },
});

const provider = new Provider(config.issuer, {
  jwks: { keys: config.keys },
  clients: [
    {
      client_id: 'console', redirect_uris: ['http://127.0.0.1:9/back'], token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code'], response_types: ['code'], application_type: 'native',
      id_token_signed_response_alg: config.alg,
    },
    {
      client_id: 'gateway', token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [config.gateway] },
      token_endpoint_auth_signing_alg: 'EdDSA', grant_types: [EXCHANGE], redirect_uris: [], response_types: [],
      id_token_signed_response_alg: config.alg,
    },
  ],
  scopes: ['openid', 'ask'],
  findAccount: (ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  enabledJWA: { clientAuthSigningAlgValues: ['EdDSA', 'ES256'], dPoPSigningAlgValues: ['EdDSA', 'ES256'] },
  features: {
    devInteractions: { enabled: true },
    dPoP: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => server('gateway', 3600),
    },
  },
  formats: {
    customizers: {
      jwt(ctx, token, jwt) {
        const purposes = config.purposes[token.accountId] ?? [];
        Object.assign(jwt.payload, { purposes }, exchanged.get(token));
      },
    },
  },
  ttl: { Grant: 3600, Session: 3600, Interaction: 600, AuthorizationCode: 60 },
  cookies: { keys: ['tests only'] },
});

provider.registerGrantType(
  EXCHANGE,
  async (ctx, next) => {
    const { params, client, provider: here } = ctx.oidc;
    if (params.subject_token_type !== ACCESS) throw new errors.InvalidRequest('subject_token_type');
    let subject;
    try {
      const expected = { issuer: config.issuer, audience: 'gateway', typ: 'at+jwt' };
      ({ payload: subject } = await jwtVerify(params.subject_token ?? '', published, expected));
    } catch {
      throw new errors.InvalidGrant('the subject token is not valid');
    }
    if (!/^agent:[a-z_][a-z0-9_]*$/.test(params.audience ?? '')) throw new errors.InvalidTarget('audience');
    const held = config.purposes[subject.sub] ?? [];
    const purpose = params.purpose ?? (held.length === 1 ? held[0] : undefined);
    if (!held.includes(purpose)) throw new errors.CustomOIDCProviderError('invalid_scope', 'not a purpose of this user');

    const left = subject.exp - Math.floor(Date.now() / 1000);
    const { AccessToken, ResourceServer } = here;
    const token = new AccessToken({ accountId: subject.sub, client, grantId: subject.jti, gty: 'token_exchange' });
    token.resourceServer = new ResourceServer(params.audience, server(params.audience, Math.min(300, left)));
    const { kty, crv, x } = config.gateway;
    // `cnf` binds the token to the key by which the client just proved itself; it has registered no other.
    exchanged.set(token, {
      purpose,
      cnf: { jwk: { kty, crv, x } },
      ...(subject.cnf?.jkt ? { user_jkt: subject.cnf.jkt } : {}),
    });
    ctx.body = {
      access_token: await token.save(),
      issued_token_type: ACCESS,
      token_type: 'Bearer',
      expires_in: token.expiration,
    };
    await next();
  },
  ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'purpose', 'scope'],
);

provider.on('grant.error', (ctx, error) => console.error(error));
provider.on('server_error', (ctx, error) => console.error(error));
provider.listen(config.port, '127.0.0.1', () => console.log('ready'));
