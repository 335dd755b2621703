import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { MethodDefinition, PackageDefinition, ServiceDefinition } from '@grpc/proto-loader';
import { loadSync } from '@grpc/proto-loader';

/** The `protos` directory of the workspace or image: `COPPICE_PROTOS`, else the nearest one above this file. */
export function protosDirectory(): string {
  const named = process.env['COPPICE_PROTOS'];
  if (named) return named;
  for (let at = __dirname; ; at = dirname(at)) {
    const candidate = join(at, 'protos');
    if (existsSync(join(candidate, 'pageserver.proto'))) return candidate;
    if (dirname(at) === at) throw new Error('no protos directory found; set COPPICE_PROTOS');
  }
}

const loaded = new Map<string, PackageDefinition>();

/** Loads one file of `protos/`. 64-bit integers arrive as `Long`s, enums as names, defaults filled in. */
export function loadProto(file: string): PackageDefinition {
  let definition = loaded.get(file);
  if (!definition) {
    definition = loadSync(file, {
      includeDirs: [protosDirectory()],
      enums: String,
      defaults: true,
      oneofs: true,
    });
    loaded.set(file, definition);
  }
  return definition;
}

/** The methods of `service` (full name) in `file`, by name as in the proto. */
export function loadService(file: string, service: string): ServiceDefinition {
  const found = loadProto(file)[service];
  if (!found || 'format' in found) throw new Error(`${file} has no service ${service}`);
  return found as ServiceDefinition;
}

export type WireMethod = MethodDefinition<object, object>;
