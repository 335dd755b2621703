/**
 * Settings that the server reports to its client (ParameterStatus): `S`, length, name\0, value\0. Maps are shared between
 * sessions and never changed in place.
 */
import { ByteWriter } from '@coppice/bytes';
import { readMessage, writeMessage } from '@coppice/postgres';

export type ReportedSettings = ReadonlyMap<string, string>;

const MAX_BYTES = 1024 * 1024;

/** The setting in a ParameterStatus body. */
export function readSetting(body: Buffer): readonly [name: string, value: string] {
  const end = body.indexOf(0);
  const last = body.indexOf(0, end + 1);
  return [body.toString('utf8', 0, end), body.toString('utf8', end + 1, last)];
}

/** All of a greeting; notices in it are left out. */
export function readSettings(greeting: Buffer): ReportedSettings {
  const settings = new Map<string, string>();
  for (let rest = greeting; rest.length > 0; ) {
    const found = readMessage(rest, MAX_BYTES);
    if (!found) break;
    if (found.message.type === 'S') settings.set(...readSetting(found.message.body));
    rest = rest.subarray(found.length);
  }
  return settings;
}

export function writeSetting(name: string, value: string): Buffer {
  return writeMessage('S', new ByteWriter().cstring(name).cstring(value).finish());
}

export function withSetting(settings: ReportedSettings, name: string, value: string): ReportedSettings {
  return settings.get(name) === value ? settings : new Map(settings).set(name, value);
}
