/**
 * Configuration is a table: name, type, default, unit and one sentence per setting, read once from the environment.
 * All problems are reported together; `printConfig` hides secrets. `docs/config.md` is generated from the tables.
 */
import { CoppiceError } from './errors';

type SettingType = 'string' | 'integer' | 'boolean' | 'list' | 'secret';

export interface Setting<T extends SettingType = SettingType> {
  /** Environment variable. */
  readonly env: string;
  readonly type: T;
  /** Absent: the setting is required. */
  readonly default?: Value<T>;
  readonly min?: number;
  readonly max?: number;
  /** One sentence, with the unit. */
  readonly about: string;
}

type Value<T extends SettingType> = T extends 'integer'
  ? number
  : T extends 'boolean'
    ? boolean
    : T extends 'list'
      ? readonly string[]
      : string;

export type ConfigTable = Readonly<Record<string, Setting>>;
export type Config<T extends ConfigTable> = { readonly [K in keyof T]: Value<T[K]['type']> };

/** Keeps literal types of a table. */
export function configTable<const T extends ConfigTable>(table: T): T {
  return table;
}

function parse(setting: Setting, text: string): Value<SettingType> | Error {
  switch (setting.type) {
    case 'string':
    case 'secret':
      return text;
    case 'list':
      return text
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== '');
    case 'boolean':
      if (text === 'true' || text === 'false') return text === 'true';
      return new Error(`${setting.env}=${text} is not true or false`);
    case 'integer': {
      const value = Number(text);
      const min = setting.min ?? 0;
      const max = setting.max ?? Number.MAX_SAFE_INTEGER;
      if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
      return new Error(`${setting.env}=${text} is not an integer from ${min} to ${max}`);
    }
  }
}

/** Reads every setting of the table; throws one `Malformed` error that lists all problems. */
export function readConfig<const T extends ConfigTable>(
  table: T,
  env: NodeJS.ProcessEnv = process.env,
): Config<T> {
  const problems: string[] = [];
  const config: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(table)) {
    const text = env[setting.env];
    if (text === undefined || text === '') {
      if (setting.default === undefined) problems.push(`${setting.env} is not set (${setting.about})`);
      config[name] = setting.default;
      continue;
    }
    const value = parse(setting, text);
    if (value instanceof Error) problems.push(value.message);
    config[name] = value;
  }
  if (problems.length > 0) throw new CoppiceError('Malformed', 'bad-configuration', problems.join('; '));
  return config as Config<T>;
}

/** The configuration as shown at start: secrets hidden. */
export function printConfig<T extends ConfigTable>(table: T, config: Config<T>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(table).map(([name, s]) => [name, s.type === 'secret' ? '***' : config[name as keyof T]]),
  );
}
