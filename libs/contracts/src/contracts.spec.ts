import {
  computeAgentContract,
  computeProxyContract,
  controlContract,
  controlInternalContract,
  loadService,
  pageserverContract,
  safekeeperContract,
} from './index';
import type { Methods, ServiceContract } from './index';

const contracts: ServiceContract<Methods>[] = [
  pageserverContract,
  safekeeperContract,
  computeAgentContract,
  computeProxyContract,
  controlContract,
  controlInternalContract,
] as never;

describe('every contract', () => {
  it.each(contracts.map((c) => [c.name, c] as const))(
    '%s has exactly the methods of its proto',
    (_name, contract) => {
      const wire = Object.keys(loadService(contract.file, contract.name)).map(
        (n) => n[0]!.toLowerCase() + n.slice(1),
      );
      expect(Object.keys(contract.methods).sort()).toEqual(wire.sort());
    },
  );
});
