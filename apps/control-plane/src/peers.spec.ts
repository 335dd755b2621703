import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  computeAgentContract,
  connect,
  grpcServer,
  IDENTITY_HEADER,
  safekeeperContract,
  serve,
} from '@coppice/contracts';
import { type Part, silentLog } from '@coppice/service-kit';
import { testIdentities } from '@coppice/testing';
import type { TimelineId } from '@coppice/vocabulary';
import { Peers } from './peers';

describe('the token that the control-plane shows to a compute agent', () => {
  const directory = mkdtempSync(join(tmpdir(), 'peers-'));
  const at = (name: string): string => `unix:${join(directory, name)}`;
  const security = testIdentities.security('control-plane');
  const servers: Part[] = [];
  let shown: string | undefined;

  beforeAll(async () => {
    const agent = {
      listComputes: async (
        _request: object,
        { header }: { header: (name: string) => string | undefined },
      ) => {
        shown = header(IDENTITY_HEADER);
        return { computes: [] };
      },
    };
    const safekeeper = { deleteTimeline: async () => ({}) };
    for (const [name, service] of [
      ['agent-1', serve(computeAgentContract, agent as never)],
      ['agent-2', serve(computeAgentContract, agent as never)],
      ['sk1', serve(safekeeperContract, safekeeper as never)],
    ] as const)
      servers.push(grpcServer({ address: at(name), services: [service], log: silentLog(), security }));
    for (const server of servers) await server.start();
  });
  afterAll(async () => {
    for (const server of servers) await server.stop();
    rmSync(directory, { recursive: true });
  });

  it('opens nothing to the agent: neither storage nor another agent', async () => {
    const peers = new Peers({ safekeepers: [at('sk1')], pageserver: at('ps') }, security);
    const timelineId = 'ab'.repeat(16) as TimelineId;
    await peers.agent(at('agent-1')).listComputes({});
    await peers.safekeepers[0]!.deleteTimeline({ timelineId });
    await peers.asPart().stop();

    const thief = { token: shown!, tls: undefined };
    const safekeeper = connect(safekeeperContract, { address: at('sk1'), security: thief });
    const neighbour = connect(computeAgentContract, { address: at('agent-2'), security: thief });
    const refused = { kind: 'Forbidden', code: 'identity-not-allowed' };
    await expect(safekeeper.deleteTimeline({ timelineId })).rejects.toMatchObject(refused);
    await expect(neighbour.listComputes({})).rejects.toMatchObject(refused);
    safekeeper.close();
    neighbour.close();
  });
});
