import { connect, controlInternalContract } from '@coppice/contracts';
import { IdentityIssuer } from '@coppice/service-kit';
import { askSupervisor } from './control-socket';
import { layoutOf } from './layout';
import { Problem } from './problem';
import { loadSecrets } from './secrets';

/** `coppice status`: each service, its health, and the computes that run. */
export async function status(dataDir: string): Promise<void> {
  const layout = layoutOf(dataDir, () => undefined);
  const reply = await askSupervisor(layout.control, { command: 'status' }, 5_000);
  if (!reply) throw new Problem(`no stack runs on ${layout.directory}: start one with ./coppice up`);
  console.log(`supervisor pid ${reply.pid}, data ${layout.directory}`);
  for (const s of reply.services) {
    console.log(
      `  ${s.name.padEnd(16)} ${s.state.padEnd(11)} pid ${String(s.pid).padEnd(8)} restarts ${s.restarts}  ${(s.metrics ?? '').padEnd(30)} ${s.log}`,
    );
  }
  const { identityKey } = await loadSecrets(layout.secretsFile, false);
  const control = connect(controlInternalContract, {
    address: layout.address('control'),
    security: { token: new IdentityIssuer(identityKey).issue('operator'), tls: undefined },
  });
  try {
    const { computes } = await control.listRunning({}, { deadlineMs: 3_000 });
    console.log(computes.length === 0 ? 'no computes run' : 'computes');
    for (const c of computes)
      console.log(
        `  ${c.endpointId}  ${c.state}  ${c.computeUnits} CU  project ${c.projectId}  branch ${c.branchId}  active ${new Date(c.lastActiveUnixMs).toISOString()}`,
      );
  } catch (error) {
    console.log(`computes unknown: ${(error as Error).message}`);
  } finally {
    control.close();
  }
}
