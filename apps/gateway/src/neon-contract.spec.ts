/** What Neon documents for requests is accepted here: each parameter and property has its place, even where it is refused by name. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { workspaceRoot } from '@coppice/testing';
import { parse } from 'yaml';
import { openApiDocument } from './openapi';
import { ROUTES } from './rest/routes';

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- two OpenAPI documents, read as they are
type Json = any;

const NEON = parse(
  readFileSync(
    join(workspaceRoot(), 'node_modules/@neondatabase/api-client/public-v2-for-users.gen.yaml'),
    'utf8',
  ),
) as Json;
const OURS = openApiDocument(ROUTES) as Json;

const resolved = (schema: Json): Json =>
  schema?.$ref === undefined
    ? schema
    : resolved(
        schema.$ref
          .slice(2)
          .split('/')
          .reduce((at: Json, key: string) => at[key], NEON),
      );

/** Paths of all properties that a schema names: `project.settings.quota.active_time_seconds`. */
function properties(schema: Json, prefix = ''): Set<string> {
  const s = resolved(schema);
  const parts = [...(s?.allOf ?? []), ...(s?.anyOf ?? []), ...(s?.oneOf ?? [])];
  const found = new Set<string>(parts.flatMap((part: Json) => [...properties(part, prefix)]));
  if (s?.items) for (const path of properties(s.items, `${prefix}[]`)) found.add(path);
  for (const [name, of] of Object.entries(s?.properties ?? {})) {
    found.add(`${prefix}.${name}`);
    for (const path of properties(of, `${prefix}.${name}`)) found.add(path);
  }
  return found;
}

/** Whether a schema takes anything below a path, so that nothing there is refused for its name. */
function open(schema: Json, path: string): boolean {
  const [, name, rest] = /^(?:\[\])?\.?([^.[]*)(.*)$/.exec(path) ?? [];
  const s = resolved(schema);
  const parts = [s, ...(s?.allOf ?? []), ...(s?.anyOf ?? []), ...(s?.oneOf ?? [])].map((p) =>
    p?.items ? p.items : p,
  );
  return parts.some((part) => {
    if (part?.additionalProperties !== undefined && part.additionalProperties !== false) return true;
    const below = part?.properties?.[name!];
    return below !== undefined && rest !== '' && open(below, rest!);
  });
}

const operations = (document: Json): Map<string, Json> =>
  new Map(
    Object.values(document.paths).flatMap((methods) =>
      Object.values(methods as object)
        .filter((o: Json) => o?.operationId)
        .map((o: Json) => [o.operationId as string, o] as const),
    ),
  );
const neon = operations(NEON);
const shared = [...operations(OURS)].filter(([id]) => neon.has(id));
const bodyOf = (operation: Json): Json => operation.requestBody?.content?.['application/json']?.schema;

describe.each(shared)('%s', (id, ours) => {
  const theirs = neon.get(id);

  it('takes each parameter of a query that Neon documents', () => {
    const named = (list: readonly Json[] = []): string[] =>
      list.map(resolved).flatMap((p) => (p.in === 'query' ? [p.name as string] : []));
    // Routes without a schema of their query take any.
    const known = named(ours.parameters);
    expect(
      known.length === 0 ? [] : named(theirs.parameters).filter((name) => !known.includes(name)),
    ).toEqual([]);
  });

  it('takes each property of a body that Neon documents', () => {
    const [wanted, here] = [bodyOf(theirs), bodyOf(ours)];
    if (wanted === undefined) return;
    const known = properties(here);
    const refused = [...properties(wanted)].filter((path) => !known.has(path) && !open(here, path));
    expect(refused).toEqual([]);
  });
});
