/**
 * What a client believes of its session must be true with every server that it gets. The settings that PostgreSQL reports, and
 * that drivers therefore rely on (how text is encoded, how times are written), go with the client; of others that differ it is
 * told.
 */
import type { Conversation, ServerState } from './conversation';
import { writeSetting } from './reported-settings';
import { query } from './reset-server';

const GO_WITH_CLIENT = new Set([
  'application_name',
  'client_encoding',
  'DateStyle',
  'default_transaction_read_only',
  'IntervalStyle',
  'standard_conforming_strings',
  'TimeZone',
]);

/** Before the first message of a transaction: a query of ours goes ahead of it where settings must be changed. */
export function settleSettings(c: Conversation, server: ServerState): void {
  if (server.reported === c.told) return;
  let told: Map<string, string> | undefined;
  const changes: string[] = [];
  for (const [name, value] of server.reported) {
    const before = c.told.get(name);
    if (before === value) continue;
    if (before !== undefined && GO_WITH_CLIENT.has(name) && c.wanted?.get(name) === before)
      changes.push(`SET ${name} = ${literal(before)}`);
    else {
      c.toClient.push(writeSetting(name, value));
      told ??= new Map(c.told);
      told.set(name, value);
    }
  }
  if (told) c.told = told;
  if (changes.length === 0) {
    c.told = server.reported;
    return;
  }
  c.inFlight.query(true);
  c.toServer.push(query(changes.join('; ')));
}

/** Means the same whatever `standard_conforming_strings` is. */
function literal(text: string): string {
  return `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
