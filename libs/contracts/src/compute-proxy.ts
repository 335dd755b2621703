/** What compute-proxies ask of each other, as models. Prose: protos/compute_proxy.proto. */
import type { Model } from './rpc/codec';
import { bool, bytes, message, number } from './rpc/codec';
import { defineService, unary } from './rpc/service';

const cancelRequest = message({ pid: number, secret: bytes });
export type CancelRequest = Model<typeof cancelRequest>;

export const computeProxyContract = defineService(
  'compute_proxy.proto',
  'coppice.proxy.v1.ComputeProxy',
  { cancel: unary(cancelRequest, message({ found: bool }), 5_000) },
  { cancel: ['compute-proxy'] },
);
