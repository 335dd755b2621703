import { ROUTES } from './rest/routes';
import { GatewayWorld } from './testing/gateway-world';

let world: GatewayWorld;
beforeAll(async () => {
  world = await GatewayWorld.start();
});
afterAll(() => world?.stop());

describe('the OpenAPI document', () => {
  it('describes every route', async () => {
    const document = (await world.send('GET', '/api/v2/openapi.json', {})).json as {
      openapi: string;
      paths: Record<string, object>;
    };
    expect(document.openapi).toBe('3.1.0');
    for (const route of ROUTES) expect(document.paths[route.path]).toHaveProperty(route.method.toLowerCase());
    expect(JSON.stringify(document)).toContain('parent_timestamp');
  });

  it('is served without a key, like readiness', async () => {
    expect((await world.send('GET', '/readyz', {})).json).toEqual({ status: 'ready' });
  });
});

describe('the documentation page', () => {
  it('loads everything it needs from the gateway', async () => {
    const page = await world.send('GET', '/api/v2/docs', {});
    const links = [...String(page.json).matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link!);
    expect(links.length).toBeGreaterThan(3);
    for (const link of links) {
      expect(link).toMatch(/^\/api\/v2\/docs\//);
      expect([link, (await world.send('GET', link, {})).status]).toEqual([link, 200]);
    }
    expect(String((await world.send('GET', '/api/v2/docs/start.js', {})).json)).toContain(
      '/api/v2/openapi.json',
    );
  });
});
